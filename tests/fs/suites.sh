#!/bin/bash
# What the public conformance suites (pjdfstest, xfstests, LTP) found: each said here in short, and
# on ext4 first where that has it too.
. "$(dirname "$0")/../lib/mount.sh"
: "${HANDLES:?}"
fs_start -o allow_other || exit 1
chmod 777 "$MNT" "$PLAIN"

# The user that has the group keeps a set-gid bit that gives nothing (xfstests 193, 355).
as_user() { setpriv --reuid 1234 --regid 1234 --clear-groups "$@"; }
set_ids() {
	local mode
	for mode in 6644 6744 6654 6645 2644 4644 6755; do
		: >s && chown 1234:1234 s && chmod $mode s && as_user truncate -s 5 s
		stat -c "truncate: $mode %a" s
		chmod $mode s && as_user sh -c 'echo x >>s'
		stat -c "write: $mode %a" s
		chmod $mode s && as_user sh -c 'echo x >s'
		stat -c "open: $mode %a" s
	done
}
both_do "set-id bits are cleared by truncate and write as by ext4" set_ids

# Flags of lsattr and chattr, and maps: told to be unknown as programs expect it (setxattr03 of LTP
# asks for them).
unknown_ioctls() {
	python3 - "$1" <<'PY'
import errno, fcntl, os, sys
calls = {'GETFLAGS': 0x80086601, 'SETFLAGS': 0x40086602, 'FSGETXATTR': 0x801c581f,
         'FSSETXATTR': 0x401c5820, 'FIEMAP': 0xc020660b}
for name, number in calls.items():
    try:
        print(name, fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), number, bytes(64)))
    except OSError as e:
        print(name, errno.errorcode[e.errno])
PY
}
echo x >"$MNT/flags"
is "flags of chattr: ENOTTY" "$(unknown_ioctls "$MNT/flags" | tr '\n' ' ')" \
	"GETFLAGS ENOTTY SETFLAGS ENOTTY FSGETXATTR ENOTTY FSSETXATTR ENOTTY FIEMAP ENOTSUP "

# Holes in whole blocks, wherever they begin (xfstests 285, 490).
holes() {
	rm -f h && truncate -s 1M h
	printf 'x' | dd of=h bs=1 seek=20000 conv=notrunc status=none
	printf 'y' | dd of=h bs=1 seek=50000 conv=notrunc status=none
	"$FSOP" fallocate h 3 19000 500
	for at in 0 1 16383 16384 19999 20000 20001 20480 49151 49152 50000 53248 1048575; do
		"$FSOP" seek h data $at
		"$FSOP" seek h hole $at
	done
}
both "SEEK_HOLE and SEEK_DATA speak of whole blocks" holes
shifted() {	# by an edit
	truncate -s 64K "$MNT/i" && printf 'begin' >"$MNT/i@bytes=0..0" || return 1
	[[ $("$FSOP" seek "$MNT/i" hole 0) == 4096 && $("$FSOP" seek "$MNT/i" hole 9000) == 9000 &&
		$("$FSOP" seek "$MNT/i" data 9000) == ENXIO ]]
}
ok "also of those that an edit has shifted" shifted

# More than there is (xfstests 213). Not on the disk itself, which it would fill.
for keep in '' -n; do
	: >"$MNT/big"
	fails "fallocate $keep of more than the disk has" "No space left on device" \
		fallocate $keep -l 1P "$MNT/big"
	is "leaves the file as it was" "$(stat -c %s "$MNT/big")" 0
done

# File handles, as an NFS server has them (xfstests 426, 467, 477).
mkdir "$MNT/dir"
echo by handle >"$MNT/dir/f"
echo gone >"$MNT/dir/g"
for name in dir dir/f dir/g; do
	ok "the handle of $name" "$HANDLES" save "$MNT/$name" "$T/handle-${name##*/}"
done
is "opens it" "$("$HANDLES" open "$MNT" "$T/handle-f")" "by handle"
mv "$MNT/dir" "$MNT/moved"
rm "$MNT/moved/g"
ok "the mount is renewed" fs_restart -o allow_other
is "and opens it after a rename and a remount" "$("$HANDLES" open "$MNT" "$T/handle-f")" \
	"by handle"
is "a folder's, too" "$("$HANDLES" open "$MNT" "$T/handle-dir")" EISDIR
is "not that of a file that was removed" "$("$HANDLES" open "$MNT" "$T/handle-g")" ESTALE

# The page cache beside asynchronous direct writes (xfstests 451).
is "no page is kept that a direct write has replaced" \
	"$("$HANDLES" stale "$MNT/cached" "${ROPEFS_STALE_S:-2}")" fresh

# mount(8) may change the kernel's part of a mount (xfstests 294, 306, 452).
fs=(timeout 100 "$ROPEFS" --key-file "$KEY")
echo x >"$MNT/f"
ok "remount,ro" "${fs[@]}" -o remount,ro "$STORE" "$MNT"
fails "takes no writes" "Read-only file system" touch "$MNT/f"
is "and is still nosuid" "$(findmnt -no OPTIONS "$MNT" | grep -o nosuid)" nosuid
ok "remount,rw,noexec" "${fs[@]}" -o remount,rw,noexec "$STORE" "$MNT"
ok "takes writes again" touch "$MNT/f"
is "and is noexec" "$(findmnt -no OPTIONS "$MNT" | grep -o noexec)" noexec
exec 5>"$MNT/f"
fails "a file open for writing" "open for writing" \
	"${fs[@]}" -o remount,ro "$STORE" "$MNT"
exec 5>&-
fails "a store that is not mounted there" "not mounted there" \
	"${fs[@]}" -o remount,ro "$STORE" "$PLAIN"
fs_stop
ok "nodiratime" fs_start -o nodiratime
finish
