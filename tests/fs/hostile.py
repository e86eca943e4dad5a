#!/usr/bin/env python3
"""Requests that make no sense, or too much of it, and the errno for each.
Usage: hostile.py names|offsets|storm|full DISK, in the mount. Prints a TAP line a check."""

import errno
import mmap
import os
import struct
import subprocess
import sys
import fcntl

from checks import check, done, err


def put(name, text=b'x'):
    with open(name, 'wb') as f:
        f.write(text)


# --- names: by tests/fs/rawname.c ---

def names():
    put('f')
    os.mkdir('d')
    put('d/in')
    check('names are rewritten', os.stat('raw1:f').st_ino, os.stat('f').st_ino)
    makes = {6: lambda n: os.symlink('t', n), 8: os.mkfifo, 9: os.mkdir,
             13: lambda n: os.link('f', n), 12: lambda n: os.rename('f', n),
             35: lambda n: os.close(os.open(n, os.O_CREAT | os.O_WRONLY))}
    drops = {10: (put, os.unlink), 11: (os.mkdir, os.rmdir), 12: (put, lambda n: os.rename(n, 'g'))}
    for bad in ('', '.', '..', 'd%2fin', '%2f', '..%2f..%2fetc', 'd%2f', '%2e%2f'):
        shown = bad.replace('%2f', '/') or 'no name'
        # "." and ".." are what file handles are resolved by.
        if bad not in ('.', '..'):
            check('%s is not looked up' % shown, err(os.stat, 'raw1:' + bad), 'EINVAL', 'ENOENT')
        for op, make in makes.items():
            if (op, bad) != (35, '%2f'):  # that is how a file without a name is asked for
                check('nor made, by request %d' % op, err(make, 'raw%d:%s' % (op, bad)), 'EINVAL',
                      'ENOENT')
        for op, (make, drop) in drops.items():
            name = 'raw%d:%s' % (op, bad)
            make(name)
            check('nor removed, by request %d' % op, err(drop, name), 'EINVAL', 'ENOENT')
    check('.ropefs is not made by any name', err(os.mkdir, 'raw9:.ropefs'), 'EPERM')
    check('nor moved', err(os.rename, 'd', 'raw12:.ropefs'), 'EPERM')
    check('what was there is there', sorted(os.listdir('d')) + [os.stat('f').st_nlink], ['in', 1])


# --- offsets ---

TOP = (1 << 63) - 1


def offsets():
    fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o644)
    check('a byte at the last place', os.pwrite(fd, b'z', TOP - 1), 1)
    check('makes the longest file', os.fstat(fd).st_size, TOP)
    check('its byte is read', os.pread(fd, 1, TOP - 1), b'z')
    check('and none behind', err(os.pread, fd, 1, TOP), b'', 'EINVAL')
    check('none is written there', err(os.pwrite, fd, b'z', TOP), 'EFBIG',
          'EINVAL')
    check('nor are two across it', err(os.pwrite, fd, b'yz', TOP - 1), 'EFBIG', 'EINVAL')
    check('an append has no room', err(os.write, os.open('f', os.O_WRONLY | os.O_APPEND), b'z'),
          'EFBIG')
    check('a map near its end', mmap.mmap(fd, 4096, offset=TOP + 1 - 8192)[:2], b'\0\0')
    check('SEEK_DATA finds it', TOP - os.lseek(fd, 5000, os.SEEK_DATA) <= 4096, True)
    check('SEEK_HOLE finds the end', os.lseek(fd, TOP - 1, os.SEEK_HOLE), TOP)
    check('no data at the end', err(os.lseek, fd, TOP, os.SEEK_DATA), 'ENXIO')
    check('it takes no room', os.fstat(fd).st_blocks < 64, True)
    for mode, what in ((3, 'punch'), (16, 'zero'), (17, 'zero, size kept')):
        check('%s at the end' % what, fallocate(fd, mode, TOP - 100, 100), 0)
        check('%s beyond it' % what, fallocate(fd, mode, TOP - 100, 101), 'EFBIG')
    check('what was punched is zeros', os.pread(fd, 5, TOP - 5), b'\0' * 5)
    small = os.open('small', os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(small, b'0123456789', 0)
    check('room for 4 EiB is refused', fallocate(small, 0, 0, 1 << 62), 'ENOSPC')
    check('also with the size kept', fallocate(small, 1, 0, 1 << 62), 'ENOSPC')
    check('a copy beyond the end', err(os.copy_file_range, small, fd, 10, 0, TOP - 5),
          5, 'EFBIG')
    check('a copy from the end', err(os.copy_file_range, fd, small, 10, TOP, 0), 0, 'EOVERFLOW')
    check('an insert has no room', insert(fd, 5, b'more'), 'EFBIG')
    check('nor has a view', err(put, 'f@bytes=7..7'), 'EFBIG')
    check('a cut of its middle', cut(fd, 1000, 1 << 62), 'ok')
    check('leaves the rest', os.fstat(fd).st_size, TOP - (1 << 62))
    check('a place far beyond the end', insert(small, TOP, b'x'), 'ERANGE')
    check('a cut far beyond it', cut(small, 5, (1 << 64) - 3), 'ERANGE')
    check('the small file is as it was', os.pread(small, 99, 0), b'0123456789')
    check('truncate to the most', err(os.ftruncate, small, TOP), 'ok')
    check('and back', (os.ftruncate(small, 3), os.pread(small, 99, 0))[1], b'012')
    for view in ('small@bytes=9223372036854775807..', 'small@bytes=-9223372036854775807..',
                 'small@bytes=0..18446744073709551615', 'small@bytes=0..18446744073709551616'):
        got = err(lambda: len(open(view, 'rb').read()))
        check('view %s' % view, got, 'ERANGE', 'EINVAL', 3 if '=-' in view else None)
    lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, TOP - 1, 1, 0)
    check('a lock of the last byte', type(err(fcntl.fcntl, small, fcntl.F_SETLK, lock)), bytes)
    big = os.open('grown', os.O_RDWR | os.O_CREAT, 0o644)
    for at in (TOP - 1, 1 << 62, 1 << 50, 1 << 40, 1 << 33, 0):
        os.pwrite(big, b'%d' % at, at) if at < TOP - 20 else os.ftruncate(big, TOP)
    check('one file has bytes everywhere', [os.pread(big, 3, 1 << n) for n in (62, 50, 40, 33)],
          [b'461', b'112', b'109', b'858'])
    for name in ('f', 'small', 'grown'):
        os.unlink(name)


