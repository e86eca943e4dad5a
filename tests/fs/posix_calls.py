#!/usr/bin/env python3
"""System calls and what they say: each case runs in an ordinary directory and in the mount, and
both must say the same. Usage: posix_calls.py PLAIN MOUNT. Prints a TAP line a case.

A case prints through say(); err() gives an errno's name, or what the call returned."""

import ctypes
import difflib
import errno
import fcntl
import mmap
import os
import shutil
import signal
import socket
import stat
import struct
import sys
import time

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


# --- names ---

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


@case
def rename_of_all_kinds_and_flags():
    for flags in (0, 1, 2, 4, 3, 5, 6, 8):
        for a in KINDS + [None]:
            for b in KINDS + [None]:
                make(a, 'a')
                make(b, 'b')
                say(flags, a, b, c('renameat2', -100, 'a', -100, 'b', flags), tree())
                fresh()


@case
def rename_into_itself_and_odd_names():
    os.makedirs('d/e/f')
    put('x')
    for a, b in [('d', 'd/e'), ('d', 'd/e/f/g'), ('d/e', 'd'), ('d', 'd'), ('d', 'd/'),
                 ('x', 'x'), ('x', 'x/'), ('x', 'y/'), ('x/', 'y'), ('.', 'z'), ('d/.', 'z'),
                 ('d/..', 'z'), ('x', 'd'), ('d', 'x'), ('none', 'none'), ('x', 'none/y'),
                 ('x', 'x/y'), ('d/e', '.'), ('d', '..'), ('', 'x'), ('x', ''), ('d/e/', 'q/')]:
        say(a, b, [c('renameat2', -100, a, -100, b, f) for f in (0, 1, 2, 4)], tree())
    os.link('x' if os.path.exists('x') else 'y', 'hard')
    say(c('rename', 'x', 'hard'), tree(), c('renameat2', -100, 'x', -100, 'hard', 2), tree())


@case
def unlink_rmdir_link_of_all_kinds():
    for k in KINDS + ['dirlink', None]:
        for f in (os.unlink, os.rmdir, lambda n: os.link(n, 'h', follow_symlinks=False),
                  lambda n: os.unlink(n + '/'), lambda n: os.rmdir(n + '/'),
                  lambda n: os.rmdir(n + '/.'), lambda n: os.rmdir(n + '/..'),
                  lambda n: os.mkdir(n), lambda n: os.symlink('x', n), lambda n: touch(n,
                      os.O_EXCL),
                  lambda n: os.mkfifo(n), lambda n: os.readlink(n), lambda n: os.listdir(n),
                  lambda n: os.chdir(n + '/in')):
            make(k, 'a')
            say(k, err(f, 'a'), tree())
            fresh()


@case
def names_too_long():
    long, longer = 'n' * 255, 'n' * 256
    deep = '/'.join(['n' * 200] * 21)
    put('f')
    for n in (long, longer, deep, 'f/' + long, longer + '/x'):
        say([err(f, n) for f in (
            touch, os.unlink, os.mkdir, os.rmdir, os.mkfifo, lambda x: os.stat(x).st_mode,
                os.readlink,
            lambda x: os.symlink('t', x), lambda x: os.link('f', x), lambda x: os.rename(x, 'g'),
            lambda x: os.rename('f', x), lambda x: os.chmod(x, 0), lambda x: os.truncate(x, 0),
            os.utime, lambda x: os.setxattr(x, 'user.a', b''), lambda x: os.access(x, 0),
            lambda x: os.listdir(x))], os.path.exists('f') or os.rename(long, 'f'))
    for n in (1, 100, 4094, 4095, 4096, 5000):
        say(n, err(os.symlink, 't' * n, 's%d' % n), err(lambda: len(os.readlink('s%d' % n))))
    say(c('symlink', '', 'empty'), c('mkdir', '', 0o755), c('unlink', ''), c('open', '', 0))


@case
def symlink_loops_and_depth():
    os.symlink('b', 'a')
    os.symlink('a', 'b')
    os.symlink('self/x', 'self')
    put('end')
    last = 'end'
    for i in range(45):
        os.symlink(last, 'l%d' % i)
        last = 'l%d' % i
    for n in ('a', 'self', 'a/x', 'l10', 'l39', 'l40', 'l44'):
        say(n, [err(f, n) for f in (lambda x: os.stat(x).st_size, lambda x: len(get(x)),
                                    lambda x: os.truncate(x, 3), lambda x: touch(x, os.O_NOFOLLOW),
                                    lambda x: touch(x, os.O_EXCL), lambda x: os.chmod(x, 0o600),
                                    lambda x: os.lstat(x).st_nlink)])


@case
def other_filesystems_are_other_devices():
    put('f')
    os.mkdir('d')
    other = '/proc/self/posix'
    say(err(os.rename, 'f', other), err(os.link, 'f', other), err(os.rename, 'd', other),
        err(os.rename, '/proc/version', 'v'), err(os.link, '/proc/version', 'v'))


@case
def what_happens_in_a_removed_directory():
    os.mkdir('d')
    put('f')
    fd = os.open('d', os.O_RDONLY)
    os.chdir('d')
    os.rmdir('../d')
    say(os.fstat(fd).st_nlink, [err(f) for f in (
        lambda: touch('x'), lambda: os.mkdir('x'), lambda: os.symlink('a', 'x'),
        lambda: os.mkfifo('x'), lambda: os.listdir('.'), lambda: os.stat('..') and 1,
        lambda: os.rename('../f', 'x'), lambda: os.link('../f', 'x'), lambda: os.getcwd(),
            lambda: os.stat('.') and 1)])
    os.close(fd)


