#!/bin/bash
# Plain file work: the same commands on the mount and on a plain directory say the same.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1

write_read() { echo hello >a; cat a; printf 'more' >>a; cat a; wc -c <a; }
truncates() {
	printf '0123456789' >t; truncate -s 4 t; cat t; echo; truncate -s 8 t; od -An -c t
	: >t; wc -c <t; stat -c '%s %F' t
}
modes() {
	echo x >m; chmod 640 m; stat -c '%a %U %G' m; chown 12:34 m; stat -c '%u %g' m
	touch -d '2001-02-03 04:05:06.123456789' m; stat -c '%y %x' m
}
old_times() {
	touch -d '1901-12-14 00:00:00 UTC' o; stat -c %Y o
	touch -d '2262-04-11 00:00:00 UTC' o; stat -c %Y o
	touch -d '1969-12-31 23:59:59.25 UTC' o; stat -c '%.2Y' o
}
# What neither can hold becomes its last second, never another time.
far_times() {
	touch -d "@$1" "$MNT/far" && stat -c %Y "$MNT/far"
	rm "$MNT/far"
}
dirs() {
	mkdir -p d/e/f; echo 1 >d/e/f/x; ls -R d; rmdir d/e 2>&1; mv d/e d2; find d d2 | sort
	stat -c '%n %h' d d2; rm -r d d2; ls
}
links() {
	echo l >l1; ln l1 l2; stat -c '%h' l1; rm l1; cat l2; ln -s l2 l3; readlink l3; cat l3
	ln -s /nowhere l4; cat l4; ls l4; rm l3 l4; stat -c '%h' l2
}
nodes() { mkfifo p; stat -c '%F' p; mknod c c 1 3; stat -c '%F %t %T' c; rm p c; }
renames() {
	echo 1 >r1; echo 2 >r2; mkdir rd
	"$FSOP" noreplace r1 r2; "$FSOP" exchange r1 r2; cat r1 r2
	"$FSOP" noreplace r1 r3; cat r3; "$FSOP" exchange r3 rd; cat rd; ls r3; mv r2 r3/; ls r3
	mv rd r3/r2; cat r3/r2; "$FSOP" exchange r3 none; rm -r r3
}
holes() {
	printf 'abcdefgh%.0s' {1..2048} >h
	"$FSOP" fallocate h 3 4096 4096; od -An -c -j 4090 -N 12 h; stat -c %s h
	"$FSOP" seek h hole 0; "$FSOP" seek h data 4096; "$FSOP" seek h data 99999
	"$FSOP" seek h end 0
	"$FSOP" fallocate h 16 0 4096; od -An -c -N 4 h; stat -c %s h
	"$FSOP" fallocate h 0 0 20000; stat -c %s h; "$FSOP" fallocate h 1 0 30000; stat -c %s h
}
copies() {
	printf '%s' {a..z} >c1; "$FSOP" copy-range c1 3 c2 0 5; cat c2; echo
	"$FSOP" copy-range c1 0 c2 2 100; cat c2; echo; cp --reflink=auto c1 c3; cmp c1 c3
	"$FSOP" copy-range c1 26 c2 0 5; cat c2 >/dev/null; "$FSOP" copy-range c3 0 c2 0 3; cat c2
}
maps() { printf 'mapped bytes' >mm; "$FSOP" map-write mm; cat mm; }
errors() {
	cat none; mkdir a; rmdir a; echo x >none/y; mkdir ed; echo >ed; rmdir a/b; ls a/b
	ln a a; mv ed ed/sub; rm ed; head -c 1 ed
}

both "what was written is read" write_read
both "truncate cuts and grows by zeros" truncates
both "mode, owner and times to the nanosecond" modes
both "times before 1970 and far ahead" old_times
is "a time after 2262 becomes the last one" "$(far_times 99999999999)" 9223372036
is "one before 1677 the first" "$(far_times -99999999999)" -9223372036
both "directories nest, move and count their links" dirs
both "hard and symbolic links" links
both "fifos and devices" nodes
both "rename takes NOREPLACE and EXCHANGE" renames
both "holes, zeros and room kept" holes
both "copy_file_range and cp" copies
both "a write through a shared map is there for read" maps
both "errors are those of any filesystem" errors
both "an unlinked open file goes on" "$FSOP" unlinked u

ok "4 writers append at once" "$FSOP" appenders "$MNT/log" 4 2000
is "and lose nothing" "$(sort "$MNT/log" | uniq | wc -l)" 8000
is "and mix no lines" "$(grep -vcE '^writer [0-3] line [0-9]{6}$' "$MNT/log")" 0
for w in 0 1 2 3; do
	grep "writer $w" "$MNT/log" | sort -c || order=lost
done
is "and keep each one's order" "${order:-kept}" kept

dd if=/dev/urandom of="$PLAIN/big" bs=1M count=24 status=none
cp "$PLAIN/big" "$MNT/big"
ok "24 MiB come back the same" cmp "$PLAIN/big" "$MNT/big"
ok "fsync of a file" sync "$MNT/big"
ok "fsync of a directory" sync "$MNT"
before=$(cd "$MNT" && find . -type f -exec sha256sum {} + | sort)
ok "unmounts and mounts again" fs_restart
is "and all files are as they were" \
	"$(cd "$MNT" && find . -type f -exec sha256sum {} + | sort)" "$before"
# Within a hundredth of the disk, at some time, as others write to it meanwhile.
used_like_below() {
	local total free size below_total below_free below_size
	read -r total free size < <(stat -f -c '%b %f %S' "$MNT")
	read -r below_total below_free below_size < <(stat -f -c '%b %f %S' "$STORE")
	echo "$total $free, below $below_total $below_free"
	((free *= size, below_free *= below_size, total = below_total * below_size / 100))
	((below_free - free < total && free - below_free < total))
}
ok "df takes what the disk keeps for root for free, not for used" until_true 60 used_like_below
is "statfs knows the longest name" "$(stat -f -c %l "$MNT")" 255
is "the mount's type and source" "$(findmnt -no FSTYPE,SOURCE "$MNT" | tr -s ' ')" \
	"fuse.ropefs $STORE"
finish
