#!/usr/bin/env python3
"""Two workers share a cursor of a queue: each reads on from it, works, and commits. They are
killed again and again, and so is the daemon. Each record that was synced is worked on at least
once, and what stands before the cursor was worked on. usage: workers.py RECORDS SEED DONE (and
see mounted.py); workers.py work NUMBER DONE is one of the workers; DONE is a file elsewhere."""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from mounted import CURSOR_READ, MNT, commit, kill_daemon, mount, ropectl, whole_lines

QUEUE = MNT + '/jobs/q'
NAME = 'work'


# --- a worker ---

def work_some(rng, done):
    """Reads some records on from the cursor, notes that they were worked on, and commits. With
    ids that it knows, or as far as the descriptor has read."""
    by_read = rng.random() < 0.5
    fd = os.open('%s@cursor=%s,as=json' % (QUEUE, NAME), os.O_RDONLY)
    try:
        lines = whole_lines(os.read(fd, rng.choice((300, 3000, 1 << 17))))
        if not lines:
            time.sleep(0.01)
            return
        for line in lines:
            record = json.loads(line)
            os.write(done, b'%d %s\n' % (record['id'], record['payload'].encode()))
        if rng.random() < 0.3:
            time.sleep(rng.random() * 0.02)
        commit(fd, NAME, CURSOR_READ if by_read else json.loads(lines[-1])['id'] + 1)
    finally:
        os.close(fd)


def work(number, path):
    rng = random.Random(number)
    done = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        try:
            work_some(rng, done)
        except OSError:  # no daemon
            time.sleep(0.02)


# --- those who write and kill ---

class Workers:
    def __init__(self, path):
        self.path = path
        self.started = 0
        self.running = [self.start(), self.start()]

    def start(self):
        self.started += 1
        return subprocess.Popen([sys.executable, __file__, 'work', str(self.started), self.path])

    def kill(self, n):
        self.running[n].send_signal(signal.SIGKILL)
        self.running[n].wait()

    def restart(self, n):
        self.kill(n)
        self.running[n] = self.start()


class Writer(threading.Thread):
    """Appends, at times synced: what this descriptor wrote up to then is `kept`. What failed is
    not written again."""

    def __init__(self, count, rng):
        super().__init__(daemon=True)
        self.count = count
        self.rng = rng
        self.n = 0
        self.kept = set()

    def run(self):
        while self.n < self.count:
            try:
                self.write()
            except OSError:
                self.n += 1
                time.sleep(0.02)

    def write(self):
        fd = os.open(QUEUE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        begin = self.n
        try:
            while self.n < self.count:
                os.write(fd, b'job %d\n' % self.n)
                if self.rng.random() < 0.1:
                    os.fsync(fd)
                    self.kept.update(range(begin, self.n + 1))
                self.n += 1
                time.sleep(self.rng.random() * 0.002)
            os.fsync(fd)
            self.kept.update(range(begin, self.n))
        finally:
            os.close(fd)


def read_done(path):
    with open(path) as f:
        return {(int(i), p) for i, p in (line.rstrip('\n').split(' ', 1) for line in f)}


def cursor():
    out = subprocess.run([os.environ['ROPECTL'], 'cursor', 'ls', QUEUE], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return int(out.split('\t')[1]) if out else 0


def check(path):
    """What is before the cursor was worked on, as it is there now. Returns what is there."""
    at = cursor()
    with open(QUEUE + '@as=json') as f:
        records = [(r['id'], r['payload']) for r in map(json.loads, f)]
    lost = set(records[:at]) - read_done(path)
    assert not lost, 'the cursor is at %d, and nobody worked on %r' % (at, sorted(lost)[:5])
    assert at <= len(records), 'the cursor is behind the end'
    return records


def main():
    count, rng, path = int(sys.argv[1]), random.Random(sys.argv[2]), sys.argv[3]
    os.mkdir(MNT + '/jobs')
    ropectl('policy', 'set', MNT + '/jobs', 'kind=queue')
    open(QUEUE, 'w').close()
    workers = Workers(path)
    writer = Writer(count, rng)
    writer.start()
    kills = 0
    while writer.is_alive() or kills < 3:
        for _ in range(2):
            time.sleep(rng.random() * 0.2)
            workers.restart(rng.randrange(2))
        kill_daemon()
        mount()
        check(path)
        kills += 1
    writer.join()
    end = time.monotonic() + 150
    while cursor() < len(check(path)) and time.monotonic() < end:
        time.sleep(0.1)
    for n in (0, 1):
        workers.kill(n)
    records = check(path)
    lost = writer.kept - {int(p.split(' ')[1]) for _, p in records}
    assert not lost, 'synced and lost: %r' % sorted(lost)[:5]
    assert set(records) <= read_done(path), 'nobody worked on %r' % (
        sorted(set(records) - read_done(path))[:5])
    print('# %d records, %d workers, the daemon killed %d times' % (len(records), workers.started,
                                                                    kills))


if sys.argv[1] == 'work':
    work(int(sys.argv[2]), sys.argv[3])
main()