@case
def opening():
    put('f')
    os.mkdir('d')
    os.symlink('f', 's')
    os.symlink('none', 'dangling')
    os.mkfifo('p')
    make('socket', 'k')
    R, W, RW = os.O_RDONLY, os.O_WRONLY, os.O_RDWR
    for n in ('f', 'd', 's', 'dangling', 'p', 'k', 'none', 'f/', 'd/', 'none/', 'f/x'):
        for flags in (R, W | os.O_NONBLOCK, RW | os.O_NONBLOCK, R | os.O_DIRECTORY,
            R | os.O_NOFOLLOW,
                      W | os.O_CREAT | os.O_EXCL, R | os.O_TRUNC | os.O_NONBLOCK, os.O_PATH,
                      RW | os.O_CREAT | os.O_DIRECTORY, RW | os.O_TMPFILE, R | os.O_TMPFILE,
                      W | os.O_CREAT | os.O_NONBLOCK):
            if n == 'p' and not flags & (os.O_NONBLOCK | os.O_PATH | os.O_DIRECTORY | os.O_EXCL):
                continue
            fd = err(os.open, n, flags, 0o644)
            say(n, oct(flags), fd if isinstance(fd, str) else 'opened', tree())
            if isinstance(fd, int):
                os.close(fd)
            if n in ('none', 'dangling') and os.path.lexists('none'):
                os.unlink('none')


@case
def unnamed_files():
    fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b'bytes')
    st = os.fstat(fd)
    say(st.st_nlink, oct(st.st_mode), st.st_size, os.listdir('.'))
    os.fchmod(fd, 0o600)
    path = '/proc/self/fd/%d' % fd
    say(c('linkat', -100, path, -100, 'named', 0x400), c('linkat', -100, path, -100, 'named',
        0x400),
        c('linkat', -100, path, -100, 'second', 0x400), tree(), get('named'))
    os.unlink('named')
    os.unlink('second')
    say(os.fstat(fd).st_nlink, c('linkat', -100, path, -100, 'again', 0x400))
    os.close(fd)
    fd = os.open('.', os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
    say(c('linkat', -100, '/proc/self/fd/%d' % fd, -100, 'never', 0x400), os.listdir('.'))
    os.close(fd)


@case
def open_files_unlinked_and_renamed():
    fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b'one')
    os.rename('f', 'g')
    os.write(fd, b'two')
    say(get('g'), os.fstat(fd).st_nlink)
    put('h', b'other')
    os.rename('h', 'g')
    os.write(fd, b'three')
    say(get('g'), os.pread(fd, 99, 0), os.fstat(fd).st_nlink, os.fstat(fd).st_size)
    os.ftruncate(fd, 4)
    os.fchmod(fd, 0o4711)
    os.setxattr(fd, 'user.x', b'y')
    os.utime(fd, ns=(5, 7))
    st = os.fstat(fd)
    say(st.st_size, oct(st.st_mode), st.st_mtime_ns, os.getxattr(fd, 'user.x'), c('fsync', fd))
    say(err(lambda: get('/proc/self/fd/%d' % fd)))
    os.close(fd)


@case
def nodes():
    for kind, dev in ((stat.S_IFIFO, 0), (stat.S_IFSOCK, 0), (stat.S_IFREG, 0), (0, 0),
                      (stat.S_IFCHR, os.makedev(1, 3)), (stat.S_IFBLK, os.makedev(259, 70000)),
                      (stat.S_IFCHR, os.makedev(4095, 1048575)), (stat.S_IFDIR, 0),
                      (stat.S_IFLNK, 0)):
        say(oct(kind), err(os.mknod, 'n', kind | 0o4765, dev), tree())
        if os.path.lexists('n'):
            os.unlink('n')
    os.mkfifo('p')
    r = os.open('p', os.O_RDONLY | os.O_NONBLOCK)
    w = os.open('p', os.O_WRONLY)
    os.write(w, b'through')
    say(os.read(r, 99), err(os.lseek, r, 0, 0), os.stat('p').st_size)
    s = socket.socket(socket.AF_UNIX)
    s.bind('sock')
    s.listen()
    t = socket.socket(socket.AF_UNIX)
    say(err(t.connect, 'sock'), mode_of('sock'), err(socket.socket(socket.AF_UNIX).bind, 'sock'))
    t.send(b'hi')
    say(s.accept()[0].recv(9))
    s.close()
    say(err(socket.socket(socket.AF_UNIX).connect, 'sock'))


# --- attributes ---

def times(name):
    if not os.path.lexists(name):
        return None
    st = os.lstat(name)
    return st.st_mtime_ns, st.st_ctime_ns


