#!/bin/bash
# DIR/.snap: taken while others write, read-only, still there after a kill, copied by backup
# programs, dropped again; and who may do what.
TEST_LIMIT_S=${TEST_LIMIT_S:-$((280 + ${TEST_SECONDS:-0}))}
. "$(dirname "$0")/../lib/mount.sh"
fs_start -o allow_other || exit 1
cd "$MNT" || exit 1
as() { local who=$1; shift; setpriv --reuid "$who" --regid "$who" --clear-groups "$@"; }
number() { sed -n "s/.*\"$1\":[[:space:]]*\([0-9]*\).*/\1/p" "$MNT/.ropefs/status"; }
# Everything of a tree that a backup keeps.
facts() {
	(cd "$1" && find . -mindepth 1 -printf '%p %y %m %U %G %n %T@ %l\n' | LC_ALL=C sort)
	(cd "$1" && find . -type f -exec sha256sum {} + | LC_ALL=C sort)
	(cd "$1" && getfattr -Rdh -m - . 2>/dev/null)
}

# --- one instant ---

mkdir -p d/sub && echo one >d/a && ln d/a d/hard && ln -s a d/link && mkfifo d/fifo
head -c 300000 /dev/urandom >d/sub/b && truncate -s 1M d/sub/b && chmod 640 d/sub/b
setfattr -n user.x -v y d/a && setfacl -m u:77:r d/sub/b && touch -d 2001-01-01 d/a
hole=$("$FSOP" seek d/sub/b hole 0)
facts d >"$T/facts"
ok "mkdir takes a snapshot" mkdir d/.snap/one
is "ls lists it" "$(ls d/.snap)" one
is "no listing shows .snap" "$(ls -A d; find . -name .snap)" "a
fifo
hard
link
sub"
echo changed >d/a && rm -r d/sub && mkdir d/sub && echo new >d/sub/b && setfattr -x user.x d/a
mv d/hard d/elsewhere && chmod 600 d/a
is "it keeps bytes, names, links, times, modes, owners, xattrs and ACLs" \
	"$(facts d/.snap/one | diff "$T/facts" - | head)" ""
is "hard links in it are one file, and another than the live one" \
	"$(stat -c %i d/.snap/one/a d/.snap/one/hard d/a | sort -u | wc -l)" 2
is "views read it" "$(cat 'd/.snap/one/a@bytes=1..3')" ne
is "holes in it are holes" "$("$FSOP" seek d/.snap/one/sub/b hole 0)" "$hole"
is ".. leads out again" "$(cd d/.snap/one/.. && ls; cd "$MNT/d/.snap/.." && ls sub)" "one
b"

# --- it can't be changed ---

ro='Read-only file system'
s=d/.snap/one
fails "no write" "$ro" sh -c "echo x >$s/a"
fails "no append" "$ro" sh -c "echo x >>$s/a"
fails "no truncation" "$ro" truncate -s 0 $s/a
fails "no new file" "$ro" sh -c "echo x >$s/new"
fails "no new folder" "$ro" mkdir $s/new
fails "no removal" "$ro" rm -f $s/a
fails "no removal of a folder" "$ro" rmdir $s/sub
fails "no rename" "$ro" mv $s/a $s/z
fails "no link into it" "$ro" ln d/a $s/z
fails "no link out of it" "$ro" ln $s/a d/z
fails "no symlink" "$ro" ln -s a $s/z
fails "no chmod" "$ro" chmod 777 $s/a
fails "no chown" "$ro" chown 5 $s/a
fails "no new times" "$ro" touch $s/a
fails "no xattr" "$ro" setfattr -n user.q -v 1 $s/a
fails "no removal of an xattr" "$ro" setfattr -x user.x $s/a
fails "no write through a view" "$ro" sh -c "echo x >'$s/a@bytes=0..1'"
fails "no cut through a view" "$ro" rm -f "$s/a@bytes=0..1"
fails "no snapshot of a part of one" "$ro" mkdir $s/.snap/two
fails "its name stays" "$ro" mv $s d/.snap/other
is "all of it is as it was" "$(facts d/.snap/one | diff "$T/facts" - | head)" ""
fails ".snap itself can't be made" "File exists" mkdir d/.snap
fails "nor written over" "cannot overwrite" mv -T d/a d/.snap
fails "two of one name are refused" "File exists" mkdir d/.snap/one
fails "what is not there can't be dropped" "No such file" rmdir d/.snap/none
fails "a folder with snapshots stays" "not empty" sh -c "mkdir e && mkdir e/.snap/x && rmdir e"
ok "until they are gone" sh -c "rmdir e/.snap/x && rmdir e"

