#!/usr/bin/env python3
"""Signals for programs that wait in read(2) of a followed file: who is stopped and goes on, or does not know
of the signal, sees none; who has a handler runs it, and gets EINTR; who is to die dies."""
import ctypes
import errno
import os
import signal
import time

from mounted import MNT

NAME = MNT + '/followed'
LIBC = ctypes.CDLL(None, use_errno=True)
PATIENCE_S = 120


def read(fd):
    """One call, which Python does not make again."""
    p = ctypes.create_string_buffer(100)
    n = LIBC.read(fd, p, 100)
    return p.raw[:n] if n >= 0 else errno.errorcode[ctypes.get_errno()].encode()


def until(what):
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, 'it does not come'
        time.sleep(0.02)


class Reader:
    """A child that waits for what comes, and says what its read gave."""

    def __init__(self, caught=()):
        with open(NAME, 'w') as f:
            f.write('old\n')
        self.said, said = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for s in caught:
                signal.signal(s, lambda *_: None)
            fd = os.open(NAME + '@follow', os.O_RDONLY)
            os.write(said, read(fd))
            os.write(said, read(fd))
            os._exit(0)
        os.close(said)
        assert os.read(self.said, 100) == b'old\n'
        until(self.waits)  # in the second one

    def waits(self):
        with open('/proc/%d/wchan' % self.pid) as f:
            return 'request_wait_answer' in f.read()

    def has_left(self):
        """Stopped, or (where nobody could let it go on) at its end."""
        with open('/proc/%d/stat' % self.pid) as f:
            return f.read().rpartition(')')[2].split()[0] in 'TZ'

    def kill(self, *signals):
        for s in signals:
            os.kill(self.pid, s)

    def result(self):
        got = os.read(self.said, 100)
        os.close(self.said)
        return got, os.waitpid(self.pid, 0)[1]


def append():
    with open(NAME, 'a') as f:
        f.write('new\n')


IDLE = (signal.SIGSTOP, signal.SIGCONT, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH)

reader = Reader()
reader.kill(*IDLE)
time.sleep(0.5)  # until an error would have come
append()
assert reader.result() == (b'new\n', 0), 'stopped and let go on'

reader = Reader()
reader.kill(*IDLE)
reader.kill(signal.SIGTERM)
assert reader.result() == (b'', signal.SIGTERM), 'stopped, let go on and ended'

for s in (signal.SIGCHLD, signal.SIGALRM, signal.SIGWINCH):
    reader = Reader(caught=(s,))
    reader.kill(s)
    assert reader.result() == (b'EINTR', 0), 'a handler'

# The kernel tells of the first one only.
reader = Reader(caught=(signal.SIGUSR1,))
reader.kill(signal.SIGSTOP, signal.SIGCONT)
time.sleep(0.5)
reader.kill(signal.SIGUSR1)
assert reader.result() == (b'EINTR', 0), 'a handler, later'

# At a terminal (^Z) it stops at once, for which it has to leave the call.
reader = Reader()
reader.kill(signal.SIGTSTP)
until(reader.has_left)
reader.kill(signal.SIGCONT)
assert reader.result() == (b'EINTR', 0), 'stopped at the terminal'
