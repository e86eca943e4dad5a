#!/usr/bin/env python3
"""What a user without rights tries, on a mount with allow_other. Run as root in the mount:
rights.py make|digest, and rights.py told|random SEED STEPS, which become that user.
What may not be read holds SECRET, what may not be known is called HIDDEN: neither may come back
from any call. Prints a TAP line a check."""

import errno
import fcntl
import hashlib
import os
import random
import select
import signal
import stat
import struct
import subprocess
import sys

from checks import check, done, err

WHO = 65534
SECRET = b'top-secret-'
HIDDEN = b'hidden-name'
with open('/proc/sys/fs/protected_hardlinks') as f:
    LINKS_KEPT = f.read().strip() == '1'  # else others may link what is not theirs


def put(name, text, mode=0o600):
    with open(name, 'wb') as f:
        f.write(text)
    os.chmod(name, mode)


# --- what there is ---

def make():
    """Files of root, and a folder of the other user."""
    os.chmod('.', 0o755)
    secret = SECRET * 40
    os.mkdir('dark', 0o700)
    put('dark/hidden-name', secret, 0o666)
    os.mkdir('open')
    put('open/private', secret)
    put('open/public', b'line one\nline two\n' * 20, 0o644)
    put('open/blind', secret, 0o622)  # may be written, not read
    put('open/number', b'41\n', 0o644)
    put('open/listed', secret, 0o644)
    subprocess.run(['setfacl', '-m', 'u:%d:---' % WHO, 'open/listed'], check=True)
    os.mkdir('queues')
    os.setxattr('queues', 'user.ropefs.kind', b'queue')
    for name, mode in ('private', 0o600), ('public', 0o644):
        put('queues/' + name, (SECRET if mode == 0o600 else b'record ') * 3 + b'\n', mode)
        with open('queues/' + name, 'ab') as f:
            f.write(b'another\n')
        cursor(os.open('queues/' + name, os.O_RDONLY), 30, b'theirs', 1)
    os.mkdir('shared')
    os.chmod('shared', 0o1777)
    put('shared/of_root', secret)
    os.mkdir('moves')  # where root changes files meanwhile
    os.mkdir('mine')
    os.chown('mine', WHO, WHO)
    os.mkdir('open/.snap/before')
    os.mkdir('dark/.snap/hidden-name-of-snapshot')


def digest():
    """All that another user may not change, as text."""
    for at, dirs, files in os.walk('.'):
        dirs[:] = sorted(d for d in dirs if os.path.join(at, d) not in ('./mine', './moves'))
        for name in ['.'] + sorted(files) if at != '.' else sorted(files):
            path = os.path.join(at, name)
            st = os.lstat(path)
            if st.st_uid == WHO:
                continue
            # Where the user may write, what is written is his.
            theirs = path == './open/blind' or (at == './shared' and name == '.')
            size = [] if theirs else [st.st_size, st.st_mtime_ns, st.st_ctime_ns]
            body = b''
            if stat.S_ISREG(st.st_mode) and not theirs:
                with open(path, 'rb') as f:
                    body = f.read()
            attrs = [] if theirs else [
                (n, os.getxattr(path, n, follow_symlinks=False))
                for n in sorted(os.listxattr(path, follow_symlinks=False))]
            print(path, oct(st.st_mode), st.st_uid, st.st_gid, size,
                  hashlib.sha256(body).hexdigest()[:16], attrs)
    for d in '.', 'open', 'dark', 'queues', 'shared':
        print('snapshots of', d, sorted(os.listdir(d + '/.snap')))
    for q in 'queues/private', 'queues/public':
        fd, name = os.open(q, os.O_RDONLY), b''
        while True:
            r = cursor(fd, 32, name, 0)
            if isinstance(r, str):
                break
            name = r[:136].rstrip(b'\0')
            print('cursor of', q, name, struct.unpack('<Q', r[136:144]))


# --- the calls ---

def ioctl(fd, direction, nr, body):
    request = direction << 30 | len(body) << 16 | ord('R') << 8 | nr
    buf = bytearray(body)
    try:
        fcntl.ioctl(fd, request, buf)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)
    return bytes(buf)


def cursor(fd, nr, name, record):
    return ioctl(fd, 3 if nr == 32 else 1, nr,
                 struct.pack('<136sQQq', name, record, 0, 0))


def edit(fd, nr, at, gone, data):
    r = ioctl(fd, 1, nr, struct.pack('<QQII', at, gone, len(data), 0) + data)
    return r if isinstance(r, str) else 'ok'


def txn_id(txn):
    r = ioctl(txn, 2, 50, bytes(8))
    return r if isinstance(r, bytes) else bytes(8)