@case
def which_times_a_change_moves():
    os.mkdir('d')
    put('d/f', b'x' * 10000)
    os.symlink('f', 'd/s')
    fd = os.open('d/f', os.O_RDWR)
    changes = [
        lambda: os.pwrite(fd, b'x', 0), lambda: os.pwrite(fd, b'', 0), lambda: os.pread(fd, 1, 0),
        lambda: os.ftruncate(fd, 9000), lambda: os.ftruncate(fd, 9000), lambda: os.truncate('d/f',
            9000),
        lambda: os.ftruncate(fd, 9500), lambda: os.chmod('d/f', 0o600), lambda: os.chown('d/f', 0,
            0),
        lambda: os.chown('d/f', -1, -1), lambda: os.chown('d/f', 5, -1), lambda: os.link('d/f',
            'd/g'),
        lambda: os.rename('d/g', 'd/h'), lambda: os.unlink('d/h'), lambda: os.setxattr(fd,
            'user.a', b'1'),
        lambda: os.removexattr(fd, 'user.a'), lambda: os.utime(fd, ns=(1, 2)),
        lambda: c('futimens', fd, struct.pack('qqqq', 0, 0x3fffffff, 0, 0x3ffffffe)),
        lambda: c('fallocate', fd, 0, 0, 20000), lambda: c('fallocate', fd, 3, 0, 4096),
        lambda: c('fallocate', fd, 1, 0, 30000), lambda: c('fallocate', fd, 16, 0, 100),
        lambda: c('fallocate', fd, 3, 90000, 10), lambda: c('fallocate', fd, 17, 90000, 10),
        lambda: os.close(os.open('d/f', os.O_RDWR | os.O_TRUNC)),
        lambda: os.close(os.open('d/f', os.O_RDWR | os.O_TRUNC)),
        lambda: os.mkdir('d/sub'), lambda: os.rmdir('d/sub'), lambda: os.listdir('d'),
        lambda: os.rename('d/s', 'd/f2'), lambda: os.rename('d/f2', 'd/s'),
        lambda: c('renameat2', -100, 'd/f', -100, 'd/s', 2), lambda: os.rename('d', 'e'),
        lambda: os.rename('e', 'd'), lambda: os.rename('d/f', 'd/f')]
    for i, change in enumerate(changes):
        before = {n: times(n) for n in ('.', 'd', 'd/f', 'd/s')}
        time.sleep(0.012)
        change()
        say(i, [tuple(int(a != b) for a, b in zip(before[n], times(n)))
                if before[n] and times(n) else '-' for n in before])


@case
def utimens_with_now_and_omit():
    NOW, OMIT = 0x3fffffff, 0x3ffffffe
    put('f')
    os.symlink('f', 's')
    os.symlink('none', 'x')

    def shown(n):
        st = os.lstat(n)
        old = 10**18
        return [t if t < old else 'now' for t in (st.st_atime_ns, st.st_mtime_ns)]

    for a in ((1, 2, 3, 4), (0, OMIT, 7, 999999999), (5, 6, 0, OMIT), (0, OMIT, 0, OMIT),
              (9, 9, 0, NOW), (0, NOW, 9, 8), (0, NOW, 0, NOW), (0, 1000000000, 0, 0),
              (0, -1, 0, 0), (-5, 3, -1, 999999999)):
        times_ = struct.pack('qqqq', *a)
        say(a, c('utimensat', -100, 'f', times_, 0), shown('f'), c('utimensat', -100, 's', times_,
            0x100),
            shown('s'), c('utimensat', -100, 'x', times_, 0))
    say(c('utimensat', -100, 'none', None, 0), c('utimensat', -100, 'f', None, 0x8000))

    def other():
        for a in ((0, NOW, 0, NOW), (1, 1, 1, 1), (0, OMIT, 0, OMIT), (0, NOW, 0, OMIT)):
            say([c('utimensat', -100, n, struct.pack('qqqq', *a), 0) for n in ('f', 'w', 'mine')])
    put('w', mode=0o666)
    os.chmod('w', 0o666)
    put('mine')
    os.chown('mine', 1234, -1)
    as_user(other)


def statx(name, flags=0x100):
    b = ctypes.create_string_buffer(256)
    r = c('statx', -100, name, flags, 0xfff, b)
    mask, = struct.unpack_from('I', b.raw, 0)
    return r, mask & 0xfff, struct.unpack_from('qI', b.raw, 0x50)


@case
def birth_times():
    put('f')
    os.mkdir('d')
    os.symlink('f', 's')
    os.mkfifo('p')
    born = {n: statx(n) for n in 'fdsp'}
    for n, (r, mask, when) in born.items():
        say(n, r, mask, abs(when[0] - time.time()) < 100, 0 <= when[1] < 10**9)
    time.sleep(0.012)
    put('f', b'changed')
    os.chmod('f', 0)
    os.utime('f', ns=(1, 1))
    os.rename('f', 'd/f')
    say(statx('d/f')[2] == born['f'][2], statx('d/f', 0x2100)[2] == born['f'][2],
        statx('d/f', 0x4100)[2] == born['f'][2])


