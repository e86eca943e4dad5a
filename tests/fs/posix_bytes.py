"""Cases of posix_calls.py: bytes, maps, locks, and what is told of changes."""

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import signal
import struct
import time

from posix_case import (
    as_user, c, CAPABILITY, case, err, get, in_child, libc, mode_of, put, say, touch)


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