def libc():
    import ctypes
    return ctypes, ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, off, n):
    ctypes, c = libc()
    r = c.fallocate(fd, mode, ctypes.c_longlong(off), ctypes.c_longlong(n))
    return errno.errorcode[ctypes.get_errno()] if r < 0 else r


def edit(fd, nr, at, gone, data):
    body = struct.pack('QQII', at, gone, len(data), 0) + data
    request = 1 << 30 | len(body) << 16 | ROPEFS_IOC_TYPE << 8 | nr
    return err(lambda: fcntl.ioctl(fd, request, body) and None)


ROPEFS_IOC_TYPE = ord('R')


def insert(fd, at, data):
    return edit(fd, 1, at, 0, data)


def cut(fd, at, n):
    return edit(fd, 2, at, n, b'')


# --- a storm of names while directories are read ---

STORM = '''
import os, random, sys
r = random.Random(int(sys.argv[1]))
for i in range(%d):
    n = 'storm/n%%d' %% r.randrange(40)
    m = 'storm/n%%d' %% r.randrange(40)
    try:
        r.choice((lambda: os.close(os.open(n, os.O_CREAT)), lambda: os.unlink(n),
            lambda: os.mkdir(n),
                  lambda: os.rmdir(n), lambda: os.rename(n, m), lambda: os.link(n, m),
                  lambda: os.symlink(m, n), lambda: os.rename(n, n + '/in'),
                  lambda: os.rmdir(n + '/in'), lambda: os.unlink(n + '/in')))()
    except OSError:
        pass
'''


def storm(disk=None):
    """With disk: that becomes full in its midst."""
    os.mkdir('storm')
    stay = set()
    for i in range(200):
        put('storm/stay%d' % i)
        stay.add('stay%d' % i)
    many = [subprocess.Popen([sys.executable, '-c', STORM % 1500, str(i)]) for i in range(3)]
    missed = doubled = listings = 0
    while listings < 4 or any(p.poll() is None for p in many):
        if disk and listings:
            leave(disk, 3 << 20)
        for lister in (os.listdir, lambda d: [e.name for e in os.scandir(d)]):
            got = lister('storm')
            missed += not stay <= set(got)
            doubled += len([n for n in got if n in stay]) != len(stay)
            listings += 1
    check('all that stayed was in each listing', missed, 0)
    check('once', doubled, 0)
    check('those who made the storm ended well', [p.wait() for p in many], [0, 0, 0])
    subprocess.run(['rm', '-r', 'storm'], check=True)
    check('and all of it goes', os.path.exists('storm'), False)


# --- a full disk ---

def leave(disk, free):
    """Fills the disk below the store up to that many free bytes."""
    st = os.statvfs(disk)
    size = st.f_bavail * st.f_frsize - free
    if size > 0:
        with open(disk + '/filler', 'ab') as f:
            os.posix_fallocate(f.fileno(), f.tell(), size)


