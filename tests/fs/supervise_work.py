#!/usr/bin/env python3
"""Works on a mount whose daemon is killed meanwhile, and notices every error, every change done
twice and every one not done. usage: supervise_work.py JOB DIR SECONDS ENOUGH

It goes on for so long, and until the file ENOUGH is there."""
import fcntl
import mmap
import os
import random
import sys
import time


def is_over(end):
    return time.monotonic() >= end and os.path.exists(sys.argv[4])


def appends(path, end):
    """Lines by O_APPEND: each is there once, in order."""
    fd = os.open(path + "/appended", os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o644)
    wanted, n = b"", 0
    while not is_over(end):
        line = b"%d %s\n" % (n, b"x" * random.randrange(200))
        assert os.write(fd, line) == len(line)
        wanted += line
        n += 1
        if n % 64 == 0:
            assert os.fstat(fd).st_size == len(wanted)
    os.lseek(fd, 0, os.SEEK_SET)
    got = b""
    while piece := os.read(fd, 1 << 20):
        got += piece
    assert got == wanted, "appended: %d bytes instead of %d" % (len(got), len(wanted))
    return n


def names(path, end):
    """Makes, links, renames and removes: no step fails, and none is found undone."""
    n = 0
    os.mkdir(path + "/names")
    while not is_over(end):
        a, b, c = (path + "/names/%s%d" % (x, n) for x in "abc")
        os.close(os.open(a, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        os.link(a, b)
        os.rename(a, c)
        os.symlink(c, a)
        assert os.stat(a).st_nlink == 2
        os.mkdir(b + ".d")
        os.rmdir(b + ".d")
        os.setxattr(b, "user.n", b"%d" % n, os.XATTR_CREATE)
        assert os.getxattr(c, "user.n") == b"%d" % n
        os.unlink(a)
        os.unlink(b)
        if n % 3:
            os.unlink(c)
        n += 1
    left = sorted(os.listdir(path + "/names"))
    assert left == sorted("c%d" % i for i in range(n) if i % 3 == 0), left
    return n


def bytes_(path, end):
    """Random writes and truncations of an open file without a name, against a copy."""
    random.seed(time.time())
    fd = os.open(path + "/bytes", os.O_CREAT | os.O_RDWR, 0o644)
    os.unlink(path + "/bytes")
    model, n = bytearray(), 0
    while not is_over(end):
        at, size = random.randrange(1 << 20), random.randrange(1, 70000)
        if n % 50 == 49:
            os.ftruncate(fd, at)
            model = model[:at] + bytes(max(0, at - len(model)))
        else:
            piece = random.randbytes(size)
            assert os.pwrite(fd, piece, at) == size
            model += bytes(max(0, at + size - len(model)))
            model[at:at + size] = piece
        if n % 20 == 0:
            os.fsync(fd)
        if n % 100 == 0:
            assert os.pread(fd, len(model) + 1, 0) == model, "bytes differ at step %d" % n
        n += 1
    assert os.pread(fd, len(model) + 1, 0) == model
    return n


def maps(path, end):
    """Pages changed in a map: msync never fails."""
    fd = os.open(path + "/map", os.O_CREAT | os.O_RDWR, 0o644)
    os.ftruncate(fd, 1 << 20)
    m = mmap.mmap(fd, 1 << 20)
    n = 0
    while not is_over(end):
        at = n % 256 * 4096
        m[at:at + 8] = b"%08d" % n
        m.flush()
        n += 1
    return n


def locks(path, end):
    """Has a lock that nobody else may get."""
    fd = os.open(path + "/lock", os.O_CREAT | os.O_RDWR, 0o644)
    fcntl.flock(fd, fcntl.LOCK_EX)
    other = os.open(path + "/lock", os.O_RDWR)
    n = 0
    while not is_over(end):
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise AssertionError("two have the lock")
        except BlockingIOError:
            n += 1
        time.sleep(0.05)
    return n


def main():
    jobs = {"appends": appends, "names": names, "bytes": bytes_, "maps": maps, "locks": locks}
    job, path, seconds = sys.argv[1:4]
    print(jobs[job](path, time.monotonic() + float(seconds)))


main()
