#!/usr/bin/env bash
# Power cuts of ext4 and xfs below the store, at any moment of work of several programs and of
# recovery: ROUNDS of each (5; with --long 150). mount_kill.c tells what must be there afterwards.
# shellcheck source-path=SCRIPTDIR disable=SC2317
long=$((${TEST_SECONDS:-0} >= 60))
TEST_LIMIT_S=$((long ? 5400 : 580))
. "$(dirname "$0")/../lib/mount.sh"
needs mkfs.ext4 mkfs.xfs losetup
export ROUNDS=${ROUNDS:-$((long ? 150 : 5))}
export LOWER_DEVICE LOWER_TYPE LOWER_DIR=$T/disk

mkdir "$T/disk"
away() {
	unmount "$T/disk" >/dev/null
	[[ -z ${LOWER_DEVICE-} ]] || losetup -d "$LOWER_DEVICE"
	LOWER_DEVICE=
}
trap 'cleanup_lower' EXIT
cleanup_lower() { away; cleanup; }

disk() {	# TYPE
	LOWER_TYPE=$1
	rm -f "$T/image"
	truncate -s 320M "$T/image" && "mkfs.$1" -q "$T/image" >/dev/null 2>&1 &&
		LOWER_DEVICE=$(losetup -f --show "$T/image") &&
		mount -t "$1" "$LOWER_DEVICE" "$T/disk"
}

for type in ext4 xfs; do
	if ! disk $type; then
		echo "# $type can't be mounted here"
		away
		continue
	fi
	STORE=$T/disk/store KEY=$T/key-$type
	"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null && sync -f "$STORE" || exit 1
	out=$("$MOUNT_KILL" "$STORE" "$KEY" "$MNT" 2>&1)
	status=$?
	sed 's/^/# /' <<<"$out"
	result $status "$type: nothing that was synced is lost, and order holds" "status $status"
	grep -q ' [1-9][0-9]* steps durable' <<<"$out"
	result $? "$type: steps had been durable"
	ok "$type: fsck finds the store whole" "$FSCK" -q -k "$KEY" "$STORE"
	ok "$type: it mounts" fs_start
	ok "$type: and unmounts" fs_stop
	away
done
((N > 0)) || echo "1..0 # SKIP needs a loop device with ext4 or xfs"
((N == 0)) || finish
