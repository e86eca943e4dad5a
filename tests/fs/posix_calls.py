#!/usr/bin/env python3
"""System calls and what they say: each case runs in an ordinary directory and in the mount, and
both must say the same. Usage: posix_calls.py PLAIN MOUNT [CASE]... Prints a TAP line a case."""

import difflib
import os
import shutil
import sys

sys.dont_write_bytecode = True

import posix_names  # noqa: E402
import posix_attrs  # noqa: E402
import posix_bytes  # noqa: E402
from posix_case import CASES, said, say  # noqa: E402


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

