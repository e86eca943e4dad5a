#!/bin/bash
# Queues as files: what shells and loggers do with them.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
mkdir lines writes fixed
"$ROPECTL" policy set lines kind=queue || exit 1
"$ROPECTL" policy set writes kind=queue framing=write || exit 1
"$ROPECTL" policy set fixed kind=queue framing=length:4 || exit 1

echo one >lines/q; echo two >>lines/q; printf 'three\nfour\n' >>lines/q
is "reads as a plain file" "$(cat lines/q)" "one
two
three
four"
is "its size is that of its bytes" "$(stat -c %s lines/q)" 19
ok "grep finds in it" grep -q three lines/q
printf 'with no end' >>lines/q
is "a line without end becomes a record when closed" "$(tail -n 1 lines/q)" "with no end"
(printf 'in two'; printf ' parts\n') >>lines/q
is "a line is put together from writes" "$(tail -n 1 lines/q)" "in two parts"
is "a sync covers a line that has no end yet" "$(timeout 60 python3 - lines/synced <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(fd, b"one\ntwo ")
os.fsync(fd)
print(open(sys.argv[1]).read(), end="|")
os.write(fd, b"three\nfour")
os.fsync(fd)
os.close(fd)
END
)" "one
two |"
is "which cuts it in two records" "$(jq -c .payload lines/synced@as=json | xargs)" \
	"one two  three four "
is "nor adds to it before the file is closed" "$(cat lines/synced)" "one
two three
four"
fails "a sync in the midst of a record of a length" "Invalid argument" \
	dd if=/dev/zero of=fixed/synced bs=6 count=1 conv=fsync status=none
is "what is whole stays" "$(stat -c %s fixed/synced)" 4
for s in add patch stride=1:2 bytes=0..1; do
	fails "no write through @$s" "Operation not permitted" bash -c "echo 5 >lines/q@$s"
done
fails "no overwrite" "Operation not permitted" \
	dd if=/dev/zero of=lines/q bs=1 count=1 conv=notrunc status=none
fails "no cut" "Operation not permitted" "$ROPECTL" cut lines/q 0..1
fails "no insert" "Operation not permitted" "$ROPECTL" insert lines/q 0 <<<x
fails "no truncate to a length" "Operation not permitted" truncate -s 3 lines/q
before=$(cat lines/q)
cp lines/q copy
is "copies" "$(cat copy)" "$before"
cp copy lines/again
is "is copied to" "$(cat lines/again)" "$before"
echo anew >lines/q
is "emptied by >" "$(cat lines/q)" anew
mv lines/q lines/moved; echo other >>lines/q
is "renamed and made again" "$(cat lines/moved lines/q | xargs)" "anew other"
rm lines/moved
is "an ordinary folder has ordinary files" "$(echo x >f; printf y | dd of=f conv=notrunc \
	status=none; cat f)" y

for i in {1..8}; do
	for ((k = 0; k < 200; k++)); do echo "writer $i line $k"; done >>lines/many &
done
wait
is "many writers, no line torn" "$(grep -cE '^writer [1-8] line [0-9]+$' lines/many)" 1600
is "nor any missing" "$(sort -u lines/many | wc -l)" 1600
python3 - writes/w <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for n in (1, 5000, 300000, 1 << 20):
    data = bytes([n % 251]) * n
    buf = memoryview(bytearray(n + 4096))
    assert os.write(fd, data) == n, n
    assert os.writev(fd, [b"a" * 10, b"b" * 20]) == 30
END
is "writes of all sizes arrive whole" "$(stat -c %s writes/w)" $((1+5000+300000+1048576+120))
printf 'abcdefgh' >fixed/f; printf '12' >>fixed/f 2>/dev/null
is "records of a length: no part of one is kept" "$(cat fixed/f)" abcdefgh

: >>lines/followed
(tail -n +1 -f -s 0.05 lines/followed 2>/dev/null >"$T/tail") &
tailing=$!
for i in {1..20}; do echo "line $i" >>lines/followed; sleep 0.01; done
until_true 60 grep -q "line 20" "$T/tail"
signal_child TERM "$tailing"; wait $tailing 2>/dev/null
ok "tail -f follows" grep -q "line 20" "$T/tail"

want=$(cat lines/many | sha256sum)
cd /
fs_restart || exit 1
cd "$MNT" || exit 1
is "all is there after a restart" "$(sha256sum <lines/many)" "$want"
echo more >>lines/many
for i in {1..50}; do echo "crash $i" >>lines/many; done
sync lines/many
cd /
fs_kill; fs_start || exit 1
cd "$MNT" || exit 1
is "and after kill -9 what was synced" "$(grep -c crash lines/many) $(tail -n 1 lines/many)" \
	"50 crash 50"
cd /
fs_restart -o durability=sync || exit 1
mkfifo "$T/told"
timeout 100 python3 - "$MNT/lines/sure" "$T/told" <<'END' &
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(fd, b"whole\npart")
open(sys.argv[2], "w").close()
time.sleep(100)
END
holder=$!
timeout 100 cat "$T/told"
fs_kill; kill $holder; fs_start || exit 1
is "durability=sync covers a line without end" "$(cat "$MNT/lines/sure")" "whole
part"
fs_stop
ok "fsck finds nothing" "$(dirname "$ROPECTL")/../tools/ropefs-fsck" --key-file "$KEY" "$STORE"
finish
