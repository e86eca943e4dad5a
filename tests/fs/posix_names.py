"""Cases of posix_calls.py: names, opening, directories, nodes."""

import os
import socket
import stat

from posix_case import c, case, err, fresh, get, KINDS, make, mode_of, put, say, touch, tree


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
