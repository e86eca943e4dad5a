"""Power cuts of a disk that wrote a log (disk_log.c): disk_cuts.py IMAGE LOG TYPE CUTS.

At each cut a new image is made: IMAGE, all that was written before the last flush, and of what came
after it nothing, all, a beginning, any part, or torn writes. It is mounted, the store in it opened,
and what the history (disk_history.c) says must be there is looked for; then fsck looks at the store.
From the environment: ROPEFS, FSCK, HISTORY, KEY, MNT, T, SEED.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
import time

HEAD = struct.Struct("IIQ")
WRITE, FLUSH, MARK = 1, 2, 3


def records(log):
    """(kind, at, where its bytes are in the log, how many)"""
    found, size = [], os.fstat(log).st_size
    at = 0
    while at + HEAD.size <= size:
        kind, n, where = HEAD.unpack(os.pread(log, HEAD.size, at))
        found.append((kind, where, at + HEAD.size, n))
        at += HEAD.size + n
    return found


def put(image, log, record, torn=None):
    """The write, or only the sectors of it that `torn` says."""
    _, where, at, n = record
    data = os.pread(log, n, at)
    if torn is None:
        os.pwrite(image, data, where)
        return
    unit = random.choice((512, 4096))
    for i in range(0, n, unit):
        if torn():
            os.pwrite(image, data[i:i + unit], where + i)


def survive(image, log, loose):
    """Some of the writes that no flush came behind."""
    how = random.choice(("none", "all", "beginning", "any", "torn"))
    if how == "all":
        chosen = loose
    elif how == "beginning":
        chosen = loose[:random.randrange(len(loose) + 1)]
    elif how == "none":
        chosen = []
    else:
        chosen = [w for w in loose if random.random() < 0.5]
    for w in chosen:
        put(image, log, w, (lambda: random.random() < 0.7) if how == "torn" else None)
    return "%s, %d of %d" % (how, len(chosen), len(loose))


def run(what, *command, **more):
    """None, or what it said."""
    got = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                         check=False, **more)
    return "%s: %s" % (what, got.stdout.decode(errors="replace")) if got.returncode else None


def unmount(what):
    """Whoever looks at the machine's open files keeps it busy for a moment."""
    for _ in range(600):
        why = run("unmounting", "umount", what)
        if not why or "busy" not in why:
            break
        time.sleep(0.1)
    return why


def fsck(store):
    """Once the daemon, which unmounting does not wait for, has let go of it."""
    for _ in range(600):
        why = run("fsck", os.environ["FSCK"], "-q", "-k", os.environ["KEY"], store)
        if not why or "is in use by" not in why:
            break
        time.sleep(0.1)
    return why


def recovered(image, kind, begun, durable):
    """Mounts it and looks; what was wrong, or None."""
    disk, store, mnt = os.environ["T"] + "/cut", os.environ["T"] + "/cut/store", os.environ["MNT"]
    key = os.environ["KEY"]
    why = run("mounting the disk", "mount", "-t", kind, "-o",
              "loop,nouuid" if kind == "xfs" else "loop", image, disk)
    if why:
        return why
    try:
        why = run("opening the store", os.environ["ROPEFS"], "--key-file", key, "-o", "memory=32M",
                  store, mnt)
        if why:
            return why
        why = run("the history", os.environ["HISTORY"], "check", mnt + "/work", str(begun),
                  str(durable))
        return why or unmount(mnt) or fsck(store)
    finally:
        subprocess.run(["umount", mnt], stderr=subprocess.DEVNULL, timeout=120, check=False)
        unmount(disk)


def points(all_records, first, cuts):
    """Where to cut: behind flushes, and twice as often before them, when there is something to lose."""
    flushes = [i + 1 for i in range(first, len(all_records)) if all_records[i][0] == FLUSH]
    writes = [i + 1 for i in range(first, len(all_records)) if all_records[i][0] == WRITE]
    n = min(len(flushes), (cuts + 2) // 3)
    return sorted(random.sample(flushes, n) + random.sample(writes, min(len(writes), cuts - n)))


def main():
    image, log_name, kind, cuts = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    random.seed(int(os.environ["SEED"]))
    log = os.open(log_name, os.O_RDONLY)
    all_records = records(log)
    first = next(i for i, r in enumerate(all_records) if r[0] == MARK) + 1
    base_name, cut_name = os.environ["T"] + "/base", os.environ["T"] + "/image"
    shutil.copyfile(image, base_name)
    base = os.open(base_name, os.O_RDWR)
    loose, at, begun, durable, failed = [], 0, 0, 0, 0
    where = points(all_records, first, cuts)
    for cut in where:
        for record in all_records[at:cut]:
            if record[0] == WRITE:
                loose.append(record)
            elif record[0] == FLUSH:
                for w in loose:
                    put(base, log, w)
                loose = []
            else:
                begun, durable = struct.unpack("QQ", os.pread(log, 16, record[2]))
        at = cut
        os.fsync(base)
        run("copying", "cp", "--sparse=always", base_name, cut_name)
        fd = os.open(cut_name, os.O_RDWR)
        how = survive(fd, log, loose)
        os.close(fd)
        why = recovered(cut_name, kind, begun, durable)
        if why:
            failed += 1
            print("cut at %d of %d (%s; begun %d, durable %d): %s" % (
                cut, len(all_records), how, begun, durable, why))
    kinds = [r[0] for r in all_records]
    print("%d cuts of %d writes with %d flushes, %d steps durable at the end, %d failed" % (
        len(where), kinds.count(WRITE), kinds.count(FLUSH), durable, failed))
    sys.exit(1 if failed or not durable else 0)


main()
