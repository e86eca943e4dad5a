#!/usr/bin/env python3
"""Files that take the name of one that is followed, by readers that come late, or wait: none is
overlooked, none read twice. usage: rotations.py (and see mounted.py)"""
import json
import os
import select
import threading
import time

from mounted import MNT, ropectl

NOTED = 32  # files a reader may be behind (fs/names.h)


def put(path, text):
    with open(path, 'a') as f:
        f.write(text)


def rotate(path, to, text):
    """As logrotate does."""
    os.rename(path, to)
    put(path, text)


def begin(folder):
    path = '%s/%s/log' % (MNT, folder)
    put(path, 'first\n')
    return path


def read_all(fd):
    """Until a read would have to wait."""
    out = b''
    try:
        while True:
            out += os.read(fd, 1 << 16)
    except BlockingIOError:
        return out.decode().split('\n')[:-1]


def follow(path):
    return os.open(path + '@follow', os.O_RDONLY | os.O_NONBLOCK)


def same(got, want):
    assert got == want, 'got %r, not %r' % (got[:50], want[:50])


def events():
    fd = os.open(MNT + '/.ropefs/events', os.O_RDONLY | os.O_NONBLOCK)
    return '\n'.join(read_all(fd))


def inodes():
    with open(MNT + '/.ropefs/status') as f:
        return json.load(f)['inodes']


def wait_for(count):
    end = time.monotonic() + 100
    while inodes() != count and time.monotonic() < end:
        time.sleep(0.02)
    assert inodes() == count, '%d inodes, not %d' % (inodes(), count)


def late(folder):
    """Renamed away, removed, written over: all of it is read, in order."""
    path = begin(folder)
    fd = follow(path)
    want = ['first']
    for n in range(24):
        text = 'file %d' % n
        want.append(text)
        if n % 4 == 0:
            rotate(path, path + '.%d' % n, text + '\n')
        elif n % 4 == 1:
            rotate(path, path + '.gone', text + '\n')
            os.unlink(path + '.gone')
        elif n % 4 == 2:
            os.unlink(path)
            put(path, text + '\n')
        else:
            put(path + '.new', text + '\n')
            os.rename(path + '.new', path)
    put(path, 'the end\n')
    same(read_all(fd), want + ['the end'])
    os.close(fd)


def gone_are_let_go(folder):
    """What a reader was behind takes room only until it was read, or the reader goes."""
    path = begin(folder)
    wait_for(EMPTY + 1)
    for read in (True, False):
        fd = follow(path)
        for n in range(8):
            rotate(path, path + '.gone', '%d\n' % n)
            os.unlink(path + '.gone')
        assert inodes() == EMPTY + 9, 'a file that was not read yet has gone'
        if read:
            assert len(read_all(fd)) == 9 and read_all(fd) == []
        else:
            os.close(fd)
        wait_for(EMPTY + 1)
        if read:
            os.close(fd)


def waiting(folder):
    """A read that waits goes over files that stay empty."""
    path = begin(folder)
    fd = os.open(path + '@follow', os.O_RDONLY)
    got = []

    def run():
        while b'the end\n' not in got:
            got.append(os.read(fd, 1 << 16))

    reader = threading.Thread(target=run, daemon=True)
    reader.start()
    while not got:
        time.sleep(0.01)
    for n in range(6):
        rotate(path, path + '.%d' % n, '')
        time.sleep(0.02)
    put(path, 'the end\n')
    reader.join(100)
    same(got, [b'first\n', b'the end\n'])
    os.close(fd)


def back_again(folder):
    """A file that gets its name back is not read from its beginning again."""
    path = begin(folder)
    fd = follow(path)
    same(read_all(fd), ['first'])
    rotate(path, path + '.old', 'another\n')
    os.rename(path + '.old', path)
    put(path, 'second\n')
    same(sorted(read_all(fd)), ['another', 'second'])
    put(path, 'third\n')
    same(read_all(fd), ['third'])
    os.close(fd)


def poll_knows(folder):
    path = begin(folder)
    fd = follow(path)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    read_all(fd)
    assert not poll.poll(0)
    rotate(path, path + '.old', 'another\n')
    assert poll.poll(100000)
    same(read_all(fd), ['another'])
    assert not poll.poll(0)
    os.close(fd)


def too_many(folder):
    """Of more files than a reader may be behind the last is read, and an event tells."""
    path = begin(folder)
    fd = follow(path)
    for n in range(NOTED + 9):
        rotate(path, path + '.%d' % n, '%d\n' % n)
    same(read_all(fd), ['first'] + ['%d' % n for n in range(NOTED - 1)] + ['%d' % (NOTED + 8)])
    assert 'more files than this reader can be behind' in events()
    os.close(fd)


def main():
    ropectl('policy', 'set', MNT + '/queues', 'kind=queue')
    for folder in ('queues', 'ropes'):
        for job in (late, gone_are_let_go, waiting, back_again, poll_knows, too_many):
            job(folder)
            for name in os.listdir('%s/%s' % (MNT, folder)):
                os.unlink('%s/%s/%s' % (MNT, folder, name))


os.mkdir(MNT + '/queues')
os.mkdir(MNT + '/ropes')
EMPTY = inodes()
main()
