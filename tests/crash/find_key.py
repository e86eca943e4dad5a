#!/usr/bin/env python3
"""find_key.py KEYFILE PID FILE...: is the key of the key file anywhere where it must not be, as
bytes, hexadecimal or base64? In the memory of PID (0: none) as a core dump would have it, in the
files, and in all below folders. Prints each place; the status is 1 if there is one, 2 if nothing
was read. From the environment: STORE, whose master key and the keys made of it are looked for, too;
CANARIES, words besides, separated by commas."""

import base64
import ctypes
import os
import sys

with open(sys.argv[1]) as f:
    text = f.read().split()[-1]
secrets = [base64.b64decode(text)]


def keys_of_store(store, key):
    """The master key that the header has wrapped, and what keys.c derives from it."""
    sodium = ctypes.CDLL('libsodium.so.23')
    with open(os.path.join(store, 'ropefs'), 'rb') as header:
        head = header.read(4096)
    aad = b'ropefs master key 1\0' + head[16:32] + head[12:13]
    master = ctypes.create_string_buffer(32)
    n = ctypes.c_ulonglong()
    sealed = head[64:112]
    if sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            master, ctypes.byref(n), None, sealed, ctypes.c_ulonglong(len(sealed)), aad,
            ctypes.c_ulonglong(len(aad)), head[40:64], key):
        sys.exit('find_key.py: the store has no such key')
    yield master.raw
    for purpose in range(1, 16):
        derived = ctypes.create_string_buffer(32)
        sodium.crypto_kdf_derive_from_key(derived, ctypes.c_size_t(32),
                                          ctypes.c_uint64(purpose), b'ropefs01', master)
        yield derived.raw


if 'STORE' in os.environ:
    secrets += keys_of_store(os.environ['STORE'], secrets[0])
secrets += [word.encode() for word in os.environ.get('CANARIES', '').split(',') if word]
wanted = []
for secret in secrets:
    wanted += [secret[:16], secret[16:]] if len(secret) == 32 else [secret]
    wanted += [secret.hex().encode(), secret.hex().upper().encode()]
    # The parts of base64 that don't hang on what is before and behind.
    wanted += [base64.b64encode(b'\0' * n + secret)[4 if n else 0:-4] for n in (0, 1, 2)]
found = read = 0


def look(where, data):
    global found, read
    read += len(data)
    zeros, step = bytes(4096), 4096
    data = b''.join(data[i:i + step] for i in range(0, len(data), step)
                    if data[i:i + step] != zeros)  # most of a core
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


if sys.argv[2] != '0':
    look_at_memory(sys.argv[2])
for path in sys.argv[3:]:
    names = [path] if not os.path.isdir(path) else [
        os.path.join(at, n) for at, _, files in os.walk(path) for n in files]
    for name in names:
        with open(name, 'rb') as f:
            look(name, f.read())
sys.exit(1 if found else 0 if read > (0 if sys.argv[2] == '0' else 1 << 20) else 2)
