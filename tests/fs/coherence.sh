#!/bin/bash
# The kernel's cache follows what is edited below it: readers never see zeros or old bytes, and
# what a map has changed goes where it belongs. ROPEFS_COHERENCE_MS makes a soak of it.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
ms=${ROPEFS_COHERENCE_MS:-1500}

is "a reader that follows a logger sees what it wrote" "$("$COHERENT" tail log "$ms")" ok
is "so does one that opens it later" "$("$COHERENT" tail-late late "$ms")" ok
is "on ext4 so does one by a map" "$("$COHERENT" tail-map "$PLAIN/mapped" $((ms / 4)))" ok
is "here, too" "$("$COHERENT" tail-map mapped "$ms")" ok
is "a read across the end after a cut and an append ends there" \
	"$("$COHERENT" cut-append f $((ms / 4)))" ok
for i in 1 2 3; do "$COHERENT" cut-append "f$i" $((ms / 8)) & done >"$T/out"
wait
is "so does one while others do the same" "$(tr '\n' ' ' <"$T/out")" "ok ok ok "
is "a log that is cut and followed meanwhile shows no zeros" \
	"$("$COHERENT" rotate cut "$ms")" ok
is "what a map changed is inserted before, by a view" "$("$COHERENT" map m1 view)" ok
is "and by ioctl" "$("$COHERENT" map m2 ioctl)" ok
is "a cut before it stays cut" "$("$COHERENT" map-cut m3)" ok
# What of these does not have the bytes that a map has changed, and only the kernel has?
is "views, and transactions, begin with what a map has changed" \
	"$(python3 - "$ROPECTL" <<'END'
import mmap
import os
import subprocess
import sys


def changed(text, was, by):
    """A file of text, in which a map makes `by` of the first `was`."""
    with open('mapped', 'wb') as f:
        f.write(text)
    fd = os.open('mapped', os.O_RDWR)
    m = mmap.mmap(fd, len(text))
    os.close(fd)
    at = text.find(was)
    m[at:at + len(was)] = by
    return m


def say_unless(what, got, wanted):
    if got != wanted:
        print(what, got, 'instead of', wanted)


def edit(text):
    r = subprocess.run([sys.argv[1], 'edit'], input=text, capture_output=True)
    return content('mapped') if r.returncode == 0 else r.stderr


def content(name):
    with open(name, 'rb') as f:
        return f.read()


def put_end(view, text, flags):
    fd = os.open(view, os.O_WRONLY | flags)
    os.write(fd, text)
    os.close(fd)
    return content('mapped')


lines = b'one\ntwo\nthree\n'
for view, wanted in [('bytes=4..8', b'TWO\n'), ('bytes=-10..', b'TWO\nthree\n'),
                     ('lines=1..2', b'TWO\n'), ('stride=2:4', b'onTWthe\n'),
                     ('follow', None)]:
    m = changed(lines, b'two', b'TWO')
    fd = os.open('mapped@' + view, os.O_RDONLY)
    say_unless(view, os.read(fd, 14), wanted or b'one\nTWO\nthree\n')
    os.close(fd)
for view, flags, wanted in [('bytes=0..8', os.O_APPEND, b'one\nTWO\nnew\nthree\n'),
                            ('bytes=0..', 0, b'new\nTWO\nthree\n'),
                            ('lines=0..2', os.O_APPEND, b'one\nTWO\nnew\nthree\n'),
                            ('stride=4:8', 0, b'new\nTWO\nthree\n')]:
    m = changed(lines, b'two', b'TWO')
    say_unless('written ' + view, put_end('mapped@' + view, b'new\n', flags), wanted)
m = changed(b'105\n', b'1', b'2')
say_unless('add', content('mapped@add'), b'205\n')
m = changed(lines, b'two', b'TWO')
say_unless('insert', edit(b"insert mapped 0 'new '\n"), b'new one\nTWO\nthree\n')
open('to', 'w').close()
m = changed(lines, b'two', b'TWO')
say_unless('move', edit(b'move mapped 4..8 to to 0\n') + content('to'), b'one\nthree\nTWO\n')
END
)" ""
for i in {1..30}; do
	printf 'A%.0s' {1..2000} >s
	exec 5<s
	head -c 2000 s >/dev/null
	: >s@bytes=0..1500
	printf B >>s
	[[ $(wc -c <&5) == 501 ]] || break
	exec 5<&-
done
is "a cut by : > is seen by who has the file open" "$i" 30
ok "on ext4 a name removed before a listing began is not in it" "$COHERENT" list "$PLAIN/names"
is "nor here, though another listing ends meanwhile that has it" "$("$COHERENT" list names)" ok
is "the directory behind it can't be used" \
	"$(ls .ropefs/.sizes; touch .ropefs/.sizes/1 2>&1)" \
	"touch: cannot touch '.ropefs/.sizes/1': Operation not permitted"
cd /
sum=$(sha256sum "$MNT/cut" "$MNT/m1" "$MNT/m3")
fs_restart || exit 1
is "and all is as it was after a remount" "$(sha256sum "$MNT/cut" "$MNT/m1" "$MNT/m3")" "$sum"
finish