def txn_use(txn, fd):
    ident = txn_id(txn)
    return ioctl(fd, 3, 51, ident + bytes(16))


def txn_edit(txn, fd, at, gone, data, src=0, src_n=0):
    ident = txn_id(txn)
    body = ident + struct.pack('<QQQQIIII', at, gone, 0, src_n, src, 0, len(data), 0) + data
    r = ioctl(fd, 1, 52, body)
    return r if isinstance(r, str) else 'ok'


def read_some(fd):
    """What there is now; never waits."""
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 4096)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)


def read_name(name, flags=os.O_RDONLY):
    try:
        fd = os.open(name, flags | os.O_NONBLOCK)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)
    try:
        return read_some(fd)
    finally:
        os.close(fd)


def become():
    os.setgroups([])
    os.setresgid(WHO, WHO, WHO)
    os.setresuid(WHO, WHO, WHO)


# --- each by itself ---

VIEWS = ('bytes=0..5', 'bytes=-9..', 'stride=1:2', 'follow', 'lines=0..1', 'add', 'patch')


def views_told():
    for f in 'open/private', 'open/listed', 'queues/private':
        for v in VIEWS + ('last=1', 'records=0..1', 'cursor=theirs', 'last=1,as=json'):
            got = read_name('%s@%s' % (f, v))
            check('%s@%s is not read' % (f, v), got, 'EACCES', 'EINVAL', 'EPERM')
            check('nor written', err(put, '%s@%s' % (f, v), b'x'), 'EACCES', 'EINVAL', 'EPERM')
            check('nor removed', err(os.unlink, '%s@%s' % (f, v)), 'EACCES', 'EINVAL')
    for v in VIEWS:
        check('open/public@%s is not written' % v, err(put, 'open/public@' + v, b'x'), 'EACCES',
              'EINVAL')
        check('nor removed', err(os.unlink, 'open/public@' + v), 'EACCES', 'EINVAL')
        check('open/blind@%s is not read' % v, read_name('open/blind@' + v), 'EACCES', 'EINVAL')
        check('dark/hidden-name@%s is not there' % v, read_name('dark/hidden-name@' + v), 'EACCES')
    check('a view is no way to chmod', err(os.chmod, 'open/public@bytes=0..3', 0o777), 'EPERM')
    check('nor to truncate', err(os.truncate, 'open/public@bytes=0..3', 0), 'EACCES')
    check('nor a name for a link', err(os.link, 'open/private@bytes=0..3', 'mine/link'), 'EACCES',
          'EPERM', 'EXDEV')


def ioctls_told():
    fd = os.open('open/public', os.O_RDONLY)
    for nr, gone, data in (1, 0, b'x'), (2, 1, b''), (3, 1, b'x'):
        check('a descriptor that reads does not edit, by ioctl %d' % nr,
              edit(fd, nr, 0, gone, data), 'EBADF')
    txn = os.open('.ropefs/txn', os.O_RDONLY)
    used = txn_use(txn, fd)
    check('it joins a transaction', isinstance(used, bytes), True)
    check('which does not edit by it', txn_edit(txn, fd, 0, 1, b'x'), 'EBADF')
    blind = os.open('open/blind', os.O_WRONLY)
    put('mine/copy', b'')
    copy = os.open('mine/copy', os.O_RDWR)
    used = txn_use(txn, blind)
    number = struct.unpack('<I', used[16:20])[0]
    check('what may be written only is no source', txn_edit(txn, copy, 0, 0, b'', number, 9),
          'EBADF')
    check('nor for copy_file_range', err(os.copy_file_range, blind, copy, 9), 'EBADF')
    check('a file number that is none', txn_edit(txn, copy, 0, 0, b'', 99, 9), 'EINVAL')
    q = os.open('queues/public', os.O_RDONLY)
    check('cursors of a queue are seen by who reads it',
          isinstance(cursor(q, 32, b'', 0), bytes), True)
    check('but moved by who may write it', cursor(q, 30, b'theirs', 0), 'EACCES')
    check('and removed', cursor(q, 31, b'theirs', 0), 'EACCES')
    check('by a view neither', cursor(os.open('queues/public@records=0..', os.O_RDONLY), 30,
                                      b'theirs', 0), 'EACCES')
    check('the bucket is not theirs to change',
          ioctl(os.open('.ropefs/remote', os.O_RDONLY), 3, 70, bytes(4096))
          in ('EPERM', 'EINVAL', 'ENOTTY'), True)


