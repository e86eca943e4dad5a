#!/bin/bash
# A randomised stress: many workers do everything that can be done to files (stress_model.h), in
# a mount with little memory, while checkpoints are written and garbage is made and collected.
# What they read, what is there after a remount, and after kill -9 of the daemon, is what their
# models say; fsck finds the store whole. TEST_SECONDS says how long; SEED makes the same again.
TEST_LIMIT_S=$((${TEST_SECONDS:-20} * 3 + 900))
. "$(dirname "$0")/../lib/mount.sh"
: "${STRESS:?}" "${FSCK:?}"
seconds=${TEST_SECONDS:-20} workers=${WORKERS:-6}
SEED=${SEED:-$RANDOM$RANDOM}
echo "# SEED=$SEED"
RANDOM=$((SEED % 32768))
noise_pid=''
# Not killed: what it runs would outlive it, and keep the mount busy.
stop_noise() {
	: >"$T/quiet"
	[[ -z $noise_pid ]] || wait "$noise_pid"
	noise_pid=''
	rm -f "$T/quiet"
}
trap 'stop_noise; cleanup' EXIT

# Garbage, and readers. Workers' files are looked at by nobody else: what the kernel remembers of
# a folder or of links is wrong at times when that is asked in the midst of a change
# (docs/CONFORMANCE.md).
noise() {
	mkdir -p "$MNT/noise"
	while [[ ! -e $T/quiet ]]; do
		head -c 3000000 "$T/random" >"$MNT/noise/big"
		cp "$MNT/noise/big" "$MNT/noise/copy"
		ls -lR "$MNT/noise" >/dev/null
		cat "$MNT/.ropefs/status" "$MNT/.ropefs/metrics" >/dev/null
		rm -f "$MNT/noise/big" "$MNT/noise/copy"
		sleep 0.1
	done 2>/dev/null
}

# All workers at once, each in a folder of its own.
work() {	# run|killed SECONDS
	local i pids=()
	for ((i = 1; i <= workers; i++)); do
		mkdir "$MNT/$1$i"
		rm -f "$T/$1$i"
		"$STRESS" "$1" "$MNT/$1$i" $((SEED + round * 100 + i)) "$2" "$T/$1$i" \
			>"$T/said$i" 2>&1 &
		pids+=($!)
	done
	all_end "${pids[@]}"
}
all_end() {
	local pid bad=0
	for pid in "$@"; do
		wait "$pid" || bad=1
	done
	return $bad
}
compare() {	# run|killed check|check-killed
	local i bad=0
	for ((i = 1; i <= workers; i++)); do
		"$STRESS" "$2" "$MNT/$1$i" $((SEED + round * 100 + i)) "$T/$1$i" \
			>"$T/said$i" 2>&1 || bad=1
	done
	return $bad
}
said() {
	local i
	for ((i = 1; i <= workers; i++)); do
		sed "s/^/worker $i (seed $((SEED + round * 100 + i))): /" "$T/said$i"
	done
}
killer() {
	sleep "$1"
	fs_kill
}

# What the daemon did besides; a sum over all rounds.
declare -A jobs=()
note_jobs() {
	local name n
	for name in checkpoints collections leaves_defragmented; do
		n=$(sed -n "s/.*\"$name\":[[:space:]]*\([0-9]*\).*/\1/p" "$MNT/.ropefs/status")
		jobs[$name]=$((${jobs[$name]:-0} + ${n:-0}))
	done
}

head -c 3000000 /dev/urandom >"$T/random"
fs_start --memory 64M || exit 1
begun=$SECONDS
for ((round = 1; SECONDS - begun < seconds || round == 1; round++)); do
	rm -rf "$MNT"/run* "$MNT"/killed*
	noise &
	noise_pid=$!
	work run $((seconds < 60 ? 5 : 20))
	result $? "$round: workers read what they wrote" "$(said)"
	stop_noise
	note_jobs
	ok "$round: the mount is renewed" fs_restart --memory 64M
	compare run check
	result $? "$round: and holds the same" "$(said)"
	noise &
	noise_pid=$!
	killer $((1 + RANDOM % 4)).$((RANDOM % 10)) &
	killer_pid=$!
	work killed 60
	result $? "$round: workers read what they wrote, until the daemon is killed" "$(said)"
	wait "$killer_pid"
	result $? "$round: it dies"
	stop_noise
	ok "$round: it mounts again" fs_start --memory 64M
	compare killed check-killed
	result $? "$round: all that was synced is there, and the rest in its order" "$(said)"
	said | sed 's/^/# /'
	compare run check
	result $? "$round: and what was there before" "$(said)"
	ok "$round: the mount ends" fs_stop
	ok "$round: fsck finds the store whole" "$FSCK" --key-file "$KEY" "$STORE"
	ok "$round: it mounts again" fs_start --memory 64M
done
for name in "${!jobs[@]}"; do
	echo "# $name: ${jobs[$name]}"
	((seconds < 600 || jobs[$name] > 0))
	result $? "$name were made meanwhile, if it was for long"
done
finish
