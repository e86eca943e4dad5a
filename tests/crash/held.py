#!/usr/bin/env python3
"""held.py MNT NAME...: a thread reads NAME@follow of each, and stays there, as the daemon's disk stands
still. When a line comes from standard input, each is polled, and read by a second thread. Ends when
all of them have read something."""

import os
import select
import sys
import threading

mnt, names = sys.argv[1], sys.argv[2:]
fds = [os.open(f'{mnt}/{name}@follow', os.O_RDONLY) for name in names]
got = []


def readers():
    all_of_them = [threading.Thread(target=lambda fd=fd: got.append(os.read(fd, 4096)))
                   for fd in fds]
    for one in all_of_them:
        one.start()
    return all_of_them


threads = readers()
sys.stdin.readline()
threads += readers()
for fd in fds:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    poller.poll(0)
print('asked', len(got), flush=True)
for thread in threads:
    thread.join()
print('read', len(got), flush=True)
