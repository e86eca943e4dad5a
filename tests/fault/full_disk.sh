#!/usr/bin/env bash
# The disk below the store is full: writes say so, what was acknowledged stays and can be read
# (after a kill too), files can be removed, and then writing goes on without a new mount.
# shellcheck source-path=SCRIPTDIR disable=SC2317
. "$(dirname "$0")/../lib/mount.sh"

: "${FSCK:?the path of ropefs-fsck}"
FILE_MIB=4

on_tmpfs() {
	mount -t tmpfs -o size=160m,mode=755 none "$T/disk"
}

on_ext4() {
	truncate -s 160M "$T/image" && mkfs.ext4 -q -m 0 "$T/image" 2>/dev/null &&
		mount -o loop "$T/image" "$T/disk" 2>/dev/null
}

new_file() {	# N: makes $PLAIN/N and writes it through the mount, synced
	[[ -e $PLAIN/$1 ]] || head -c "${FILE_MIB}M" /dev/urandom >"$PLAIN/$1"
	timeout 60 dd if="$PLAIN/$1" of="$MNT/$1" bs=128K conv=fsync status=none 2>"$T/dd"
}

# Files until there is no room; $FULL is the first that didn't fit.
fill() {
	for ((FULL = 0; FULL < 60; FULL++)); do
		new_file $FULL || return 0
	done
	return 1
}

compare() {	# FROM TO: files that were acknowledged
	local i
	for ((i = $1; i < $2; i++)); do
		cmp "$PLAIN/$i" "$MNT/$i" || return 1
	done
}

# What became of the file that didn't fit is a beginning of it.
is_beginning() {
	local n
	n=$(stat -c %s "$MNT/$1" 2>/dev/null) || return 0
	cmp -n "$n" "$PLAIN/$1" "$MNT/$1"
}

# Space comes back when a checkpoint has been made and the garbage collected.
write_again() {
	until_true 120 new_file "$1" || { cat "$T/dd"; return 1; }
}

kill_daemon() {
	local pid
	pid=$(fs_pid)
	kill -9 "$pid"
	wait_gone "$pid" 60
	unmount "$MNT"
}

again_and_again() {
	local i
	for i in 1 2 3; do
		kill_daemon && fs_start --memory 64M || return 1
	done
}

status_lines() {
	timeout 60 cat "$MNT/.ropefs/status"
}

rounds() {	# KIND
	local kind=$1 avail
	STORE=$T/disk/store KEY=$T/key-$kind
	ok "$kind: a store" "$ROPECTL" init "$STORE" --key-file "$KEY"
	ok "$kind: mount" fs_start --memory 64M
	avail=$(df --output=avail -k "$MNT" | tail -n1)
	fill
	result $? "$kind: files until nothing fits" "$FULL files"
	ok "$kind: df promised no more ($avail KiB) than fitted ($FULL files)" \
		test $((FULL * FILE_MIB * 1024)) -ge $((avail * 3 / 4))
	ok "$kind: and promises nothing more" \
		test "$(df --output=avail -k "$MNT" | tail -n1)" -lt $((avail / 4))
	is "$kind: dd says why" "$(grep -c 'No space left on device' "$T/dd")" 1
	ok "$kind: enough fitted" test "$FULL" -ge 12
	ok "$kind: all acknowledged files can be read" compare 0 "$FULL"
	ok "$kind: the last is a beginning" is_beginning "$FULL"
	is "$kind: the store is not read-only" \
		"$(status_lines | grep -c '"read_only": true')" 0
	ok "$kind: sync works" "$ROPECTL" sync "$MNT"
	ok "$kind: kill -9" kill_daemon
	ok "$kind: a full disk can be mounted" fs_start --memory 64M
	ok "$kind: and after another kill" again_and_again
	ok "$kind: nothing is lost" compare 0 "$FULL"
	ok "$kind: the last is still a beginning" is_beginning "$FULL"
	ok "$kind: files can be removed" rm -f "$MNT/$FULL" "$MNT"/{0,1,2,3,4,5}
	ok "$kind: writing goes on without a new mount" write_again 100
	ok "$kind: the rest is there" compare 6 "$FULL"

	# Others take the last byte: ropefs can reserve nothing then.
	others 0
	ok "$kind: with nothing left, reading goes on" compare 6 "$FULL"
	fails "$kind: with nothing left, writing says so" "No space left on device" refuse 101
	ok "$kind: with nothing left, removing works" rm "$MNT/6"
	rm "$T/disk"/others*
	ok "$kind: with room again writing goes on" write_again 102

	# Nobody writes: what was removed is given back all the same, and people are told.
	rm -f "$MNT"/[0-9]*
	ok "$kind: df says so once it is emptied" room_again $((avail / 2))
	is "$kind: so does status" "$("$ROPECTL" status "$MNT" | grep -c 'DISK FULL')" 0
	for i in 7 8 102; do new_file $i; done; FULL=9

	ok "$kind: unmount" fs_stop
	ok "$kind: fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
	ok "$kind: mount again" fs_start --memory 64M
	ok "$kind: all is there" compare 7 "$FULL"
	ok "$kind: the new ones too" cmp "$PLAIN/102" "$MNT/102"
	ok "$kind: end" fs_stop
}

room_again() {	# KIB
	has_room() { (($(df --output=avail -k "$MNT" | tail -n1) > $1)); }
	until_true 120 has_room "$1" || { df -k "$MNT"; return 1; }
}

others() {
	local left

	left=$(df --output=avail -k "$T/disk" | tail -n1)
	[ "$left" -le 128 ] || fallocate -l "$((left - 64))K" "$T/disk/others$1"
}

# A collection may just have given back what was removed: then the others take that too.
refuse() {
	local try

	for try in 1 2 3 4 5; do
		others "$try"
		new_and_tell "$1" || return 1
	done
}

new_and_tell() {
	new_file "$1" || { cat "$T/dd"; return 1; }
}

mkdir "$T/disk"
for kind in tmpfs ext4; do
	if "on_$kind"; then
		rounds "$kind"
		unmount "$T/disk"
	else
		echo "# $kind: can't be made here"
	fi
	rm -f "$PLAIN"/*
done
finish
