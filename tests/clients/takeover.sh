#!/bin/bash
# What programs have open of a mount goes on in the next daemon (-o supervise=on): follows at the
# very next byte, views, unfinished lines of queues, transactions, programs that run, files of
# snapshots. The daemon is killed again and again; then replaced on purpose. TEST_SECONDS in the
# environment: how long.
. "$(dirname "$0")/../lib/mount.sh"
needs python3

here=$(dirname "$0")
seconds=${TEST_SECONDS:-3}
export SEED=${SEED:-$RANDOM$RANDOM}
echo "# SEED=$SEED"
jobs=(follow texts polls parts renamed ranges adds txns runs snaps unnamed)

work() {	# HOW: replaces the daemon by HOW while all jobs run
	local pids=() how=$1 n=0 begun=$SECONDS job i
	rm -f "$T/enough"
	for job in "${jobs[@]}"; do
		mkdir "$MNT/$how.$job"
		timeout $((seconds * 10 + 60)) python3 "$here/takeover_work.py" "$job" \
			"$MNT/$how.$job" "$seconds" "$T/enough" >"$T/$how.$job" 2>&1 &
		pids+=($!)
	done
	until ((n >= 2 && SECONDS - begun >= seconds)); do
		sleep 0.3
		"$how" && n=$((n + 1))
	done
	: >"$T/enough"
	for i in "${!jobs[@]}"; do
		wait "${pids[i]}"
		result $? "${jobs[i]}: $(tail -n 1 "$T/$how.${jobs[i]}") with $n times $how" \
			"$(cat "$T/$how.${jobs[i]}")"
	done
	[[ $n -ge 2 ]]
	result $? "the daemon was replaced"
}

killed() {
	local pid
	pid=$(fs_pid)
	[[ -n $pid ]] && kill -KILL "$pid"
}

restarted() {
	timeout 60 "$ROPECTL" restart "$MNT" >"$T/restart" 2>&1
}

fs_start -o supervise=on,memory=64M || exit 1
work killed
work restarted
supervisor=$(sed -n 's/.*"supervisor": \([0-9]*\),.*/\1/p' "$MNT/.ropefs/status")
ok "umount" timeout 60 "$ROPECTL" umount "$MNT"
ok "nothing runs on" wait_gone "${supervisor:-1}" 60
ok "fsck" "$FSCK" --key-file "$KEY" "$STORE"
finish