# --- who may ---

mkdir -m 777 open && echo secret >open/s && chmod 600 open/s && mkdir -m 755 mine && chown 1234 mine
fails "writers who don't own a folder take none" "not permitted" as 1234 mkdir open/.snap/x
ok "its owner does" as 1234 mkdir mine/.snap/x
fails "others can't drop it" "denied" as 1235 rmdir mine/.snap/x
ok "its owner does that, too" as 1234 rmdir mine/.snap/x
mkdir open/.snap/x && chmod 666 open/s
fails "a mode of then holds in it" "denied" as 1234 cat open/.snap/x/s
chmod 700 open
fails "and the folder's of now" "denied" as 1234 ls open/.snap
chmod 777 open && rmdir open/.snap/x

# --- the kernel's cache ---

# The kernel tells of a close a little after it has ended.
drop() { until_true 60 rmdir "$1"; }
stale=
for i in 1 2 3 4 5; do
	echo "$i" >d/n && mkdir d/.snap/n || stale+=" $i:mkdir"
	[[ $(ls d/.snap | tr '\n' ' ') == "n one " ]] || stale+=" $i:list"
	[[ $(cat d/.snap/n/n) == "$i" ]] || stale+=" $i:bytes"
	drop d/.snap/n || stale+=" $i:rmdir"
	[[ ! -e d/.snap/n && $(ls d/.snap) == one ]] || stale+=" $i:gone"
done
is "a name used again shows the new snapshot" "$stale" ""
mkdir d/.snap/busy && exec 7<d/.snap/busy/a
fails "one with an open file is not dropped" "busy" rmdir d/.snap/busy
is "and reads on" "$(cat <&7)" changed
exec 7<&-
ok "but once that is closed" drop d/.snap/busy

# --- cp --reflink=auto from it shares bytes ---

seq 1000000 | head -c 6000000 >d/big && mkdir d/.snap/big && sync d/big
before=$(number log_body_bytes)
ok "a file is copied out" cp --reflink=auto d/.snap/big/big d/big2
cmp d/big d/big2 && (($(number log_body_bytes) - before < 100000))
result $? "as a whole and without its bytes"
printf X | dd of=d/big bs=1 seek=4000000 conv=notrunc status=none
printf Y | dd of=d/big2 bs=1 seek=5000000 conv=notrunc status=none
drop d/.snap/big
is "and the two go apart" "$(cmp -l d/big d/big2 | wc -l)" 2

# However large: 10 GiB, only where there is time for it (tools/test --long). What compresses that well
# looks to cp like a file with holes: it reads and writes it, and each write is found to be a copy.
if ((${TEST_SECONDS:-0} >= 60)); then
	yes 'ten gibibytes of one line, which take little room' | head -c 10737418240 >d/10G
	sync d/10G
	before=$(number log_body_bytes)
	began=$(date +%s%N)
	ok "10 GiB are copied" cp --reflink=auto d/10G d/10G-copy
	took=$((($(date +%s%N) - began) / 1000000))
	(($(number log_body_bytes) - before < 10000000))
	result $? "without their bytes ($took ms)"
	printf X | dd of=d/10G bs=1 seek=9000000000 conv=notrunc status=none
	printf Y | dd of=d/10G-copy bs=1 seek=123 conv=notrunc status=none
	is "and the two go apart" "$(cmp -l d/10G d/10G-copy | wc -l)" 2
	rm d/10G d/10G-copy
fi

# A file with holes is one that cp reads and writes; what it writes is looked for in the source.
truncate -s 20M d/holes && dd if=d/big of=d/holes bs=1M seek=7 conv=notrunc status=none && sync d/holes
before=$(number log_body_bytes)
ok "a file with holes is copied" cp --reflink=auto d/holes d/holes2
cmp d/holes d/holes2 && (($(number log_body_bytes) - before < 3000000))
result $? "and shares nearly all of its bytes"
shared=$(sed -n 's/^ropefs_shared_bytes_total //p' .ropefs/metrics)
ok "the metrics say so" test "${shared%.*}" -gt 3000000
printf x | dd of=d/holes bs=1 seek=9000000 conv=notrunc status=none
is "a change shows in one of them" "$(cmp -l d/holes d/holes2 | wc -l)" 1
rm d/holes d/holes2

# --- while others write, and through a kill ---