@case
def modes_and_owners():
    for kind in ('file', 'dir', 'fifo'):
        make(kind, 'n')
        for m in (0, 0o7777, 0o1777, 0o2755, 0o4755, 0o6000):
            os.chmod('n', m)
            say(kind, mode_of('n'))
            for u, g in ((-1, -1), (-1, 5), (5, -1), (0, 0)):
                os.chmod('n', m)
                say(err(os.chown, 'n', u, g), mode_of('n'))
        fresh()
    os.symlink('none', 's')
    say(err(os.lchown, 's', 7, 8), os.lstat('s').st_uid, err(os.chmod, 's', 0o600), mode_of('s'))
    put('f')
    os.chown('f', 1234, 1234)
    put('root')

    def owner():
        for u, g in ((-1, 88), (-1, 1234), (-1, 99), (1234, -1), (0, -1), (1234, 88), (-1, -1)):
            os.chmod('f', 0o6775)
            say(u, g, err(os.chown, 'f', u, g), mode_of('f'), os.stat('f').st_gid)
        for m in (0o2755, 0o2644, 0o4644, 0o1644):
            say(oct(m), err(os.chmod, 'f', m), mode_of('f'))
        say(err(os.chmod, 'root', 0o777), err(os.chown, 'root', 1234, -1), err(os.utime, 'root'),
            err(os.setxattr, 'root', 'user.a', b''), err(os.truncate, 'root', 0))
    as_user(owner, groups=[88])
    os.chown('f', 1234, 99)
    as_user(lambda: say(err(os.chmod, 'f', 0o2755), mode_of('f')))
    for m in (0o4755, 0o2755, 0o2745, 0o755):
        put('f', mode=0o755)
        os.chown('f', 0, 99)
        os.chmod('f', m)
        for groups in ([], [99]):
            as_user(lambda: say(err(os.chown, 'f', -1, -1), mode_of('f')), groups=groups)


CAPABILITY = bytes([0, 0, 0, 2, 0, 4] + [0] * 14)


@case
def file_capabilities_of_what_is_no_file():
    for kind in ('file', 'dir', 'fifo'):
        for change in (lambda: os.chown('n', 5, -1), lambda: os.chown('n', -1, -1),
                       lambda: os.chmod('n', 0o4711), lambda: os.utime('n')):
            make(kind, 'n')
            os.setxattr('n', 'security.capability', CAPABILITY)
            say(kind, err(change), mode_of('n'), os.listxattr('n'))
            fresh()


@case
def set_id_bits_go_when_bytes_change():
    def changes():
        return {
            'write': lambda: os.pwrite(os.open('f', os.O_WRONLY), b'x', 0),
            'append': lambda: os.write(os.open('f', os.O_WRONLY | os.O_APPEND), b'x'),
            'truncate': lambda: os.truncate('f', 1),
            'grow': lambda: os.truncate('f', 99),
            'open': lambda: os.open('f', os.O_WRONLY | os.O_TRUNC) and None,
            'punch': lambda: c('fallocate', os.open('f', os.O_WRONLY), 3, 0, 2),
            'zero': lambda: c('fallocate', os.open('f', os.O_WRONLY), 16, 0, 2),
            'allocate': lambda: c('fallocate', os.open('f', os.O_WRONLY), 0, 0, 9000),
            'copy': lambda: os.copy_file_range(os.open('g', 0), os.open('f', os.O_WRONLY), 2),
            'map': lambda: mmap.mmap(os.open('f', os.O_RDWR), 2).__setitem__(0, 65),
            'direct': lambda: os.write(os.open('f', os.O_WRONLY | os.O_APPEND | os.O_DSYNC), b'x'),
        }
    put('g')

    def run():
        for name, change in changes().items():
            say(name, err(change) != 0 and '', mode_of('f'))

    for mode in (0o6777, 0o2777, 0o2767, 0o4666, 0o2666, 0o6755):
        for name in changes():
            for who, groups in ((0, []), (1234, []), (1234, [77])):
                put('f', b'some bytes')
                os.chown('f', 5, 77)
                os.chmod('f', mode)

                def one():
                    r = err(changes()[name])
                    say(oct(mode), name, who, groups, r if isinstance(r, str) else 'done',
                        mode_of('f'))
                as_user(one, who, who, groups) if who else one()


@case
def who_may_do_what():
    os.chmod('.', 0o777)
    for mode in (0o000, 0o400, 0o040, 0o004, 0o222, 0o111, 0o755, 0o660):
        put('f')
        os.chown('f', 1234, 77)
        os.chmod('f', mode)
        os.mkdir('d')
        put('d/in')
        os.chown('d', 1234, 77)
        os.chmod('d', mode)
        for uid, gid, groups in ((0, 0, []), (1234, 1, []), (1, 77, []), (1, 1, [77]), (1, 1, [])):
            as_user(lambda: say(oct(mode), uid, gid, groups, [err(f) for f in (
                lambda: get('f'), lambda: os.close(os.open('f', os.O_WRONLY)),
                    lambda: os.access('f', 1),
                lambda: os.listdir('d'), lambda: len(get('d/in')), lambda: touch('d/new'),
                lambda: os.unlink('d/new'), lambda: os.rename('d/in', 'd/in'),
                    lambda: os.access('d', 7),
                lambda: os.open('d', os.O_TMPFILE | os.O_RDWR) and 'made')]), uid, gid, groups)
        fresh()


@case
def sticky_directories():
    for mode in (0o1777, 0o777):
        os.mkdir('d')
        os.chmod('d', mode)
        for owner, n in ((5, 'a'), (1234, 'b')):
            put('d/' + n)
            os.chown('d/' + n, owner, owner)
            os.mkdir('d/%sd' % n)
            os.chown('d/%sd' % n, owner, owner)
        as_user(lambda: say([err(f) for f in (
            lambda: os.rename('d/b', 'd/a'), lambda: os.rename('d/a', 'd/c'),
                lambda: os.unlink('d/a'),
            lambda: os.rmdir('d/ad'), lambda: os.rename('d/b', 'd/c'), lambda: os.rename('d/c',
                'd/b'),
            lambda: os.unlink('d/b'), lambda: os.rmdir('d/bd'),
            lambda: os.link('d/a', 'd/l') if os.path.exists('d/a') else None)]))
        fresh()
    os.mkdir('d')
    os.chown('d', 1234, 1234)
    os.chmod('d', 0o1755)
    put('d/a')
    as_user(lambda: say(err(os.unlink, 'd/a')))


