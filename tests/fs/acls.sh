#!/bin/bash
# POSIX ACLs: the mount says and does what ext4 does.
. "$(dirname "$0")/../lib/mount.sh"
fs_start -o allow_other || exit 1
chmod 777 "$MNT" "$PLAIN"
as() { local who=$1; shift; setpriv --reuid "$who" --regid "$who" --clear-groups "$@"; }
facl() { getfacl -cpn "$@" | grep -v '^$'; }

access() {
	echo x >f; setfacl -m u:1234:rw,g:77:r f; facl f; stat -c %a f; as 1234 cat f
	as 1235 sh -c 'echo y >f'; as 1234 sh -c 'echo y >f'; cat f; as 77 sh -c 'cat f; echo >f'
	chmod 604 f; facl f; as 1234 cat f; as 77 cat f; as 5 cat f; chmod 660 f; facl f; as 5 cat f
	setfacl -m m::r f; stat -c %a f; facl f; setfacl -x u:1234 f; facl f; as 1234 cat f
	setfacl -b f; facl f; stat -c %a f; setfacl -b f; getfattr -m - f
	setfacl -m u::rwx,g::r,o::- f; stat -c %a f; getfattr -m - f
}
both "an access ACL decides, and mask and mode are one" access
inherited() {
	mkdir d; setfacl -d -m u:1234:rwx,g:77:rx,o::- d; facl d; umask 077
	echo >d/f; facl d/f; stat -c %a d/f; mkdir d/sub; facl d/sub; stat -c %a d/sub
	mkdir -m 700 d/sub7; facl d/sub7; mkfifo d/p; facl d/p; ln -s f d/l; stat -c %a d/l
	(umask 000; "$FSOP" tmpfile d t; facl d/t); rm d/t
	echo >d/sub/g; facl d/sub/g; as 1234 sh -c 'echo >d/sub/mine'; stat -c '%u %a' d/sub/mine
	setfacl -k d; echo >d/h; stat -c %a d/h; setfacl -k d; facl d; ls d/sub
	mkdir min; setfacl -d -m u::rwx,g::rwx,o::rwx min; echo >min/f; stat -c %a min/f
	getfattr -m - min/f; mkdir min/d; facl min/d; umask 022
}
both "a default ACL is inherited, and umask has no say then" inherited
refused() {
	echo >r; ln -s r rl; setfacl -d -m u:1:r r
	setfattr -n system.posix_acl_default -v 0x02000000 r
	setfattr -n system.posix_acl_access -v 0x01000000 r
	setfattr -n system.posix_acl_access -v 0x0200000001000700ffffffff r
	setfattr -n system.posix_acl_access -v 0x0200 r
	setfattr -h -n system.posix_acl_access -v 0x02000000 rl
	as 1234 setfacl -m u:1234:rw r; getfattr -m - r; stat -c %a r
	setfattr -x system.posix_acl_access r; echo "status $?"
}
both "ACLs that make no sense are refused" refused
setgid() {
	echo >s; chown 1234:99 s; chmod 2770 s; as 1234 setfacl -m u:5:r s; stat -c %a s
	chmod 2770 s; setpriv --reuid 1234 --regid 1234 --groups 99 setfacl -m u:6:r s; stat -c %a s
	chmod 2770 s; setfacl -m u:7:r s; stat -c %a s; facl s
	mkdir sd; chmod 2775 sd; setfacl -d -m g:5:rwx sd; mkdir sd/x; facl sd/x; stat -c %a sd/x
}
both "who is not in the group loses the set-gid bit" setgid
copies() {
	echo >c; setfacl -m u:9:rw c; cp -p c c2; facl c2; cp -a c c3; facl c3; mv c3 c4; facl c4
	ln c c5; facl c5; tar --acls -cf - c | tar --acls -xOf - c | wc -c
	rm c c2 c4 c5
}
both "cp -p, mv and links keep them" copies

printf '0123456789' >"$MNT/v"
chmod 600 "$MNT/v"
setfacl -m u:1234:r,u:1235:rw "$MNT/v"
is "a view has its file's ACL" "$(as 1234 cat "$MNT/v@bytes=0..2")" 01
fails "for reading" "Permission denied" as 1236 cat "$MNT/v@bytes=0..2"
fails "for writing" "Permission denied" as 1234 sh -c "echo >'$MNT/v@bytes=0..2'"
fails "and for cutting" "Permission denied" as 1234 rm -f "$MNT/v@bytes=0..2"
ok "and gives as it takes" as 1235 rm -f "$MNT/v@bytes=0..2"
is "the bytes are gone" "$(cat "$MNT/v")" 23456789

before=$(cd "$MNT" && getfacl -Rcpn . && stat -c '%n %a' ./* | sort)
sync "$MNT"
fs_kill || exit 1
fs_start -o allow_other || exit 1
is "the log has them" "$(cd "$MNT" && getfacl -Rcpn . && stat -c '%n %a' ./* | sort)" "$before"
fs_restart -o allow_other || exit 1
is "so has a checkpoint" "$(cd "$MNT" && getfacl -Rcpn . && stat -c '%n %a' ./* | sort)" "$before"
fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
