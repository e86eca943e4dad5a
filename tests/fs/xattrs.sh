#!/bin/bash
# Extended attributes, set-id bits and who may do what.
. "$(dirname "$0")/../lib/mount.sh"
fs_start -o allow_other || exit 1
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }

xattrs() {
	echo x >f; setfattr -n user.a -v one f; setfattr -n user.b -v 0x00ff f
	getfattr -d -m - -e hex f; setfattr -x user.a f; getfattr -n user.a f; getfattr -d f
	setfattr -n trusted.t -v 1 f; getfattr -n trusted.t --only-values f; echo
	setfattr -x user.none f; setfattr -n nonsense -v 1 f
	setfattr -n user.empty -v '' f; getfattr -n user.empty f
	setfattr -n "user.$(printf 'n%.0s' {1..300})" -v 1 f
	mkdir d; setfattr -n user.d -v dir d; getfattr -n user.d d
}
both "xattrs are set, read, listed and removed" xattrs
fails "a value beyond 64 KiB is too long" "" \
	setfattr -n user.big -v "$(head -c 70000 /dev/zero | tr '\0' x)" "$MNT/f"
setfattr -n user.64k -v "$(head -c 60000 /dev/zero | tr '\0' x)" "$MNT/f"
is "60,000 bytes are kept" "$(getfattr -n user.64k --only-values "$MNT/f" | wc -c)" 60000
trusted() {
	echo x >l; setfattr -n user.u -v 1 l; setfattr -n trusted.t -v 1 l; chmod 644 l
	getfattr -m - l; nobody getfattr -m - l; nobody getfattr -n trusted.t l
	setfattr -x user.u l; nobody getfattr -m - l
}
both "trusted xattrs are root's alone" trusted

setid_write() {
	cp /bin/true s; chown 65534 s; chmod 6755 s; stat -c %a s; nobody sh -c 'echo >>s'
	stat -c %a s; chmod 6755 s; echo >>s; stat -c %a s; chown 1 s; stat -c %a s
	chown 65534 s; chmod 2755 s; nobody sh -c 'echo >>s'; stat -c %a s
	chmod 6755 s; nobody truncate -s 1 s; stat -c %a s
	chmod 6755 s; nobody sh -c ': >s'; stat -c %a s
}
both "a write, a cut or a chown takes set-id bits away" setid_write
caps() {
	cp /bin/true c
	setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 c
	getfattr -n security.capability -e hex c; echo >>c; getfattr -n security.capability c
}
both "a write takes file capabilities away" caps
setgid_dir() {
	mkdir g; chgrp 77 g; chmod 2777 g; touch g/f; mkdir g/d; stat -c '%g %a' g/f g/d
	nobody touch g/n; stat -c '%u %g %a' g/n
}
both "a set-gid directory hands its group down" setgid_dir
denied() {
	echo secret >p; chmod 600 p; nobody cat p; nobody sh -c 'echo x >p'; mkdir q; chmod 700 q
	nobody ls q; nobody touch q/x; nobody rm p; mkdir st; chmod 1777 st; touch st/mine
	nobody rm -f st/mine; nobody chmod 777 p; nobody chown 65534 p
}
both "permissions are the kernel's" denied

printf '0123456789' >"$MNT/v"
chmod 777 "$MNT"
chmod 644 "$MNT/v"
fails "cutting by rm needs the file's w, not the directory's" "Permission denied" \
	nobody rm -f "$MNT/v@bytes=0..2"
fails "so does writing" "Permission denied" nobody sh -c "echo x >'$MNT/v@bytes=0..2'"
is "reading needs r" "$(nobody cat "$MNT/v@bytes=0..2")" 01
chown :88 "$MNT/v"
chmod 664 "$MNT/v"
ok "a supplementary group counts" \
	setpriv --reuid 65534 --regid 65534 --groups 88 rm -f "$MNT/v@bytes=0..2"
is "and the bytes are gone" "$(cat "$MNT/v")" 23456789
chown 65534 "$MNT/v"
chmod 4764 "$MNT/v"
nobody sh -c "printf x >'$MNT/v@bytes=0..0'"
is "an edit through a view takes the set-uid bit away" "$(stat -c %a "$MNT/v")" 764
fs_restart || exit 1
fails "without allow_other others see nothing" "Permission denied" nobody ls "$MNT"
finish