@case
def set_gid_directories_and_umask():
    os.mkdir('d')
    os.chown('d', 0, 77)
    os.chmod('d', 0o2777)
    for mask in (0, 0o022, 0o077, 0o777):
        os.umask(mask)

        def made():
            touch('d/f', mode=0o6777)
            os.mkdir('d/sub', 0o7777)
            os.mkfifo('d/p', 0o666)
            os.symlink('x', 'd/s')
            os.close(os.open('d', os.O_TMPFILE | os.O_RDWR, 0o666))
            for n in ('f', 'sub', 'p', 's'):
                st = os.lstat('d/' + n)
                say(oct(mask), n, oct(st.st_mode), st.st_uid, st.st_gid)
            for n in ('f', 'p', 's'):
                os.unlink('d/' + n)
            os.rmdir('d/sub')
        made()
        as_user(made)
        as_user(made, groups=[77])
    os.umask(0o022)


@case
def xattrs():
    put('f')
    os.mkdir('d')
    os.symlink('f', 's')
    os.mkfifo('p')
    for n in ('f', 'd', 's', 'p'):
        for key in ('user.a', 'trusted.a', 'security.a', 'system.a', 'a', 'user.', '.a',
            'other.a', ''):
            say(n, key, [err(f) for f in (
                lambda: os.setxattr(n, key, b'one', follow_symlinks=False),
                lambda: os.setxattr(n, key, b'two', os.XATTR_CREATE, follow_symlinks=False),
                lambda: os.setxattr(n, key, b'three', os.XATTR_REPLACE, follow_symlinks=False),
                lambda: os.getxattr(n, key, follow_symlinks=False),
                lambda: sorted(os.listxattr(n, follow_symlinks=False)),
                lambda: os.removexattr(n, key, follow_symlinks=False),
                lambda: os.removexattr(n, key, follow_symlinks=False),
                lambda: os.getxattr(n, key, follow_symlinks=False),
                lambda: os.setxattr(n, key, b'', os.XATTR_REPLACE, follow_symlinks=False),
                lambda: os.setxattr(n, key, b'', 3, follow_symlinks=False))])
    os.setxattr('f', 'user.ten', b'0123456789')
    b = ctypes.create_string_buffer(64)
    say([c('getxattr', 'f', 'user.ten', b, n) for n in (0, 1, 9, 10, 64)],
        [c('listxattr', 'f', b, n) for n in (0, 1, 8, 9, 64)])
    say([err(os.setxattr, 'f', 'user.' + 'n' * n, b'') for n in (1, 249, 250, 251, 300)],
        err(os.setxattr, 'f', 'user.v', b'v' * 65537), err(os.setxattr, 'f', 'user.f', b'', 4))

    def other():
        say([err(os.setxattr, 'f', k, b'1') for k in ('user.o', 'trusted.o', 'security.o')],
            [err(os.getxattr, 'f', k) for k in ('user.ten', 'trusted.t')],
                sorted(os.listxattr('f')))
    os.setxattr('f', 'trusted.t', b'1')
    as_user(other)
    os.chmod('f', 0)
    as_user(other)


# --- bytes ---

