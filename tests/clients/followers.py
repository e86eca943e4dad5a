#!/usr/bin/env python3
"""64 followers of a queue with pauses and restarts of their own, while writers append, the head
is trimmed, the daemon is killed and the file gives its name to another: each sees each record
once and in order. usage: followers.py RECORDS SEED (and see mounted.py)"""
import json
import os
import random
import select
import sys
import threading
import time

from mounted import MNT, kill_daemon, mount, ropectl, whole_lines

FOLLOWERS = 64
WRITERS = 4
QUEUE = MNT + '/q/log'
LAST = 'last'  # what the last record of a file says


class Follower(threading.Thread):
    """Keeps (id, payload) of what it saw. `moves`: it goes over to the file that takes the name,
    so it is never restarted; ids begin again there, and so does `seen`."""

    def __init__(self, number, moves, json_only):
        super().__init__(daemon=True)
        self.random = random.Random('%s %d' % (sys.argv[2], number))
        self.moves = moves
        self.json = json_only or number % 2 == 0
        self.waits = self.random.choice(('read', 'poll'))
        self.seen = []
        self.before = []  # of the file before
        self.restarts = 0
        self.failed = None

    def run(self):
        try:
            while not self.seen or self.seen[-1][1] != LAST:
                self.follow()
        except BaseException as e:
            self.failed = e

    def follow(self):
        """Until it stops by itself, the daemon dies, or the last record came."""
        start = self.seen[-1][0] + 1 if self.seen else 0
        lives = 1 << 60 if self.moves else self.random.randrange(1, 400)
        try:
            fd = os.open('%s@records=%d..,follow%s' % (QUEUE, start, ',as=json' if self.json
                                                        else ''), os.O_RDONLY)
        except OSError:
            time.sleep(0.02)  # it is not mounted
            return
        self.restarts += 1
        if self.waits == 'poll':
            os.set_blocking(fd, False)
        try:
            self.read(fd, len(self.seen) + lives)
        except OSError:
            assert not self.moves, 'an error where the daemon lives'
        finally:
            os.close(fd)

    def read(self, fd, until):
        data = b''
        while len(self.seen) < until:
            if self.waits == 'poll':
                select.select([fd], [], [])
            try:
                data += os.read(fd, self.random.choice((10, 100, 5000, 1 << 17)))
            except BlockingIOError:
                continue
            lines = whole_lines(data)
            data = data[sum(len(line) + 1 for line in lines):]
            for line in lines[:until - len(self.seen)]:
                if self.take(line):
                    return
            if self.random.random() < 0.05:
                time.sleep(self.random.random() * 0.05)

    def take(self, line):
        """True: it was the last."""
        if self.json:
            record = json.loads(line)
            self.seen.append((record['id'], record['payload']))
        else:
            self.seen.append((self.seen[-1][0] + 1 if self.seen else 0, line.decode()))
        if self.seen[-1][1] == 'moved':
            self.before, self.seen = self.seen, []
        return self.seen and self.seen[-1][1] == LAST


def write(number, count):
    """Lines of one writer, some at once, some in two pieces."""
    rng = random.Random('%s writer %d' % (sys.argv[2], number))
    fd = os.open(QUEUE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    done = 0
    while done < count:
        some = min(count - done, rng.choice((1, 1, 1, 5, 40)))
        data = b''.join(b'%d %d %s\n' % (number, n, b'x' * rng.randrange(100))
                        for n in range(done, done + some))
        cut = rng.randrange(len(data))
        for piece in (data[:cut], data[cut:]) if rng.random() < 0.2 else (data,):
            assert os.write(fd, piece) == len(piece)
        done += some
        if rng.random() < 0.05:
            time.sleep(rng.random() * 0.02)
    os.close(fd)


def write_all(count):
    writers = [threading.Thread(target=write, args=(n, count // WRITERS))
               for n in range(WRITERS)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()


def append(text):
    with open(QUEUE, 'a') as f:
        f.write(text + '\n')


def records():
    """(id, payload) of all that are there."""
    with open(QUEUE + '@as=json') as f:
        return [(r['id'], r['payload']) for r in map(json.loads, f)]


def check_writers(all_records):
    """No writer's lines are mixed, missing, or out of order."""
    next_of = [0] * WRITERS
    for _, payload in all_records:
        number, n, _ = payload.split(' ')
        assert int(n) == next_of[int(number)], payload
        next_of[int(number)] += 1


def join(followers):
    for f in followers:
        f.join()
        if f.failed:
            raise f.failed
    print('# %d followers, begun %d times' % (len(followers), sum(f.restarts for f in followers)))


def begin(moves=False, json_only=False):
    ropectl('policy', 'set', MNT + '/q', 'kind=queue')
    open(QUEUE, 'w').close()
    followers = [Follower(n, moves, json_only) for n in range(FOLLOWERS)]
    for f in followers:
        f.start()
    while not all(f.restarts or f.failed for f in followers):
        time.sleep(0.01)
    return followers


def exactly_once(count):
    """Restarts of followers, and kills of the daemon."""
    followers = begin()
    for _ in range(2):
        write_all(count // 2)
        ropectl('sync', MNT)  # followers may have seen what a kill would take back
        kill_daemon()
        mount()
    all_records = records()
    half = len(all_records) // 2
    check_writers(all_records[:half])
    check_writers(all_records[half:])
    append(LAST)
    join(followers)
    for f in followers:
        assert f.seen[:-1] == all_records, 'a follower saw other than what is there'


def over_a_new_file(count):
    """Those that go over see the old file to its end, and then the new one."""
    followers = begin(moves=True)
    write_all(count)
    append('moved')
    old = records()
    os.rename(QUEUE, QUEUE + '.1')
    write_all(count)
    new = records()
    append(LAST)
    join(followers)
    check_writers(old[:-1])
    check_writers(new)
    for f in followers:
        assert f.before == old and f.seen[:-1] == new, 'a follower saw other than what was there'


def over_trims(count, rng):
    """What is missing was trimmed before the follower came to it; nothing comes twice."""
    followers = begin(json_only=True)  # others do not know the ids of what is left
    trimmed = 0
    for n in range(10):
        write_all(count // 10)
        to = rng.randrange(trimmed, n * (count // 10) + 1)
        if to > trimmed:
            os.unlink('%s@records=..%d' % (QUEUE, to))
            trimmed = to
    left = records()
    append(LAST)
    join(followers)
    for f in followers:
        ids = [i for i, _ in f.seen[:-1]]
        assert ids == sorted(set(ids)), 'a follower saw a record twice'
        assert [r for r in f.seen[:-1] if r[0] >= trimmed] == left, 'a follower missed records'


def main():
    count, seed = int(sys.argv[1]), sys.argv[2]
    os.mkdir(MNT + '/q')
    for job in (lambda: exactly_once(count), lambda: over_a_new_file(count // 2),
                lambda: over_trims(count, random.Random(seed))):
        job()
        for name in os.listdir(MNT + '/q'):
            os.unlink(MNT + '/q/' + name)



main()
