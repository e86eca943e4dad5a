#!/usr/bin/env bash
# Power cuts of a disk, ext4 and xfs on it, and a store on that: all that reaches the disk is
# recorded (disk_log.c), and at CUTS places (12 of each; with --long 1,500) the disk is made as it
# may be after a cut there. What was acknowledged before it must be there (disk_cuts.py).
# shellcheck source-path=SCRIPTDIR
long=$((${TEST_SECONDS:-0} >= 60))
TEST_LIMIT_S=$((long ? 5400 : 580))
. "$(dirname "$0")/../lib/mount.sh"
needs mkfs.ext4 mkfs.xfs losetup python3
export ROPEFS FSCK HISTORY KEY MNT T
export CUTS=${CUTS:-$((long ? 1500 : 12))} SEED=${SEED:-$RANDOM$RANDOM}
STEPS=${STEPS:-$((long ? 3000 : 150))}
echo "# SEED=$SEED"

mkdir "$T/log" "$T/disk" "$T/cut"
LOOP='' LOGGER=''
away() {
	unmount "$MNT"
	unmount "$T/disk"
	[[ -z $LOOP ]] || losetup -d "$LOOP"
	LOOP=
	[[ -z $LOGGER ]] || { unmount "$T/log" || kill "$LOGGER"; wait "$LOGGER"; }
	LOGGER=
} >/dev/null 2>&1
trap 'away; cleanup' EXIT

disk() {	# TYPE
	rm -f "$T/made"
	truncate -s 320M "$T/made" && "mkfs.$1" -q "$T/made" >/dev/null 2>&1 || return 1
	"$DISK_LOG" "$T/made" "$T/record" "$T/log" &
	LOGGER=$!
	until_true 60 test -e "$T/log/disk"
	LOOP=$(losetup -f --show "$T/log/disk" 2>/dev/null) && mount -t "$1" "$LOOP" "$T/disk"
}

for type in ext4 xfs; do
	if ! disk $type; then
		echo "# $type on a loop device that is recorded can't be mounted here"
		away
		continue
	fi
	KEY=$T/key-$type
	ok "$type: init" "$ROPECTL" init "$T/disk/store" --key-file "$KEY"
	sync -f "$T/disk"
	ok "$type: it mounts" timeout 60 "$ROPEFS" --key-file "$KEY" -o memory=32M \
		"$T/disk/store" "$MNT"
	pid=$(fs_pid)
	ok "$type: a history" timeout 300 "$HISTORY" record "$MNT/work" "$T/log/mark" "$STEPS"
	ok "$type: it unmounts" unmount "$MNT"
	ok "$type: and ends" wait_gone "$pid" 60
	away
	out=$(python3 "$(dirname "$0")/disk_cuts.py" "$T/made" "$T/record" "$type" "$CUTS" 2>&1)
	result $? "$type: each cut leaves what was acknowledged: $(tail -n 1 <<<"$out")" "$out"
done
((N > 0)) || echo "1..0 # SKIP needs a loop device with ext4 or xfs"
((N == 0)) || finish
