"""Cases of posix_calls.py: owners, modes, times, extended attributes."""

import ctypes
import mmap
import os
import struct
import time

from posix_case import (
    as_user, c, CAPABILITY, case, err, fresh, get, make, mode_of, put, say, touch)


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
