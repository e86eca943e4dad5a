#!/usr/bin/env python3
"""find_key.py KEYFILE PID FILE...: is the key of the key file anywhere where it must not be, as
bytes, hexadecimal or base64? In the memory of PID as a core dump would have it, in the files, and
in all below folders. Prints each place; the status is 1 if there is one, 2 if nothing was read."""

import base64
import os
import sys

with open(sys.argv[1]) as f:
    text = f.read().split()[-1]
key = base64.b64decode(text)
# The parts of base64 that don't hang on what is before and behind.
wanted = [key, key[:16], key[16:], key.hex().encode(), key.hex().upper().encode(), text.encode()]
wanted += [base64.b64encode(b'\0' * n + key)[4:-4] for n in (1, 2)]
found = read = 0


def look(where, data):
    global found, read
    read += len(data)
    for w in wanted:
        if w in data:
            print('%s has the key' % where)
            found += 1
            return


def look_at_memory(pid):
    """All maps but those that are left out of cores (flag dd)."""
    maps = []
    with open('/proc/%s/smaps' % pid) as f:
        for line in f:
            head = line.split()
            if '-' in head[0] and ':' not in head[0]:
                maps.append([head, True])
            elif head[0] == 'VmFlags:' and 'dd' in head:
                maps[-1][1] = False
    with open('/proc/%s/mem' % pid, 'rb', 0) as mem:
        for head, in_core in maps:
            low, high = (int(x, 16) for x in head[0].split('-'))
            if not in_core or head[1][0] != 'r' or head[-1] in ('[vvar]', '[vsyscall]'):
                continue
            try:
                mem.seek(low)
                look('memory ' + head[0], mem.read(high - low))
            except (OSError, ValueError):
                continue


look_at_memory(sys.argv[2])
for path in sys.argv[3:]:
    names = [path] if not os.path.isdir(path) else [
        os.path.join(at, n) for at, _, files in os.walk(path) for n in files]
    for name in names:
        with open(name, 'rb') as f:
            look(name, f.read())
sys.exit(1 if found else 0 if read > 1 << 20 else 2)
