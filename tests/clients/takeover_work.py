#!/usr/bin/env python3
"""Has views, follows, queues, transactions, programs and snapshots of a mount open while its daemon
is replaced, and notices every error, and every byte that is missed, repeated or out of order.
usage: takeover_work.py JOB DIR SECONDS ENOUGH

It goes on for so long, and until the file ENOUGH is there."""
import array
import ctypes
import errno
import fcntl
import json
import os
import random
import re
import select
import signal
import struct
import subprocess
import sys
import threading
import time

END = b"the end\n"


def is_over(end):
    return time.monotonic() >= end and os.path.exists(sys.argv[4])


def line(n):
    return b"%d %s\n" % (n, b"y" * random.choice((0, 3, 40, 900)))


class Writer(threading.Thread):
    """Writes lines to a queue, in pieces that end anywhere, until the time is over."""

    def __init__(self, path, end):
        super().__init__()
        self.path, self.end, self.wrote = path, end, b""

    def run(self):
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        n = 0
        while not is_over(self.end):
            some = b"".join(line(n + i) for i in range(random.choice((1, 1, 5, 3000))))
            n += some.count(b"\n")
            cut = random.randrange(len(some) + 1)
            for piece in (some[:cut], some[cut:]):
                if piece:
                    assert os.write(fd, piece) == len(piece)
                    self.wrote += piece
                time.sleep(0.002)
        os.write(fd, END)
        self.wrote += END
        os.close(fd)


def queue(path, name):
    folder = path + "/" + name
    os.mkdir(folder)
    os.setxattr(folder, "user.ropefs.kind", b"queue")
    os.close(os.open(folder + "/q", os.O_CREAT | os.O_WRONLY, 0o644))
    return folder + "/q"


def read_to_end(fd, size, wait=None):
    got = b""
    while not got.endswith(END):
        if wait:
            wait()
        try:
            got += os.read(fd, size)
        except BlockingIOError:
            pass
    return got


def follow(path, end):
    """The bytes of a queue, as they come."""
    q = queue(path, "follow")
    fd = os.open(q + "@follow", os.O_RDONLY)
    writer = Writer(q, end)
    writer.start()
    got = read_to_end(fd, 70000)
    writer.join()
    assert got == writer.wrote, "%d bytes instead of %d" % (len(got), len(writer.wrote))
    return got.count(b"\n")


def texts(path, end):
    """The same as objects, read some bytes at a time."""
    q = queue(path, "texts")
    fd = os.open(q + "@follow,as=json", os.O_RDONLY)
    writer = Writer(q, end)
    writer.start()
    got, last = [], b""
    while not got or got[-1]["payload"] != "the end":
        last += os.read(fd, random.choice((7, 100, 60000)))
        *whole, last = last.split(b"\n")
        got += [json.loads(x) for x in whole]
    writer.join()
    assert [x["id"] for x in got] == list(range(len(got)))
    wrote = "".join(x["payload"] + "\n" for x in got).encode()
    assert wrote == writer.wrote
    return len(got)


