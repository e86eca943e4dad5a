"""What the cases of posix_calls.py are written with: a case 
prints through say(); err() and c() give an errno's name, or what the call returned."""

import ctypes
import errno
import os
import shutil
import stat


libc = ctypes.CDLL(None, use_errno=True)
CASES = []
said = []


def case(f):
    CASES.append(f)
    return f


def say(*words):
    said.append(' '.join(str(w) for w in words))


def err(f, *args, **kw):
    try:
        r = f(*args, **kw)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)
    return 'ok' if r is None else r


def c(name, *args):
    """A call of libc: its result, or the errno's name."""
    args = [os.fsencode(a) if isinstance(a, str) else a for a in args]
    args = [ctypes.c_longlong(a) if isinstance(a, int) else a for a in args]
    ctypes.set_errno(0)
    r = getattr(libc, name)(*args)
    return errno.errorcode[ctypes.get_errno()] if r < 0 else r


def put(name, text=b'text', mode=0o644):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, text)
    os.close(fd)


def get(name):
    with open(name, 'rb') as f:
        return f.read()


def touch(name, flags=0, mode=0o644):
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | flags, mode))


def mode_of(name):
    return oct(os.lstat(name).st_mode)


def as_user(f, uid=1234, gid=1234, groups=()):
    """Runs f as somebody; what it says counts."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            said.clear()
            f()
            os.write(w, '\n'.join(said).encode())
        except BaseException as e:
            os.write(w, repr(e).encode())
        os._exit(0)
    os.close(w)
    text = b''
    while part := os.read(r, 65536):
        text += part
    os.close(r)
    os.waitpid(pid, 0)
    say(text.decode())


def in_child(f):
    """Its exit status, or the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            f()
        except OSError as e:
            os._exit(e.errno)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


CAPABILITY = bytes([0, 0, 0, 2, 0, 4] + [0] * 14)


def make(kind, name):
    if kind == 'file':
        put(name)
    elif kind == 'dir':
        os.mkdir(name)
    elif kind == 'full':
        os.mkdir(name)
        put(name + '/in')
    elif kind == 'link':
        os.symlink('nowhere', name)
    elif kind == 'dirlink':
        os.symlink('/proc/self/task', name)
    elif kind == 'fifo':
        os.mkfifo(name)
    elif kind == 'socket':
        os.mknod(name, stat.S_IFSOCK | 0o600)
    elif kind == 'device':
        os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(1, 3))


KINDS = ['file', 'dir', 'full', 'link', 'fifo', 'socket', 'device']


def tree():
    out = []
    for d, dirs, files in sorted(os.walk('.')):
        for n in sorted(dirs + files):
            st = os.lstat(d + '/' + n)
            out.append('%s:%o:%d:%d' % (n, st.st_mode, st.st_nlink, st.st_rdev))
    return ','.join(out)


def fresh():
    for n in os.listdir('.'):
        if os.path.isdir(n) and not os.path.islink(n):
            shutil.rmtree(n)
        else:
            os.unlink(n)
