#!/usr/bin/env python3
"""staged.py MOUNT: what programs write and have not closed or committed takes no more of the
daemon's memory than its limit (64 MiB here), however many of them there are."""
import errno
import fcntl
import os
import struct
import sys

mount = sys.argv[1]


def ioctl(fd, direction, nr, body):
    buf = bytearray(body)
    fcntl.ioctl(fd, direction << 30 | len(body) << 16 | ord('R') << 8 | nr, buf)
    return bytes(buf)


def strides(path):
    """Views of which each may hold 64 MiB."""
    fds = [os.open(path + '@stride=1M:2M', os.O_WRONLY | os.O_TRUNC) for _ in range(3)]
    refused = 0
    for fd in fds:
        try:
            os.pwrite(fd, b'x', 40 << 20)
        except OSError as e:
            assert e.errno == errno.ENOMEM, e
            refused += 1
    assert refused == 2, refused
    for fd in fds:
        try:
            os.close(fd)
        except OSError as e:
            assert e.errno in (errno.ENOMEM, errno.EINVAL), e


def appends(path):
    """Transactions of which each may hold 4 MiB."""
    fd = os.open(path, os.O_RDWR)
    txns, refused = [], 0
    while not refused and len(txns) < 40:
        txns.append(os.open(mount + '/.ropefs/txn', os.O_RDONLY))
        ident = struct.unpack('<Q', ioctl(txns[-1], 2, 50, bytes(8)))[0]
        ioctl(fd, 3, 51, struct.pack('<QQII', ident, 0, 0, 0))
        data = bytes(16000)
        body = struct.pack('<QQQQQIIII', ident, 0, 0, 0, 0, 0, 6, len(data), 0) + data
        try:
            for _ in range(260):
                ioctl(fd, 1, 52, body)
        except OSError as e:
            assert e.errno == errno.ENOMEM, e
            refused = len(txns)
    assert 14 <= refused <= 18, refused
    for t in txns:
        os.close(t)


with open(mount + '/striped', 'wb') as f:
    f.truncate(200 << 20)
strides(mount + '/striped')
appends(mount + '/striped')
strides(mount + '/striped')  # all was given back
print('ok')