mkdir w && : >w/first && : >w/second && mkdir w/files
python3 - w 2>/dev/null <<'PY' &
import os, sys
os.chdir(sys.argv[1])
first, second = (os.open(f, os.O_WRONLY | os.O_APPEND) for f in ('first', 'second'))
i = 0
while not os.path.exists('stop'):
    os.write(first, b'%07d\n' % i)
    os.write(second, b'%07d\n' % i)
    with open('files/new', 'w') as f:
        f.write(str(i))
    os.rename('files/new', 'files/%d' % (i % 50))
    i += 1
PY
writer=$!
until_true 120 test -s w/second
bad=
for i in 1 2 3 4 5 6; do
	sleep 0.1
	mkdir "w/.snap/$i" || bad+=" $i:mkdir"
done
sleep 0.1
fs_sync_before=$(wc -l <w/.snap/6/second)
cd / && fs_kill
wait $writer
fs_start -o allow_other || exit 1
cd "$MNT" || exit 1
for i in 1 2 3 4 5 6; do
	f=$(wc -l <"w/.snap/$i/first") s=$(wc -l <"w/.snap/$i/second")
	((f - s == 0 || f - s == 1)) || bad+=" $i:$f-$s"
	[[ $(tail -n 1 "w/.snap/$i/first") == $(printf %07d $((f - 1))) ]] || bad+=" $i:last"
	find "w/.snap/$i/files" -size 0 -type f ! -name new | grep -q . && bad+=" $i:empty"
done
is "each is of one instant, and still there after kill -9" "$bad" ""
is "with what it had" "$(wc -l <w/.snap/6/second)" "$fs_sync_before"
is "older ones, too" "$(facts d/.snap/one | diff "$T/facts" - | head)" ""
touch w/stop && rm w/stop

# --- backups of one, while the live tree goes on ---

mkdir src && cp -a /usr/include/asm-generic src/linux && ln src/linux/types.h src/hard && ln -s linux src/sym
touch -h -d 2002-02-02 src/sym
head -c 200000 /dev/urandom >src/random && facts src >"$T/src"
mkdir src/.snap/b && S=$MNT/src/.snap/b
(while [[ ! -e $T/done ]]; do rm -rf src/linux; cp -a /usr/include/asm-generic src/linux; date >src/random; done) &
mutator=$!
rsync -aHAX "$S/" "$T/rsync/"
is "rsync" "$(facts "$T/rsync" | diff "$T/src" - | head)" ""
mkdir "$T/tar" && tar -C "$S" --xattrs --acls -cf - . | tar -C "$T/tar" --xattrs --acls -xpf -
is "tar" "$(facts "$T/tar" | diff "$T/src" - | head)" ""
if command -v restic >/dev/null; then
	export RESTIC_PASSWORD=p RESTIC_REPOSITORY=$T/restic
	{ restic init && restic --no-cache backup "$S" &&
		restic --no-cache restore latest --target "$T/restored"; } >"$T/restic.log" 2>&1
	is "restic" "$(facts "$T/restored/$S" | diff "$T/src" - | head)" ""
else
	result 0 "restic # SKIP not installed"
fi
if command -v borg >/dev/null; then
	export BORG_BASE_DIR=$T/borg BORG_REPO=$T/borg/repo
	mkdir -p "$T/borg" "$T/borg-out"
	{ (cd "$S" && borg init -e none && borg create ::b .) && borg check --verify-data &&
		(cd "$T/borg-out" && borg extract ::b); } >"$T/borg.log" 2>&1
	is "borg" "$(facts "$T/borg-out" | diff "$T/src" - | head)" ""
else
	result 0 "borg # SKIP not installed"
fi
touch "$T/done" && wait $mutator

# --- its space comes back ---

head -c 20000000 /dev/urandom >d/dead && mkdir d/.snap/space && rm d/dead && sync d
cd / && fs_restart -o allow_other || exit 1
with=$(du -s "$STORE/packs" | cut -f1)
drop "$MNT/d/.snap/space"
given_back() { (($(du -s "$STORE/packs" | cut -f1) < with - 15000)); }
ok "a dropped one gives its space back" until_true 120 given_back
is "status counts those there are" "$(number snapshots)" "$(ls "$MNT"/*/.snap | grep -vc '^$\|:$')"
for s in "$MNT"/*/.snap; do
	for n in $(ls "$s"); do drop "$s/$n"; done
done
is "the last one goes as well" "$(number snapshots)" 0
fs_stop
ok "the store is clean" "$FSCK" --key-file "$KEY" "$STORE"
finish
