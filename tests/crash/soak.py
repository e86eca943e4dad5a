#!/usr/bin/python3
"""Programs of soak.sh that run as long as the daemon is killed, without being started again.

soak.py sqlite DATABASE SECONDS MODE   transactions of three tables that must add up
soak.py bag BAG SECONDS                a ROS bag is recorded, then read
soak.py rsync FROM TO SECONDS          a changing tree is copied in and back, and compared
soak.py kill MOUNT SECONDS SUPERVISOR  the daemon is killed each 200 ms, or once it has answered
                                       where that takes longer; one time in eight once more, before

Each ends at the first error, and prints how many steps it made.
"""
import filecmp
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time


def sqlite(path, seconds, mode):
    db = sqlite3.connect(path, timeout=120, isolation_level=None)
    db.execute('PRAGMA journal_mode=%s' % mode)
    db.execute('PRAGMA synchronous=FULL')
    db.execute('PRAGMA cache_size=200')
    db.execute('CREATE TABLE a(id INTEGER PRIMARY KEY, n INT)')
    db.execute('CREATE TABLE b(id INTEGER PRIMARY KEY, text TEXT)')
    db.execute('CREATE TABLE total(n INT)')
    db.execute('INSERT INTO total VALUES(0)')
    total, rows, ends = 0, 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        number = random.randrange(1000)
        db.execute('BEGIN')
        db.execute('INSERT INTO a(n) VALUES(?)', (number,))
        db.execute('INSERT INTO b(text) VALUES(?)', ('%d ' % number * random.randrange(1, 200),))
        db.execute('UPDATE total SET n = n + ?', (number,))
        if random.randrange(5) == 0:
            db.execute('ROLLBACK')
        else:
            db.execute('COMMIT')
            total, rows = total + number, rows + 1
        if rows % 50 == 0:
            got = db.execute('SELECT (SELECT n FROM total), (SELECT sum(n) FROM a), '
                             '(SELECT count(*) FROM b)').fetchone()
            if rows and got != (total, total, rows):
                sys.exit('%s, not %s' % (got, (total, total, rows)))
    found = db.execute('PRAGMA integrity_check').fetchall()
    if found != [('ok',)]:
        sys.exit('integrity_check: %s' % found)
    db.close()
    return rows


def messages():
    import genpy
    from std_msgs.msg import UInt8MultiArray
    i = 0
    while True:
        noise = hashlib.sha256(str(i).encode()).digest()
        yield '/camera', UInt8MultiArray(data=noise * 200), genpy.Time(1700000000 + i, 0)
        i += 1


def bag(path, seconds):
    import rosbag
    ends, count = time.monotonic() + seconds, 0
    with rosbag.Bag(path, 'w', chunk_threshold=256 * 1024) as out:
        for message in messages():
            out.write(*message)
            count += 1
            if time.monotonic() > ends:
                break
            time.sleep(0.002)
    with rosbag.Bag(path) as back:
        read = 0
        for (topic, got, stamp), want in zip(back.read_messages(), messages()):
            if (topic, got.data, stamp) != (want[0], bytes(want[1].data), want[2]):
                sys.exit('message %d differs' % read)
            read += 1
    if read != count:
        sys.exit('%d messages, not %d' % (read, count))
    return count


def change_tree(root):
    for _ in range(20):
        path = os.path.join(root, 'd%d' % random.randrange(5), 'f%d' % random.randrange(20))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if random.randrange(4) == 0 and os.path.exists(path):
            os.remove(path)
            continue
        with open(path, 'wb') as f:
            f.write(random.randbytes(random.randrange(1, 100000)))


def same(a, b):
    d = filecmp.dircmp(a, b)
    if d.left_only or d.right_only or d.funny_files:
        return False
    _, differ, errors = filecmp.cmpfiles(a, b, d.common_files, shallow=False)
    return not differ and not errors and all(
        same(os.path.join(a, name), os.path.join(b, name)) for name in d.common_dirs)


def rsync(source, target, seconds):
    back = source + '.back'
    ends, rounds = time.monotonic() + seconds, 0
    os.makedirs(source, exist_ok=True)
    while time.monotonic() < ends:
        change_tree(source)
        for a, b in ((source, target), (target, back)):
            subprocess.run(['rsync', '-a', '--delete', '--checksum', a + '/', b + '/'],
                           check=True)
        if not same(source, target) or not same(source, back):
            sys.exit('round %d: the copies differ' % rounds)
        rounds += 1
    shutil.rmtree(back, ignore_errors=True)
    return rounds


def worker_of(supervisor):
    """The youngest child; one that is dead and not buried yet is older."""
    with open('/proc/%s/task/%s/children' % (supervisor, supervisor)) as f:
        return max((int(x) for x in f.read().split()), default=0)


def kill(mount, seconds, supervisor):
    ends, last, early, waits = time.monotonic() + seconds, 0, 0, []
    while time.monotonic() < ends:
        began = time.monotonic()
        os.statvfs(mount)  # the kernel always asks the daemon
        waits.append(time.monotonic() - began)
        time.sleep(max(0, last + 0.2 - time.monotonic()))
        last = time.monotonic()
        pid = worker_of(supervisor)
        if not pid:
            sys.exit('no daemon, though one answered')
        os.kill(pid, signal.SIGKILL)
        if random.randrange(8) == 0:
            time.sleep(random.randrange(10, 100) / 1000)
            again = worker_of(supervisor)
            try:
                os.kill(again or pid, signal.SIGKILL)
                early += again > pid
            except ProcessLookupError:
                pass  # the one before, and just buried
    waits.sort()
    return '%d kills, and %d more; till it answered: median %d ms, a tenth above %d, at most %d' % (
        len(waits), early, *(1000 * waits[min(len(waits) - 1, i)] for i in (
            len(waits) // 2, len(waits) * 9 // 10, len(waits))))


def main():
    verb, path, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    if verb == 'sqlite':
        print(sqlite(path, int(arguments[0]), arguments[1]))
    elif verb == 'bag':
        print(bag(path, int(arguments[0])))
    elif verb == 'kill':
        print(kill(path, int(arguments[0]), arguments[1]))
    else:
        print(rsync(path, arguments[0], int(arguments[1])))


main()