def full(disk):
    put('f', b'bytes' * 1000)
    put('mapped', b'm' * 8192)
    os.mkdir('d')
    for i in range(20):
        put('d/%d' % i)
        os.setxattr('d/%d' % i, 'user.a', b'a')
    os.symlink('f', 's')
    fd = os.open('f', os.O_RDWR)
    to = os.open('to', os.O_RDWR | os.O_CREAT)
    shared = mmap.mmap(os.open('mapped', os.O_RDWR), 8192)
    # The store looks at the disk after each 4096 changes, and always once there is little.
    leave(disk, 11 << 20)
    for _ in range(4200):
        err(os.setxattr, 'f', 'user.n', b'')
    leave(disk, 3 << 20)
    acl = struct.pack('<I' + 'HHI' * 5, 2, 1, 7, 0, 2, 7, 5, 4, 5, 0, 16, 7, 0, 32, 5, 0)
    refused = {
        'create': lambda: os.open('new', os.O_CREAT | os.O_WRONLY), 'mkdir': lambda: os.mkdir('n'),
        'mkfifo': lambda: os.mkfifo('n'), 'symlink': lambda: os.symlink('x', 'n'),
        'link': lambda: os.link('f', 'n'), 'O_TMPFILE': lambda: os.open('.', os.O_TMPFILE | 1),
        'setxattr': lambda: os.setxattr('f', 'user.x', b'x' * 60000),
        'an ACL': lambda: os.setxattr('f', 'system.posix_acl_access', acl),
        'write': lambda: os.pwrite(fd, b'x' * 100, 0), 'append': lambda: os.pwrite(fd, b'x', 5000),
        'allocate': lambda: os.posix_fallocate(fd, 0, 1 << 30),
        'copy': lambda: os.copy_file_range(fd, to, 4000, 0, 0),
        'synchronous': lambda: os.write(os.open('to', os.O_WRONLY | os.O_DSYNC), b'x'),
        'direct': lambda: os.write(os.open('to', os.O_WRONLY | os.O_DIRECT), b'x')}
    def at_once(f, *args):
        leave(disk, 3 << 20)  # whatever a checkpoint has given back
        return err(f, *args)

    for name, f in refused.items():
        check('%s is refused' % name, [at_once(f) for _ in range(3)], ['ENOSPC'] * 3)
    check('so is an insert', at_once(insert, fd, 3, b'more'), 'ENOSPC')
    check('and a view', at_once(put, 'f@bytes=5..9', b'other'), 'ENOSPC')
    shared[0:3] = b'new'
    check('msync says it', at_once(shared.flush), 'ENOSPC', 'EIO')
    check('all is as it was', (os.pread(fd, 9999, 0), sorted(os.listdir('.'))),
          (b'bytes' * 1000, ['d', 'f', 'mapped', 's', 'to']))
    # What makes no sense gets the errno of that, or of the disk, whichever is looked at first.
    check('a name too long', at_once(os.mkdir, 'n' * 256), 'ENAMETOOLONG')
    check('a name of 255 bytes', at_once(os.mkdir, 'n' * 255), 'ENOSPC')
    check('"." and ".."', [at_once(os.mkdir, n) for n in ('.', '..', 'd/..', '')],
          ['EEXIST'] * 3 + ['ENOENT'])
    check('an xattr too large', at_once(os.setxattr, 'f', 'user.x', b'x' * 65537), 'E2BIG')
    check('an xattr whose name is too long', at_once(os.setxattr, 'f', 'user.' + 'x' * 251, b''),
          'ERANGE')
    check('a byte at the last place', at_once(os.pwrite, fd, b'z', TOP - 1), 'ENOSPC')
    check('and behind it', at_once(os.pwrite, fd, b'z', TOP), 'EFBIG', 'EINVAL')
    check('room for 4 EiB', at_once(fallocate, fd, 0, 0, 1 << 62), 'ENOSPC')
    check('a copy to the last place', at_once(os.copy_file_range, fd, to, 10, 0, TOP - 5),
          'ENOSPC', 'EFBIG')
    check('an insert far beyond the end', at_once(insert, fd, TOP, b'x'), 'ERANGE', 'ENOSPC')
    check('loops of directories', [at_once(os.rename, 'd', n) for n in ('d/in', 'd/in/in')],
          ['EINVAL', 'ENOENT'])
    check('all is as it was still', (os.pread(fd, 9999, 0), len(os.listdir('d'))),
          (b'bytes' * 1000, 20))
    freeing = {
        'truncate': lambda: os.ftruncate(fd, 4000), 'chmod': lambda: os.chmod('f', 0o600),
        'rename': lambda: os.rename('d/0', 'd/1'), 'unlink': lambda: os.unlink('d/2'),
        'removexattr': lambda: os.removexattr('d/3', 'user.a'), 'fsync': lambda: os.fsync(fd)}
    for name, f in freeing.items():
        check('%s is done' % name, err(f), 'ok')
    check('a cut, too', cut(fd, 0, 5), 'ok')
    os.unlink(disk + '/filler')
    for name in 'create', 'link', 'setxattr', 'an ACL', 'write', 'copy', 'synchronous':
        r = err(refused[name])
        check('%s works again' % name, r == 'ok' or isinstance(r, int), True)
    check('msync as well', (shared.__setitem__(0, 77), err(shared.flush))[1], 'ok', 0)


{'names': names, 'offsets': offsets, 'storm': storm, 'full': full}[sys.argv[1]](*sys.argv[2:])
done()