def polls(path, end):
    """Who waits by poll is told by the next daemon, too."""
    q = queue(path, "polls")
    fd = os.open(q + "@follow", os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    writer = Writer(q, end)
    writer.start()

    def wait():
        assert poll.poll(60000), "poll waits for ever"

    got = read_to_end(fd, 4096, wait)
    writer.join()
    assert got == writer.wrote
    return got.count(b"\n")


def parts(path, end):
    """A part of a queue, read slowly."""
    q = queue(path, "parts")
    wrote = b"".join(line(i) for i in range(20000))
    with open(q, "wb") as f:
        f.write(wrote)
    n = 0
    while not is_over(end):
        fd = os.open(q + "@records=10..19990", os.O_RDONLY)
        got = b""
        while piece := os.read(fd, 50000):
            got += piece
            time.sleep(0.001)
        os.close(fd)
        assert got == b"".join(wrote.splitlines(True)[10:19990])
        n += 1
    return n


def renamed(path, end):
    """What goes to a file that has lost its name is followed, too."""
    q = queue(path, "renamed")
    fd = os.open(q + "@follow", os.O_RDONLY)
    wrote, n = [], 0
    old = os.open(q, os.O_WRONLY | os.O_APPEND)

    def put(to):
        wrote.append(b"%d\n" % len(wrote))
        assert os.write(to, wrote[-1]) == len(wrote[-1])

    while not is_over(end):
        put(old)
        os.rename(q, q + ".%d" % n)
        os.close(os.open(q, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644))
        new = os.open(q, os.O_WRONLY | os.O_APPEND)
        got = b""
        for i in range(6):
            put((old, new)[i % 2])
        while got.count(b"\n") < 7:
            got += os.read(fd, 4096)
        assert sorted(got.splitlines(True)) == sorted(wrote[-7:]), (got, wrote[-7:])
        os.close(old)
        if n >= 3:
            os.unlink(q + ".%d" % (n - 3))
        old = new
        n += 1
    return n


def rotated(path, end):
    """Files that had the name for a while, and are gone when the reader comes to them."""
    q = queue(path, "rotated")
    fd = os.open(q + "@follow", os.O_RDONLY)
    n = 0
    while not is_over(end):
        wrote = []
        for _ in range(random.randrange(1, 9)):
            os.rename(q, q + ".old")
            wrote.append(b"%d\n" % n)
            with open(q, "ab", 0) as f:
                f.write(wrote[-1])
            os.unlink(q + ".old")
            n += 1
        got = b""
        while got.count(b"\n") < len(wrote):
            got += os.read(fd, random.choice((1, 100)))
        assert got == b"".join(wrote), (got, wrote)
    return n


def ranges(path, end):
    """A range that is written while others append to the file; one that others move is stale."""
    name = path + "/ranges"
    model = bytearray(os.urandom(1000))
    with open(name, "wb") as f:
        f.write(model)
    fd = os.open(name, os.O_WRONLY | os.O_APPEND)
    n = 0
    while not is_over(end):
        at = random.randrange(900)
        view = os.open(name + "@bytes=%d..%d" % (at, at + 50), os.O_WRONLY | os.O_TRUNC)
        stale = os.open(name + "@bytes=%d..%d" % (at, at + 50), os.O_WRONLY | os.O_APPEND)
        new = b""
        for _ in range(random.randrange(1, 4)):
            piece = os.urandom(random.randrange(1, 80))
            assert os.write(view, piece) == len(piece)
            new += piece
            assert os.write(fd, b"tail") == 4
            model += b"tail"
            time.sleep(0.01)
        os.close(view)
        model[at:at + 50] = new
        try:
            os.write(stale, b"x")
            os.close(stale)
            raise AssertionError("a stale view was written")
        except OSError as e:
            assert e.errno == errno.ESTALE, e
            os.close(stale)
        with open(name, "rb") as f:
            assert f.read() == model, "step %d" % n
        n += 1
    return n


def adds(path, end):
    """Each number is added once."""
    name = path + "/adds"
    with open(name, "w") as f:
        f.write("0\n")
    fd = os.open(name + "@add", os.O_WRONLY)
    total, n = 0, 0
    while not is_over(end):
        assert os.write(fd, b"%d" % (n % 7)) == 1
        assert os.write(fd, b"0\n") == 2
        total += n % 7 * 10
        n += 1
    os.close(fd)
    with open(name) as f:
        got = int(f.read())
    assert got == total, "%d instead of %d" % (got, total)
    return n


def ioc(direction, nr, size):
    return direction << 30 | size << 16 | ord("R") << 8 | nr


class Txn:
    """A transaction by ioctl (fs/ropefs_ioctl.h)."""

    def __init__(self, folder):
        while os.path.ismount(folder) is False:
            folder = os.path.dirname(folder)
        self.fd = os.open(folder + "/.ropefs/txn", os.O_RDONLY)
        ident = array.array("Q", [0])
        fcntl.ioctl(self.fd, ioc(2, 50, 8), ident)
        self.id = ident[0]

    def use(self, fd):
        use = bytearray(struct.pack("QQII", self.id, 0, 0, 0))
        fcntl.ioctl(fd, ioc(3, 51, len(use)), use)
        return struct.unpack("QQII", use)[2]

    def edit(self, fd, at, cut, data=b"", src=(0, 0, 0), flags=0, dst=0):
        edit = struct.pack("QQQQQIIII", self.id, at, cut, src[1], src[2], src[0], flags,
                           len(data), dst) + data
        fcntl.ioctl(fd, ioc(1, 52, len(edit)), bytearray(edit))  # bytes may have 1,024 at most

    def append(self, fd, data):
        while len(data) > 16000:
            self.edit(fd, 0, 0, data[:16000], flags=2 | 4)
            data = data[16000:]
        self.edit(fd, 0, 0, data, flags=2)

    def name(self, what, folder, name, to_folder=0, to_name=b"", mode=0, ident=0):
        arg = bytearray(struct.pack("IIIIIIQ256s256s", what, folder, to_folder, mode, 0, 0, ident,
                                    name, to_name))
        fcntl.ioctl(self.fd, ioc(3, 55, len(arg)), arg)
        return struct.unpack("IIIIIIQ256s256s", arg)[4]

    def commit(self):
        fcntl.ioctl(self.fd, ioc(0, 53, 0))
        os.close(self.fd)


def txns(path, end):
    """Transactions: whole, once, whatever happens to the daemon meanwhile."""
    name = path + "/txns"
    fd = os.open(name, os.O_CREAT | os.O_RDWR, 0o644)
    wrote, n = b"", 0
    while not is_over(end) or not n:  # the kills end, and one is made
        text = b"%d\n" % n
        txn = Txn(path)
        for at, piece in ((0, text), (len(text), b"-\n")):
            txn.edit(fd, at, 0, piece)
            time.sleep(0.005)
        txn.commit()
        wrote = text + b"-\n" + wrote
        n += 1
    got = os.pread(fd, len(wrote) + 1, 0)
    assert got == wrote, "%d bytes instead of %d" % (len(got), len(wrote))
    return n


def steps(path, end):
    """All that a transaction can do, in one; after each the files are as they must be."""
    os.makedirs(path, exist_ok=True)
    name = queue(path, "records")
    records = os.open(name, os.O_RDWR)
    top = os.open(path, os.O_RDONLY)
    sent, n, was, other = b"", 0, b"0123456789", b"abcdef"
    with open(path + "/a", "wb") as f:
        f.write(was)
    with open(path + "/b", "wb") as f:
        f.write(other)
    while not is_over(end) or not n:
        a, b = os.open(path + "/a", os.O_RDWR), os.open(path + "/b", os.O_RDWR)
        line = b"%d " % n + b"l" * 40000 + b"\n"
        txn = Txn(path)
        txn.use(a)
        of_b, of_top, of_records = txn.use(b), txn.use(top), txn.use(records)
        txn.edit(a, 0, 2, b"A%d" % n)
        was = b"A%d" % n + was[2:]
        txn.edit(a, 1, 1, src=(of_b, 1, 2), flags=1)
        was, other = was[:1] + other[1:3] + was[2:], other[:1] + other[3:]
        txn.edit(b, 0, 0, src=(of_b, 0, len(other)))
        other = other + other
        txn.append(a, line)
        was += line
        txn.append(records, line)
        sent += line
        made = txn.name(1, of_top, b"made", mode=0o644)
        txn.edit(txn.fd, 0, 0, b"made %d" % n, dst=made)
        txn.name(3, of_top, b"made", of_top, b"now %d" % (n % 3))
        txn.name(4, of_records, b"me", ident=n)
        if n > 2:
            txn.name(2, of_top, b"now %d" % ((n + 1) % 3))
        assert not os.path.exists(path + "/made")
        txn.commit()
        assert text_of(path + "/a") == was, "a, %d: %r..." % (n, text_of(path + "/a")[:40])
        assert text_of(path + "/b") == other, "b, %d" % n
        assert text_of(path + "/now %d" % (n % 3)) == b"made %d" % n
        assert os.path.exists(path + "/now %d" % ((n + 1) % 3)) == (n == 2), "%d: unlink" % n
        assert not os.path.exists(path + "/made")
        os.truncate(path + "/a", 20)
        os.truncate(path + "/b", 6)
        was, other = was[:20], text_of(path + "/b")
        os.close(a)
        os.close(b)
        n += 1
    got = text_of(name)
    assert got == sent, "%d bytes of records instead of %d" % (len(got), len(sent))
    return n


def crowd(path, end):
    """Many threads edit in one transaction, while one daemon dies after the other between a change
    and its answer: each edit is made once."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    txn = Txn(os.path.dirname(path))
    words = [b"<%d>" % n for n in range(400)]

    def edits(mine):
        for word in mine:
            txn.edit(fd, 0, 0, word)

    threads = [threading.Thread(target=edits, args=(words[n::100],)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    txn.commit()
    text = text_of(path)
    for word in words:
        assert text.count(word) == 1, "%r is there %d times" % (word, text.count(word))
    return len(words)


def refused(call):
    try:
        call()
    except OSError as e:
        assert e.errno == errno.EBUSY, e
        return
    raise AssertionError("it went on")


def lost(path, end):
    """A transaction that the next daemon has no memory for: it is refused, says so, and changes
    nothing; and another one goes on."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    txn = Txn(os.path.dirname(path))
    txn.edit(fd, 0, 0, b"lost")
    die(path)
    refused(lambda: txn.edit(fd, 0, 0, b"more"))
    why = bytearray(256)
    fcntl.ioctl(txn.fd, ioc(2, 54, len(why)), why)
    assert b"begin again" in why, bytes(why[:80])
    refused(txn.commit)
    assert text_of(path) == b"", text_of(path)
    again = Txn(os.path.dirname(path))
    again.edit(fd, 0, 0, b"kept")
    again.commit()
    assert text_of(path) == b"kept", text_of(path)
    return "it is refused"


def die(path):
    """The daemon of the mount that has path is killed."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    pid = re.search(rb'"pid": (\d+), "uptime', text_of(path + "/.ropefs/status")).group(1)
    os.kill(int(pid), signal.SIGKILL)


def etag_of(path):
    return os.getxattr(path, "user.ropefs.etag").decode()


def unchanged(path, end):
    """A file is written if nobody has changed it: the next daemon knows what it was."""
    with open(path, "wb") as f:
        f.write(b"first")
    fd = os.open(path + "@if=" + etag_of(path), os.O_WRONLY | os.O_TRUNC)
    for text in (b"second", b" third"):
        assert os.write(fd, text) == len(text)
        die(path)
        os.fsync(fd)  # its own change is no other's
        die(path)
    os.close(fd)
    assert text_of(path) == b"second third", text_of(path)
    fd = os.open(path + "@if=" + etag_of(path), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"lost")
    die(path)
    with open(path, "ab") as f:
        f.write(b" more")
    refused(lambda: os.fsync(fd))
    refused(lambda: os.close(fd))
    assert text_of(path) == b"second third more", text_of(path)
    return "only then"


def overtaken(path, end):
    """What somebody writes as soon as the file has changed is not taken for the writer's own,
    wherever the daemon dies."""
    with open(path, "wb") as f:
        f.write(b"first")
    for _ in range(3):
        was = etag_of(path)
        fd = os.open(path + "@if=" + was, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"mine ")

        def others():
            while etag_of(path) == was:
                pass
            with open(path, "ab", 0) as f:
                assert f.write(b"theirs") == 6

        other = threading.Thread(target=others)
        other.start()
        os.fsync(fd)
        other.join()
        os.write(fd, b"lost")
        refused(lambda: os.fsync(fd))
        refused(lambda: os.close(fd))
        assert text_of(path) == b"mine theirs", text_of(path)
    return "refused"


def privileged(path, end):
    """A program that others edit has its set-id bits no more, whichever daemon commits."""
    with open(path, "wb") as f:
        f.write(b"program")
    os.chmod(path, 0o6777)
    os.seteuid(65534)
    fd = os.open(path, os.O_RDWR)
    txn = Txn(os.path.dirname(path))
    txn.edit(fd, 0, 0, b"other ")
    os.seteuid(0)
    die(path)
    txn.commit()
    assert text_of(path) == b"other program"
    mode = os.stat(path).st_mode & 0o7777
    assert mode == 0o777, oct(mode)
    return "taken away"


def room(path, end):
    """What transactions hold in memory is bounded, and counts in the next daemon as it did."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)

    def fill():
        txns = []
        while len(txns) < 100:
            txns.append(Txn(os.path.dirname(path)))
            try:
                for _ in range(250):
                    txns[-1].edit(fd, 0, 0, bytes(16000), flags=2 | 4)
            except OSError as e:
                assert e.errno == errno.ENOMEM, e
                return txns
        raise AssertionError("there is no bound")

    first = fill()
    die(path)
    more = fill()
    # Room that they had asked for and not used is free, what they have used is not.
    assert len(more) <= 2, "room for %d beside %d" % (len(more), len(first))
    for txn in first + more:
        os.close(txn.fd)
    again = fill()
    assert len(again) == len(first), "%d, then %d" % (len(first), len(again))
    return len(first)


def begun(path, end):
    """A transaction that has edited the file, and stays open."""
    fd = os.open(path, os.O_RDWR)
    txn = Txn(os.path.dirname(path))
    txn.edit(fd, 0, 0, b"x")
    print("edited", flush=True)
    time.sleep(1000)


def names(path, end):
    """A commit that moves a name, whose daemon dies before it tells the kernel."""
    folder = os.path.dirname(path)
    with open(path, "wb") as f:
        f.write(b"text")
    assert not os.path.exists(path + ".moved") and os.path.exists(path)
    txn = Txn(folder)
    number = txn.use(os.open(folder, os.O_RDONLY))
    name = os.path.basename(path).encode()
    txn.name(3, number, name, number, name + b".moved")
    txn.commit()
    assert os.path.exists(path + ".moved"), "it is not where it was moved to"
    assert not os.path.exists(path), "it is still where it was"
    return "moved"


def renamed_to(libc, old, new, flags):
    got = libc.renameat2(-100, old.encode(), -100, new.encode(), flags)
    assert got == 0, os.strerror(ctypes.get_errno())


def text_of(name):
    with open(name, "rb") as f:
        return f.read()


def add_pieces(path):
    """A number in pieces, and one that has no newline: it waits for the close."""
    was = int(text_of(path))
    fd = os.open(path + "@add", os.O_WRONLY)
    for piece in (b"1", b"2", b"0\n", b"3"):
        assert os.write(fd, piece) == len(piece)
    assert text_of(path) == b"%d\n" % (was + 120), (was, text_of(path))
    os.close(fd)
    assert text_of(path) == b"%d\n" % (was + 123), (was, text_of(path))


def pieces(path, end):
    """Each of the changes is cut short at each of its three places."""
    with open(path, "w") as f:
        f.write("0\n")
    for _ in range(3):
        add_pieces(path)
    return text_of(path).decode()


def wide(path, end):
    """A transaction of more files than there are threads or slots for, which others read."""
    os.mkdir(path)
    files = ["%s/%d" % (path, n) for n in range(20)]
    for name in files:
        with open(name, "wb") as f:
            f.write(b"old")
    over = threading.Event()

    def reads():
        while not over.is_set():
            for name in files:
                text_of(name)

    reader = threading.Thread(target=reads)
    reader.start()
    txn = Txn(path)
    for name in files:
        fd = os.open(name, os.O_RDWR)
        txn.edit(fd, 0, 3, b"new")
        os.close(fd)
    txn.commit()
    over.set()
    reader.join()
    for name in files:
        assert text_of(name) == b"new", (name, text_of(name))
    return len(files)


def requests(path, op):
    """How many of this kind the kernel has made of the daemon."""
    text = text_of(os.path.dirname(path) + "/.ropefs/metrics").decode()
    return int(re.search(r'ropefs_requests_total{op="%s"} (\d+)' % op, text).group(1))


def appender(path, end):
    """A new file that is only appended to goes past the kernel's cache. Once it is closed it does
    not, though its CREATE came twice."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
    assert os.write(fd, b"line\n") == 5
    os.close(fd)
    assert text_of(path) == b"line\n"
    before = [requests(path, "read") for _ in range(2)]
    assert text_of(path) == b"line\n"
    reads = requests(path, "read") - before[1] - (before[1] - before[0])
    assert reads == 0, "%d reads of what is cached" % reads
    return "closed"


def once(path, end):
    """Each daemon dies when it has made a change, and not said so: it is made once all the same."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.mkdir(path)
    os.chdir(path)
    fd = os.open("a", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o644)
    for text in (b"one", b"two"):
        assert os.write(fd, text) == 3
    assert text_of("a") == b"onetwo"
    edit = struct.pack("QQII", 3, 0, 1, 0) + b"-"
    fcntl.ioctl(fd, ioc(1, 1, len(edit)), edit)
    fcntl.ioctl(fd, ioc(1, 2, 24), struct.pack("QQII", 0, 1, 0, 0))
    assert text_of("a") == b"ne-two"
    os.link("a", "b")
    os.symlink("a", "c")
    os.mkfifo("d")
    os.setxattr("a", "user.x", b"1", os.XATTR_CREATE)
    os.removexattr("a", "user.x")
    os.mkdir("e")
    renamed_to(libc, "c", "e/f", 1)
    renamed_to(libc, "b", "d", 2)
    assert text_of("d") == b"ne-two" and not os.path.isfile("b")
    os.unlink("d")
    assert os.fstat(fd).st_nlink == 1
    os.mkdir("e/.snap/s")
    os.unlink("e/f")
    os.rmdir("e/.snap/s")
    os.rmdir("e")
    with open("a@bytes=0..0", "wb") as f:
        f.write(b"view ")
    assert text_of("a") == b"view ne-two"
    os.setxattr(".", "user.ropefs.kind", b"queue")
    q = os.open("q", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
    for piece in (b"0\n", b"1\n", b"2", b"\n"):
        assert os.write(q, piece) == len(piece)
    assert text_of("q") == b"0\n1\n2\n"
    assert text_of("q@last=1") == b"2\n", "half a record"
    os.setxattr(".", "user.ropefs.kind", b"rope")
    for name, step, text in ("q@records=0..", 1, b"0\n1\n2\n"), ("q@follow", 4, b"0\n1\n2\n"):
        view, got = os.open(name, os.O_RDONLY | os.O_NONBLOCK), b""
        while len(got) < len(text):
            got += os.read(view, step) or b"nothing, too early"
        assert got == text, got
        os.close(view)
    with open("n", "w") as f:
        f.write("1\n")
    for _ in range(2):
        with open("n@add", "wb", 0) as f:
            f.write(b"5\n")
    assert text_of("n") == b"11\n"
    add_pieces("n")
    with open("s", "wb") as f:
        f.write(b"0123456789")
    with open("s@stride=1:5", "wb") as f:
        f.write(b"ab")
    assert text_of("s") == b"a1234b6789"
    os.unlink("s@stride=1:5")
    assert text_of("s") == b"12346789"
    txn = Txn(path)
    txn.edit(fd, 0, 0, b"txn ")
    txn.commit()
    assert text_of("a") == b"txn view ne-two"
    return "whole"


def many(path, end):
    """More views than the supervisor keeps rows of."""
    fds = [os.open(path, os.O_RDONLY) for _ in range(4500)]
    print("opened", flush=True)
    while not is_over(end):
        time.sleep(0.05)
    whole = stale = 0
    for fd in fds:
        try:
            assert os.pread(fd, 10, 0) == b"NEW"
            os.close(fd)
            whole += 1
        except OSError as e:
            assert e.errno == errno.ESTALE, e
            stale += 1
    assert 4000 <= whole <= 4096, (whole, stale)
    fd = os.open(path, os.O_RDONLY)
    assert os.pread(fd, 10, 0) == b"NEW"
    return "%d whole, %d stale" % (whole, stale)


def runs(path, end):
    """A file that runs is not written; once it does not, it is."""
    name = path + "/sleep"
    n = 0
    while not is_over(end):
        subprocess.check_call(["cp", "/bin/sleep", name])
        with subprocess.Popen([name, "1000"]) as p:  # it runs when this returns
            try:
                for _ in range(20):
                    try:
                        os.close(os.open(name + "@bytes=0..1", os.O_WRONLY))
                        raise AssertionError("the file of a running program is opened")
                    except OSError as e:
                        assert e.errno == errno.ETXTBSY, e
                    time.sleep(0.05)
            finally:
                p.kill()
        os.close(os.open(name + "@bytes=0..1", os.O_WRONLY))
        os.unlink(name)
        n += 1
    return n


def snaps(path, end):
    """A snapshot with an open file stays; the file is as it was."""
    folder = path + "/snaps"
    os.mkdir(folder)
    n = 0
    while not is_over(end):
        wrote = os.urandom(5000)
        with open(folder + "/f", "wb") as f:
            f.write(wrote)
        os.mkdir(folder + "/.snap/s")
        fd = os.open(folder + "/.snap/s/f", os.O_RDONLY)
        os.unlink(folder + "/f")
        for i in range(20):
            try:
                os.rmdir(folder + "/.snap/s")
                raise AssertionError("a snapshot with an open file was dropped")
            except OSError as e:
                assert e.errno == errno.EBUSY, e
            assert os.pread(fd, 6000, 0) == wrote
            time.sleep(0.02)
        os.close(fd)
        until = time.monotonic() + 30  # the kernel closes it a little later
        while True:
            try:
                os.rmdir(folder + "/.snap/s")
                break
            except OSError as e:
                assert e.errno == errno.EBUSY and time.monotonic() < until, e
                time.sleep(0.01)
        n += 1
    return n


def unnamed(path, end):
    """A file that has lost its name lives as long as it is open."""
    fd = os.open(path + "/unnamed", os.O_CREAT | os.O_RDWR, 0o644)
    os.unlink(path + "/unnamed")
    n = 0
    while not is_over(end):
        assert os.pwrite(fd, b"%08d" % n, 8 * n) == 8
        assert os.pread(fd, 8, 0) == b"00000000"
        time.sleep(0.01)
        n += 1
    assert os.fstat(fd).st_size == 8 * n
    return n


def main():
    job, path, seconds = sys.argv[1:4]
    random.seed(int(os.environ.get("SEED", "0")) or None)
    print(globals()[job](path, time.monotonic() + float(seconds)))


main()
