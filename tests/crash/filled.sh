#!/usr/bin/env bash
# Another program takes the last byte of the disk, and the daemon is killed, again and again: each
# time it comes up, who has files open goes on reading, and with room again writing goes on.
# shellcheck source-path=SCRIPTDIR disable=SC2317
TEST_LIMIT_S=${TEST_LIMIT_S:-580}
. "$(dirname "$0")/../lib/mount.sh"
needs mkfs.ext4

on_disk() {
	truncate -s 96M "$T/image" && mkfs.ext4 -q -m 0 "$T/image" 2>/dev/null && mkdir "$T/disk" &&
		mount -o loop "$T/image" "$T/disk" 2>/dev/null
}

others() {
	dd if=/dev/zero of="$T/disk/others" bs=1M oflag=append conv=notrunc status=none 2>/dev/null
	dd if=/dev/zero of="$T/disk/others" bs=1k oflag=append conv=notrunc status=none 2>/dev/null
	[[ $(df --output=avail -k "$T/disk" | tail -n1) -lt 16 ]]
}

killed() {	# TIMES: the daemon; an open file can be read each time
	local i got
	for ((i = 0; i < $1; i++)); do
		kill -KILL "$(fs_pid)" || return 1
		read -r -u 7 got && [[ $got == "line $2" ]] || { echo "line $2: ${got-}"; return 1; }
		timeout 60 cmp "$MNT/kept" "$PLAIN/kept" || return 1
		set -- "$1" $(($2 + 1))
	done
}

refused() {
	timeout 60 dd if="$PLAIN/kept" of="$MNT/refused" bs=64K 2>&1
}

written() {
	until_true 60 timeout 60 dd if="$PLAIN/kept" of="$MNT/again" bs=64K conv=fsync status=none
}

on_disk || { echo "1..0 # SKIP needs a loop device"; exit 0; }
STORE=$T/disk/store KEY=$T/key-full
"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null || exit 1
fs_start -o supervise=on,memory=64M || exit 1
head -c 3M /dev/urandom >"$PLAIN/kept"
seq -f 'line %g' 200000 >"$MNT/lines"
cp "$PLAIN/kept" "$MNT/kept" && sync -f "$MNT/kept"
exec 7<"$MNT/lines"
ok "others fill the disk" others
ok "the daemon is killed five times, and an open file can be read" killed 5 1
fails "writing says so" "No space left on device" refused
ok "sync works" timeout 60 "$ROPECTL" sync "$MNT"
rm -f "$T/disk/others"
ok "with room again writing goes on" written
ok "what was written is there" cmp "$MNT/again" "$PLAIN/kept"
exec 7<&-
ok "unmount" fs_stop

# Where no checkpoint can be written, only the mount has what rots in the log.
log_rots() {
	local segment
	segment=$(find "$STORE/wal" -name '*.wal' | sort | tail -1)
	flip "$segment" $((4096 + 30))
}
scrub() { timeout 100 "$ROPECTL" scrub "$@" "$MNT" 2>&1; }
fs_start -o memory=64M || exit 1
head -c 200000 /dev/urandom >"$PLAIN/fresh"
ok "a file is synced" dd if="$PLAIN/fresh" of="$MNT/fresh" bs=64K conv=fsync status=none
ok "others fill the disk" others
log_rots
says=$(scrub)
is "a scrub of a rotten log on a full disk" "$? $(grep -c 'can be written: keep the store mounted' <<<"$says") $(
	tail -n 1 <<<"$says" | grep -c 'keep it mounted, make room')" "5 1 1"
is "so says the status" "$("$ROPECTL" status "$MNT" | grep -c 'keep it mounted, make room')" 1
rm -f "$T/disk/others"
is "with room it is mended" "$(scrub --json | grep -c '"whole":[[:space:]]*true')" 1
ok "and a kill" fs_kill
ok "costs nothing" fs_start -o memory=64M
ok "of it" cmp "$MNT/fresh" "$PLAIN/fresh"
ok "unmount" fs_stop

# The same without a supervisor: each mount is a new one.
ok "others fill the disk again" others
again() {
	local i
	for i in 1 2 3 4; do
		fs_start -o memory=64M && cmp "$MNT/kept" "$PLAIN/kept" && fs_kill || return 1
	done
}
ok "it is mounted four times, and killed" again
rm -f "$T/disk/others"
ok "mount" fs_start -o memory=64M
ok "writing goes on" written
ok "end" fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
unmount "$T/disk"
finish