def names_told():
    check('no snapshot of what is root\'s', err(os.mkdir, 'open/.snap/mine'), 'EPERM', 'EACCES')
    check('nor of a folder all may write to', err(os.mkdir, 'shared/.snap/mine'), 'EPERM',
          'EACCES')
    check('none is dropped', err(os.rmdir, 'open/.snap/before'), 'EPERM', 'EACCES')
    check('a snapshot shows no more than the folder', read_name('open/.snap/before/private'),
          'EACCES')
    check('nor by a view', read_name('open/.snap/before/private@bytes=0..4'), 'EACCES')
    check('snapshots of what is closed have no names', err(os.listdir, 'dark/.snap'), 'EACCES')
    check('policies are who may write\'s', err(os.setxattr, 'open/public', 'user.ropefs.ttl',
                                              b'1s'), 'EACCES')
    check('also of a folder', err(os.setxattr, 'queues', 'user.ropefs.retain', b'1s'), 'EACCES')
    check('an etag is not told', err(os.getxattr, 'open/private', 'user.ropefs.etag'), 'EACCES')
    check('.ropefs is not written to', err(put, '.ropefs/status', b'x'), 'EACCES', 'EPERM')
    check('nor made in', err(put, '.ropefs/other', b'x'), 'EACCES', 'EPERM')
    check('the folder of sizes is closed', err(os.listdir, '.ropefs/sizes'), 'EACCES', 'ENOENT')


def events_told():
    """Root asks for views that are none, where names are hidden; so does the user."""
    root = os.fork()
    if not root:
        os.stat('dark')
        for name in 'dark/hidden-name@bytes=x..y', 'open/private@bytes=9..5':
            err(os.stat, name)
        os._exit(0)
    os.waitpid(root, 0)
    everything = read_name('.ropefs/events')
    check('root is told of them', HIDDEN in everything, True)
    child = os.fork()
    if not child:
        become()
        err(os.stat, 'open/public@bytes=own..name')
        got = read_name('.ropefs/events')
        os._exit(int(HIDDEN in got or b'private' in got) + 2 * (b'own..name' not in got))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    check('the user of his own only', status, 0)


