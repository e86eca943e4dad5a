"""A mount that Python tests unmount or kill, and mount again. From the environment: ROPEFS and ROPECTL, the
programs; MNT, STORE and KEY, as tests/lib/mount.sh has them."""
import fcntl
import json
import os
import signal
import struct
import subprocess
import time

MNT = os.environ['MNT']
# struct ropefs_ioc_cursor and its ioctl (fs/ropefs_ioctl.h)
CURSOR = struct.Struct('=136sQQq')
CURSOR_COMMIT = 1 << 30 | CURSOR.size << 16 | ord('R') << 8 | 30
CURSOR_READ = (1 << 64) - 1  # as far as the descriptor has read


def ropectl(*words):
    subprocess.run([os.environ['ROPECTL'], *words], check=True, stdout=subprocess.DEVNULL)


def mount():
    subprocess.run([os.environ['ROPEFS'], '--key-file', os.environ['KEY'], os.environ['STORE'],
                    MNT], check=True)


def unmount():
    ropectl('umount', MNT)


def has_ended(pid):
    """Also when the machine's init has not taken note of it yet."""
    try:
        with open('/proc/%d/stat' % pid) as f:
            state = f.read().rpartition(')')[2].split()[0]
        return state in 'ZX' and len(os.listdir('/proc/%d/task' % pid)) <= 1
    except OSError:
        return True


def kill_daemon():
    """By SIGKILL, and its mount goes. Who has files of it open gets errors."""
    with open(MNT + '/.ropefs/status') as f:
        pid = json.load(f)['mount']['pid']
    os.kill(pid, signal.SIGKILL)
    while not has_ended(pid):
        time.sleep(0.01)
    subprocess.run(['umount', '-l', MNT], check=True)


def commit(fd, name, record):
    fcntl.ioctl(fd, CURSOR_COMMIT, CURSOR.pack(name.encode(), record, 0, 0))


def whole_lines(data):
    """The lines of data that have their end."""
    return data[:data.rfind(b'\n') + 1].splitlines()
