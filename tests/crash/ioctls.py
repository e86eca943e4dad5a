#!/usr/bin/python3
"""ioctls.py MOUNT SECONDS SEED: payloads of ioctls, valid, mutated and nonsense, on descriptors of
all kinds. An edit that succeeds does what it says (a model of the file tells), one that is not well
formed is refused, and no call gives an error that means damage."""
import errno
import fcntl
import os
import random
import struct
import sys
import time

mount, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rnd = random.Random(seed)
EDIT, CURSOR = struct.Struct('<QQII'), struct.Struct('<136sQQq')
USE, TXN_EDIT = struct.Struct('<QQII'), struct.Struct('<QQQQQIIII')
NAME = struct.Struct('<IIIIIIQ256s256s')
DAMAGE = {errno.EIO, errno.ENOTCONN, errno.ECONNABORTED, errno.EUCLEAN, errno.ENOSYS, errno.EROFS}
SIZE_MAX = 16383
INSERT, CUT, REPLACE = 1, 2, 3
ODD = (0, 1, 2, 255, 256, 4095, 4096, 16000, 16001, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63,
       (1 << 64) - 1)


def number(below):
    return rnd.choice(ODD) if rnd.randrange(8) == 0 else rnd.randrange(below + 1)


def u32(below):
    return number(below) & 0xffffffff


class Storm:
    def __init__(self):
        self.model = bytearray(rnd.randbytes(5000))
        for name in ('rope', 't1', 't2'):
            with open(os.path.join(mount, name), 'wb') as f:
                f.write(self.model)
        self.rope = os.open(os.path.join(mount, 'rope'), os.O_RDWR)
        self.txn = os.open(os.path.join(mount, '.ropefs/txn'), os.O_RDONLY)
        self.id = struct.unpack('<Q', self.call(self.txn, 2, 50, bytes(8))[1])[0]
        self.others = [os.open(os.path.join(mount, name), flags) for name, flags in (
            ('rope', os.O_RDONLY), ('t1', os.O_RDWR), ('t2', os.O_RDWR), ('t2', os.O_RDONLY),
            ('.', os.O_RDONLY), ('q', os.O_RDONLY), ('q/lines', os.O_RDWR | os.O_APPEND),
            ('q/lines', os.O_RDONLY), ('q/lines@lines=0..2', os.O_RDONLY),
            ('t1@bytes=10..20', os.O_RDONLY), ('.ropefs/status', os.O_RDONLY),
            ('.ropefs/events', os.O_RDONLY | os.O_NONBLOCK))] + [self.txn, self.txn]
        self.calls = self.done = 0

    def call(self, fd, direction, nr, body):
        """(0 or the errno, the body that came back)."""
        buf = bytearray(body[:SIZE_MAX])
        request = direction << 30 | len(buf) << 16 | ord('R') << 8 | nr
        try:
            fcntl.ioctl(fd, request, buf if buf else 0)
            return 0, bytes(buf)
        except OSError as error:
            if error.errno in DAMAGE:
                sys.exit('ioctl %d of %d bytes gives %s' % (nr, len(buf), error))
            return error.errno, b''

    def body(self, nr):
        """A valid payload, or nearly."""
        if nr <= REPLACE:
            data = rnd.randbytes(rnd.choice((0, 1, 100, 4096, 16000))) if nr != CUT else b''
            return EDIT.pack(number(len(self.model)), number(2000) if nr != INSERT else 0,
                             len(data), 0) + data
        if nr in (30, 31, 32):
            return CURSOR.pack(rnd.choice((b'', b'a', b'b', rnd.randbytes(136))), number(50), 0, 0)
        if nr == 51:
            return USE.pack(rnd.choice((self.id, self.id, number(9))), 0, 0, 0)
        if nr == 52:
            data = rnd.randbytes(rnd.choice((0, 1, 5000)))
            return TXN_EDIT.pack(self.id, number(5000), number(3000), number(5000), number(3000),
                                 u32(4), u32(7), len(data), u32(4)) + data
        if nr == 55:
            return NAME.pack(u32(5), u32(4), u32(4), u32(0o777), 0, 0, number(10),
                             rnd.choice((b'new', b't1', b'../x', rnd.randbytes(256))),
                             rnd.choice((b'other', b't2', b'')))
        return rnd.randbytes(rnd.choice((0, 8, 256, 4096)))

    def mutate(self, body):
        how = rnd.randrange(6)
        if how < 2 or not body:
            return body
        if how == 2:
            return body[:rnd.randrange(len(body))]
        if how == 3:
            return body + rnd.randbytes(rnd.randrange(1, 64))
        changed = bytearray(body)
        for _ in range(rnd.randrange(1, 4)):
            at = rnd.randrange(len(changed))
            if how == 4:
                changed[at] ^= 1 << rnd.randrange(8)
            else:
                at &= ~7
                changed[at:at + 8] = struct.pack('<Q', rnd.choice(ODD))[:len(changed) - at]
        return bytes(changed)

    def expect(self, nr, body):
        """The file after the edit; None: it is to be refused."""
        if len(body) < EDIT.size:
            return None
        at, cut, n, reserved = EDIT.unpack_from(body)
        data = body[EDIT.size:]
        if (len(data) != n or n > 16000 or reserved or at + cut > len(self.model) or
                (nr == INSERT and cut) or (nr == CUT and n)):
            return None
        return self.model[:at] + data + self.model[at + cut:]

    def edit(self):
        nr = rnd.choice((INSERT, CUT, REPLACE))
        body = self.mutate(self.body(nr))[:SIZE_MAX]
        want = self.expect(nr, body)
        got, _ = self.call(self.rope, 1, nr, body)
        if (got == 0) != (want is not None):
            sys.exit('edit %d of %d bytes: %d, %s' % (nr, len(body), got, body[:24].hex()))
        if want is not None:
            self.done += 1
            self.model = want
        if len(self.model) > 200000:
            os.ftruncate(self.rope, 1000)
            del self.model[1000:]

    def other(self):
        nr = rnd.choice((1, 2, 3, 30, 31, 32, 50, 51, 52, 53, 54, 55, rnd.randrange(256)))
        direction = rnd.choice({50: (2,), 53: (0,), 54: (2,), 1: (1,), 2: (1,), 3: (1,), 30: (1,),
                                31: (1,), 52: (1,)}.get(nr, (3,)) + (rnd.randrange(4),))
        fd = rnd.choice(self.others)
        got, _ = self.call(fd, direction, nr, self.mutate(self.body(nr)))
        if nr == 53 and got == 0 and fd == self.txn:
            at = [i for i, x in enumerate(self.others) if x == self.txn]
            os.close(self.txn)
            self.txn = os.open(os.path.join(mount, '.ropefs/txn'), os.O_RDONLY)
            self.id = struct.unpack('<Q', self.call(self.txn, 2, 50, bytes(8))[1])[0]
            for i in at:
                self.others[i] = self.txn

    def run(self):
        ends = time.monotonic() + seconds
        while time.monotonic() < ends or self.calls < 500:
            self.calls += 1
            self.edit() if rnd.randrange(3) == 0 else self.other()
            if self.calls % 100 == 0 and os.pread(self.rope, 1 << 20, 0) != self.model:
                sys.exit('after %d calls the file is not what the edits make' % self.calls)
        if os.pread(self.rope, 1 << 20, 0) != self.model:
            sys.exit('at the end the file is not what the edits make')
        print('%d calls, %d edits done' % (self.calls, self.done))


Storm().run()