@case
def reading_and_writing():
    fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o644)
    say(os.pwrite(fd, b'abc', 5), os.pread(fd, 99, 0), os.pread(fd, 9, 100), os.pwrite(fd, b'', 50),
        os.fstat(fd).st_size, err(os.pread, fd, 1, -1), err(os.pwrite, fd, b'x', -1))
    say(os.writev(fd, [b'1', b'', b'234']), os.lseek(fd, 0, 1), os.preadv(fd, [bytearray(3),
        bytearray(9)], 1))
    say(err(os.lseek, fd, -1, 0), err(os.lseek, fd, -100, 1), os.lseek(fd, 1 << 40, 0),
        os.read(fd, 1),
        err(os.lseek, fd, 2, 2), err(os.lseek, fd, 1, 99))
    ro, wo = os.open('f', os.O_RDONLY), os.open('f', os.O_WRONLY)
    say(err(os.write, ro, b'x'), err(os.read, wo, 1), err(os.ftruncate, ro, 0), err(os.ftruncate,
        fd, -1),
        err(os.truncate, 'f', -1), err(os.truncate, '.', 1), err(os.truncate, 'none', 1))
    ap = os.open('f', os.O_RDWR | os.O_APPEND)
    say(os.pwrite(ap, b'end', 0), os.write(ap, b'!'), get('f'), os.lseek(ap, 0, 1))
    say(os.pwritev(fd, [b'more'], 0, os.RWF_APPEND if hasattr(os, 'RWF_APPEND') else 16), get('f'))
    say(err(os.pwritev, fd, [b'S'], 0, os.RWF_DSYNC), err(os.pwritev, fd, [b'S'], 1, os.RWF_SYNC),
        get('f'))
    d = os.open('.', os.O_RDONLY)
    say(err(os.read, d, 1), err(os.pread, d, 1, 0), err(os.fsync, d), err(os.fdatasync, d))
    os.truncate('f', 0)
    for size in (1, 4095, 4096, 4097, 100000, 3, 0, 5000):
        os.ftruncate(fd, size)
        os.pwrite(fd, b'z', size // 2)
        say(size, os.fstat(fd).st_size, os.pread(fd, 200000, 0).count(b'\0'))


@case
def direct_and_synchronous():
    page = mmap.mmap(-1, 8192)
    page[:] = b'p' * 8192
    fd = os.open('f', os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    say(os.write(fd, page), os.pwritev(fd, [page], 4096), os.preadv(fd, [page], 8192),
        os.fstat(fd).st_size)
    with open('f', 'r+b') as f:
        f.write(b'cached')
        f.flush()
        say(os.preadv(fd, [page], 0), page[:10])
        page[:6] = b'direct'
        os.pwritev(fd, [page], 0)
        say(f.seek(0), f.read(10))
    for flags in (os.O_SYNC, os.O_DSYNC, os.O_SYNC | os.O_DIRECT):
        fd = os.open('g', os.O_RDWR | os.O_CREAT | flags, 0o644)
        say(os.pwritev(fd, [page], 0), os.fstat(fd).st_size, c('fallocate', fd, 0, 0, 10000),
            c('fsync', fd))


@case
def holes():
    fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o644)
    K = 4096
    for at, n in ((2, 1), (8, 4)):
        os.pwrite(fd, b'd' * (n * K), at * K)
    os.ftruncate(fd, 64 * K)
    c('fallocate', fd, 3, 9 * K, K)
    say(c('fallocate', fd, 17, 100 * K, K), os.fstat(fd).st_size // K)
    for at in (0, 1, 2 * K, 2 * K + 5, 3 * K, 8 * K, 9 * K, 9 * K + 1, 10 * K, 12 * K, 50 * K,
               64 * K - 1, 64 * K, 65 * K, -1):
        say(at, [err(os.lseek, fd, at, w) for w in (os.SEEK_DATA, os.SEEK_HOLE)])
    os.ftruncate(fd, 0)
    say(err(os.lseek, fd, 0, os.SEEK_DATA), err(os.lseek, fd, 0, os.SEEK_HOLE))
    say(os.pwrite(fd, b'far', 1 << 42), os.fstat(fd).st_size, err(os.lseek, fd, 0, os.SEEK_DATA),
        os.pread(fd, 9, (1 << 42) - 2), os.fstat(fd).st_blocks < 100)


@case
def blocks_of_what_is_allocated():
    fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o644)
    for mode, n in ((0, 1000001), (1, 2000000)):
        say(c('fallocate', fd, mode, 0, n), os.fstat(fd).st_size, os.fstat(fd).st_blocks * 512 >= n)
    os.truncate('f', 0)
    say(os.fstat(fd).st_blocks)


@case
def what_maps_have_changed():
    for size, at in ((1 << 20, 500000), (1 << 20, 0), (9000, 8999)):
        fd = os.open('f', os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.ftruncate(fd, size)
        m = mmap.mmap(fd, size)
        reader = os.open('f', os.O_RDONLY)
        for i, change in enumerate((b'a', b'b')):
            m[at:at + 1] = change
            m[size // 2:size // 2 + 1] = change
            say(size, at, [err(os.lseek, reader, o, w) for o in (0, at, 4096, 600000, size - 1)
                           for w in (os.SEEK_DATA, os.SEEK_HOLE)])
            say(os.system('cp f g && cmp f g'), os.pread(reader, 9, at))
            os.close(os.open('f', os.O_WRONLY))
        m.close()
        os.close(fd)
        say([err(os.lseek, reader, 0, w) for w in (os.SEEK_DATA, os.SEEK_HOLE)])
        os.close(reader)
    os.chmod('f', 0o6755)
    os.setxattr('f', 'security.capability', CAPABILITY)
    m = mmap.mmap(os.open('f', os.O_RDWR), 9000)
    m[0:4] = b'kept'
    m.flush()
    say(mode_of('f'), os.listxattr('f'), get('f')[:5])


@case
def fallocate():
    fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o644)
    os.mkfifo('p')
    ro, d, p = os.open('f', 0), os.open('.', 0), os.open('p', os.O_RDWR)
    for mode in (0, 1, 3, 2, 16, 17, 18, 64, 0x80000000):
        os.ftruncate(fd, 0)
        os.pwrite(fd, b'x' * 10000, 0)
        for off, n in ((0, 100), (5000, 1000), (9000, 5000), (20000, 10), (-1, 10), (0, 0), (0, -1),
                       ((1 << 63) - 1, 1), (1, (1 << 63) - 1)):
            say(mode, off, n, c('fallocate', fd, mode, off, n), os.fstat(fd).st_size,
                os.pread(fd, 30000, 0).count(b'x'))
        say([c('fallocate', x, mode, 0, 10) for x in (ro, d, p, 999)])


@case
def copy_file_range():
    put('a', bytes(range(256)) * 40)
    a, rw = os.open('a', 0), os.open('a', os.O_RDWR)
    b = os.open('b', os.O_RDWR | os.O_CREAT, 0o644)
    cp = lambda *x: err(os.copy_file_range, *x)
    say(cp(a, b, 100, 0, 0), get('b') == get('a')[:100], cp(a, b, 10, 10240, 0), cp(a, b, 99999,
        10000, 50),
        cp(a, b, 0, 0, 0), os.fstat(b).st_size)
    say(cp(rw, rw, 100, 0, 50), cp(rw, rw, 100, 0, 200), cp(rw, rw, 100, 0, 100), cp(b, a, 1),
        cp(a, a, 1),
        cp(a, os.open('.', 0), 1), cp(os.open('.', 0), b, 1), cp(a, os.open('b',
            os.O_WRONLY | os.O_APPEND), 1),
        cp(a, b, 100, 10200, 0))
    say(len(get('a')), sum(get('a')), sum(get('b')), os.sendfile(b, a, 0, 5000), sum(get('b')))


@case
def maps():
    put('f', b'a' * 10000)
    fd = os.open('f', os.O_RDWR)
    shared, private = mmap.mmap(fd, 10000), mmap.mmap(fd, 10000, mmap.MAP_PRIVATE)
    os.pwrite(fd, b'W', 5000)
    say(shared[5000:5001], private[5000:5001])
    shared[0:3] = b'map'
    private[0:3] = b'prv'
    say(os.pread(fd, 4, 0), private[0:4])
    shared[9999:10000] = b'!'
    shared.flush()
    say(get('f')[-2:], os.fstat(fd).st_size)
    os.ftruncate(fd, 4096)
    say(in_child(lambda: shared[8000]), in_child(lambda: shared[4095]))
    os.ftruncate(fd, 10000)
    say(shared[8000], shared[4095])
    ro, wo = os.open('f', os.O_RDONLY), os.open('f', os.O_WRONLY)
    for x in (ro, wo):
        for kind in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
            for prot in (mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE):
                m = err(mmap.mmap, x, 4096, kind, prot)
                say(kind, prot, m if isinstance(m, str) else 'mapped')
    os.unlink('f')
    shared[1:2] = b'U'
    os.close(fd)
    say(shared[0:3])


@case
def running_programs_can_not_be_written():
    shutil.copy('/bin/sleep', 'prog')
    pid = os.fork()
    if pid == 0:
        os.execv('./prog', ['prog', '20'])
    for _ in range(4000):
        if os.readlink('/proc/%d/exe' % pid).endswith('/prog'):
            break
        time.sleep(0.01)
    say(err(os.open, 'prog', os.O_WRONLY), err(os.open, 'prog', os.O_RDWR | os.O_TRUNC),
        err(os.truncate, 'prog', 0), err(os.rename, 'prog', 'moved'), err(os.unlink, 'moved'))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.copy('/bin/true', 'prog')
    fd = os.open('prog', os.O_WRONLY)
    say(in_child(lambda: os.execv('./prog', ['prog'])))
    os.close(fd)
    say(in_child(lambda: os.execv('./prog', ['prog'])))
    os.chmod('prog', 0o644)
    say(in_child(lambda: os.execv('./prog', ['prog'])))


# --- locks ---

def lock(fd, kind, start=0, n=0, cmd=fcntl.F_SETLK):
    return err(fcntl.fcntl, fd, cmd, struct.pack('hhqqi4x', kind, 0, start, n, 0))


@case
def locks():
    put('f', b'x' * 100)
    R, W, U = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
    OFD = fcntl.F_OFD_SETLK

    def got(x):
        return x if isinstance(x, str) else 'got'

    fd = os.open('f', os.O_RDWR)
    say(got(lock(fd, W, 10, 10)))

    def child():
        mine = os.open('f', os.O_RDWR)
        say([got(lock(mine, k, s, n)) for k, s, n in (
            (W, 0, 10), (W, 5, 10), (R, 19, 1), (R, 20, 5), (W, 20, 0), (U, 0, 0))])
        say(struct.unpack('hhqqi4x', fcntl.fcntl(mine, fcntl.F_GETLK,
            struct.pack('hhqqi4x', R, 0, 0, 0, 0)))[:4])
        say(got(lock(mine, W, 10, 1, OFD)), got(lock(mine, W, 50, 1, OFD)))
        say(err(fcntl.flock, mine, fcntl.LOCK_EX | fcntl.LOCK_NB))
    as_user(child, 0, 0)
    fcntl.flock(fd, fcntl.LOCK_SH)
    as_user(child, 0, 0)
    os.close(os.open('f', os.O_RDONLY))  # closing any descriptor lets go of a process's locks
    as_user(child, 0, 0)
    ofd = os.open('f', os.O_RDWR)
    say(got(lock(ofd, W, 0, 0, OFD)), got(lock(fd, R, 0, 1)), got(lock(fd, R, 0, 1, OFD)))
    os.close(os.open('f', os.O_RDONLY))
    as_user(child, 0, 0)
    dup = os.dup(ofd)
    os.close(ofd)
    as_user(child, 0, 0)
    os.close(dup)
    os.close(fd)
    as_user(child, 0, 0)


@case
def locks_that_wait():
    put('f')
    fd = os.open('f', os.O_RDWR)
    signal.signal(signal.SIGALRM, lambda *a: (_ for _ in ()).throw(InterruptedError(errno.EINTR,
        'alarm')))
    for how in ('posix', 'flock'):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            mine = os.open('f', os.O_RDWR)
            lock(mine, fcntl.F_WRLCK) if how == 'posix' else fcntl.flock(mine, fcntl.LOCK_EX)
            os.write(w, b'.')
            signal.pause()
        os.read(r, 1)

        def wait():
            if how == 'posix':
                return lock(fd, fcntl.F_WRLCK, cmd=fcntl.F_SETLKW)
            return err(fcntl.flock, fd, fcntl.LOCK_EX)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            said_by_wait = wait()
        except InterruptedError:  # just before the call began
            said_by_wait = 'EINTR'
        say(how, said_by_wait)
        os.kill(pid, signal.SIGKILL)
        say(isinstance(wait(), (bytes, str)) and 'got')
        os.waitpid(pid, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


# --- telling ---

@case
def inotify():
    os.mkdir('d')
    put('d/f')
    fd = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(fd, b'd', 0xfff & ~0x1)
    put('d/new')
    os.rename('d/new', 'd/moved')
    os.chmod('d/moved', 0o600)
    os.truncate('d/moved', 1)
    os.setxattr('d/moved', 'user.a', b'')
    os.link('d/f', 'd/hard')
    os.unlink('d/moved')
    os.mkdir('d/sub')
    os.rmdir('d/sub')
    os.symlink('x', 'd/s')
    os.rename('d/f', 'out')
    os.rename('out', 'd/back')
    os.unlink('d/back'), os.unlink('d/hard'), os.unlink('d/s')
    os.rmdir('d')
    b = os.read(fd, 65536)
    while b:
        _, mask, _, n = struct.unpack_from('iIII', b)
        say(hex(mask), b[16:16 + n].rstrip(b'\0').decode())
        b = b[16 + n:]


class Dirent(ctypes.Structure):
    _fields_ = [('ino', ctypes.c_uint64), ('off', ctypes.c_int64), ('len', ctypes.c_uint16),
                ('type', ctypes.c_uint8), ('name', ctypes.c_char * 256)]


@case
def seeking_in_directories():
    for f, t in (('opendir', ctypes.c_void_p), ('readdir', ctypes.POINTER(Dirent)), ('telldir',
        ctypes.c_long)):
        getattr(libc, f).restype = t
    os.mkdir('d')
    for i in range(500):
        touch('d/name%d' % i)
    d = ctypes.c_void_p(libc.opendir(b'd'))
    order, places = [], []
    while True:
        places.append(libc.telldir(d))
        e = libc.readdir(d)
        if not e:
            break
        order.append(e.contents.name)
    say(len(order), len(set(order)), len(set(places)), sorted(order)[:3])
    right = 0
    for i in list(range(0, 500, 7)) + [499, 3, 250]:
        libc.seekdir(d, ctypes.c_long(places[i]))
        right += libc.readdir(d).contents.name == order[i]
    say(right)
    # What is removed and made meanwhile doesn't move what stays.
    for i in range(0, 500, 2):
        os.unlink('d/name%d' % i)
    for i in range(100):
        touch('d/more%d' % i)
    libc.seekdir(d, ctypes.c_long(places[200]))
    rest = []
    while e := libc.readdir(d):
        rest.append(e.contents.name)
    stay = {n for n in order[200:] if n.startswith(b'name') and int(n[4:]) % 2}
    say(stay <= set(rest), len(rest) == len(set(rest)))
    libc.rewinddir(d)
    n = 0
    while libc.readdir(d):
        n += 1
    say(n)
    libc.closedir(d)


@case
def link_counts():
    os.mkdir('d')
    put('f')
    for i in range(20):
        os.mkdir('d/%d' % i)
        os.link('f', 'd/f%d' % i)
    say(os.stat('d').st_nlink, os.stat('f').st_nlink)
    os.rename('d/1', 'e')
    os.rename('d/2', 'd/3')
    say(os.stat('d').st_nlink, os.stat('e').st_nlink, os.stat('.').st_nlink, c('renameat2', -100,
        'e', -100, 'd/f3', 2),
        os.stat('d').st_nlink, os.stat('.').st_nlink)


def run(f, top):
    os.chdir(top)
    home = os.path.join(top, f.__name__)
    os.mkdir(home)
    os.chdir(home)
    said.clear()
    os.umask(0o022)
    try:
        f()
    except BaseException as e:
        say('raised', repr(e), 'in line', e.__traceback__.tb_next.tb_lineno)
    os.chdir(top)
    shutil.rmtree(home)
    return list(said)


def main():
    failed = 0
    cases = [f for f in CASES if not sys.argv[3:] or f.__name__ in sys.argv[3:]]
    for i, f in enumerate(cases):
        fds = len(os.listdir('/proc/self/fd'))
        theirs, ours = ('\n'.join(run(f, top)).split('\n') for top in sys.argv[1:3])
        for fd in range(3, 200):
            try:
                os.close(fd)
            except OSError:
                pass
        good = theirs == ours and not any(line.startswith('raised') for line in theirs)
        failed += not good
        print('%sok %d - %s' % ('' if good else 'not ', i + 1, f.__name__.replace('_', ' ')),
            flush=True)
        if not good:
            print('# ' + '\n# '.join(line for line in theirs if line.startswith('raised')))
            for line in list(difflib.unified_diff(theirs, ours, 'plain', 'mount', '', '', 0))[:40]:
                print('# ' + line.replace('\n', '\n# '))
    print('1..%d' % len(cases))
    return failed > 0


sys.exit(main())