def follow_told():
    """A follower is given no file that its name leads to later, where he may not read it."""
    put('moves/followed', b'old\n', 0o644)
    ready = os.pipe()
    child = os.fork()
    if not child:
        become()
        fd = os.open('moves/followed@follow', os.O_RDONLY)
        os.read(fd, 100)
        os.write(ready[1], b'x')
        got = b''
        try:
            while select.select([fd], [], [], 20)[0]:
                piece = os.read(fd, 4096)
                got += piece
                if not piece or SECRET in got:
                    break
        except OSError as e:
            os._exit(0 if e.errno == errno.EACCES and SECRET not in got else 1)
        os._exit(2)
    os.read(ready[0], 1)
    put('moves/next', SECRET, 0o644)
    subprocess.run(['setfacl', '-m', 'u:%d:---' % WHO, 'moves/next'], check=True)
    os.rename('moves/next', 'moves/followed')
    check('the next file of a followed name is read with the right to only',
          os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
    os.unlink('moves/followed')


def told():
    events_told()
    follow_told()
    become()
    views_told()
    ioctls_told()
    names_told()


# --- any of them ---

class Tries:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.fds = []
        self.leaks = []
        self.calls = self.done = 0

    def file(self):
        r = self.r
        name = r.choice((
            'dark/hidden-name', 'open/private', 'open/public', 'open/blind', 'open/number',
            'open/listed', 'queues/private', 'queues/public', 'shared/of_root',
            'open/.snap/before/private', 'dark/.snap/hidden-name-of-snapshot/hidden-name',
            'mine/a', 'mine/b', 'mine/d/c', 'shared/theirs', 'new', 'open/new', 'queues/new'))
        if r.random() < 0.4:
            name += '@' + r.choice((
                'bytes=%d..%d' % (r.randrange(9), r.randrange(99)), 'bytes=..-3', 'follow',
                'stride=%d:%d' % (r.randrange(1, 5), r.randrange(1, 9)), 'add', 'patch',
                'lines=0..', 'records=..1', 'last=2,as=json', 'cursor=theirs', 'since=-1h',
                'time=..,every=2', 'if=1-2', 'bytes=x', 'every=0'))
        return name

    def folder(self):
        return self.r.choice(('.', 'dark', 'open', 'queues', 'shared', 'mine', 'mine/d', '.ropefs',
                              'open/.snap', 'dark/.snap', 'mine/.snap', '.snap',
                              'open/.snap/before', '.ropefs/sizes'))

    def fd(self):
        return self.r.choice(self.fds) if self.fds else self.open()

    def open(self):
        r = self.r
        name = r.choice((self.file(), self.file(), self.file(), '.ropefs/' + r.choice(
            ('txn', 'events', 'status', 'metrics', 'remote'))))
        flags = r.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)) | os.O_NONBLOCK
        for bit in (os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_EXCL, os.O_PATH, os.O_NOATIME):
            flags |= bit if r.random() < 0.15 else 0
        fd = os.open(name, flags, 0o644)
        if len(self.fds) > 20:
            os.close(self.fds.pop(0))
        self.fds.append(fd)
        return fd

    def ioctl(self):
        r, fd = self.r, self.fd()
        return r.choice((
            lambda: edit(fd, r.randrange(4), r.randrange(20), r.randrange(9), b'edit'),
            lambda: cursor(fd, r.choice((30, 31, 32)), r.choice((b'theirs', b'', b'own')),
                           r.choice((0, 1, (1 << 64) - 1))),
            lambda: txn_use(self.fd(), fd),
            lambda: txn_edit(self.fd(), fd, 0, r.randrange(5), b''[:r.randrange(2)],
                             r.randrange(3), r.randrange(9)),
            lambda: ioctl(fd, 0, 53, b''),
            lambda: ioctl(fd, r.randrange(4), r.randrange(90), r.randbytes(r.randrange(300)))))()

    def copy(self):
        return os.copy_file_range(self.fd(), self.fd(), self.r.randrange(200), self.r.randrange(9),
                                  self.r.randrange(9))

    def names(self):
        r, a, b = self.r, self.file(), self.file()
        d = self.folder()
        if not LINKS_KEPT:
            a = 'mine/a'
        return r.choice((
            lambda: os.rename(a, b), lambda: os.link(a, b), lambda: os.symlink(a, b),
            lambda: os.unlink(a), lambda: os.mkdir(d + r.choice(('/x', '/before', '/n'))),
            lambda: os.rmdir(d + r.choice(('/x', '/before', '/n'))), lambda: os.mkdir('mine/d'),
            lambda: os.rename(d, 'mine/d'), lambda: os.mkfifo(b)))()

    def attrs(self):
        r, a = self.r, self.file()
        key = 'user.' + r.choice(('a', 'ropefs.etag', 'ropefs.ttl', 'ropefs.policy', 'ropefs.kind'))
        return r.choice((
            lambda: os.chmod(a, r.choice((0o777, 0o4755, 0o600))),
            lambda: os.chown(a, r.choice((0, WHO)), WHO), lambda: os.utime(a),
            lambda: os.truncate(a, r.randrange(50)), lambda: os.setxattr(a, key, b'1s'),
            lambda: os.removexattr(a, key), lambda: os.getxattr(a, key), lambda: os.listxattr(a),
            lambda: os.setxattr(self.folder(), key, b'queue'), lambda: str(os.stat(a).st_size),
            lambda: os.posix_fallocate(self.fd(), 0, 10)))()

    def bytes(self):
        r = self.r
        return r.choice((
            lambda: read_some(self.fd()), lambda: os.pread(self.fd(), 500, r.randrange(50)),
            lambda: os.pwrite(self.fd(), b'written', r.randrange(50)),
            lambda: os.write(self.fd(), b'appended\n'), lambda: os.ftruncate(self.fd(), 5),
            lambda: os.fsync(self.fd()), lambda: os.lseek(self.fd(), 5, os.SEEK_DATA),
            lambda: read_name('/proc/self/fd/%d' % self.fd()), lambda: read_name(self.file())))()

    def lists(self):
        return ' '.join(os.listdir(self.folder()))

    def step(self):
        what = self.r.choice((self.open, self.open, self.ioctl, self.ioctl, self.copy, self.names,
                              self.attrs, self.bytes, self.bytes, self.lists))
        self.calls += 1
        try:
            got = what()
            self.done += 1
        except OSError:
            return
        got = got.encode() if isinstance(got, str) else got
        if isinstance(got, bytes) and (SECRET in got or HIDDEN in got):
            self.leaks.append((what.__name__, got[:60]))


def tries(seed, steps):
    t = Tries(int(seed))
    become()
    signal.alarm(500)  # a call that waits for ever ends the test
    for _ in range(int(steps)):
        t.step()
    check('%d calls, %d of them done, tell nothing (SEED=%s)' % (t.calls, t.done, seed),
          t.leaks, [])
    check('some are done, and some not', 0 < t.done < t.calls, True)


if __name__ == '__main__':
    {'make': make, 'digest': digest, 'told': told, 'random': tries}[sys.argv[1]](*sys.argv[2:])
    done()
