#!/usr/bin/python3
"""no_resend.py FOLDER NUMBER SECONDS ENOUGH: appends numbered lines to a file, from one
descriptor, for so long and until the file ENOUGH is there.

A line may fail while the daemon is killed: then it is there or not. All others are there, in
order. Prints how many were written and how many failed.
"""
import os
import sys
import time


def insist(call):
    """A call that may fail while the daemon is killed, but not for ever."""
    for _ in range(50):
        try:
            return call()
        except OSError as error:
            print('again: %s' % error, flush=True)
    sys.exit('it goes on failing')


def read_lines(path):
    with open(path, 'rb') as f:
        return f.read().splitlines(True)


def main():
    path = os.path.join(sys.argv[1], sys.argv[2])
    fd = insist(lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    done, unsure, ends = [], set(), time.monotonic() + float(sys.argv[3])
    n = 0
    while time.monotonic() < ends or not os.path.exists(sys.argv[4]):
        n += 1
        line = b'%08d\n' % n
        try:
            if os.write(fd, line) != len(line):
                sys.exit('line %d was cut' % n)
            done.append(line)
        except OSError as error:
            unsure.add(line)
            print('line %d: %s' % (n, error), flush=True)
        if n % 20 == 0:
            insist(lambda: os.stat(path))
    found = insist(lambda: read_lines(path))
    if [line for line in found if line not in unsure] != done:
        sys.exit('what was written is not there as it was')
    print('%d written, %d failed' % (len(done), len(unsure)))


main()
