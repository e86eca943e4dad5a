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
jobs=(follow texts polls parts renamed rotated ranges adds txns steps runs snaps unnamed)

work() {	# HOW: replaces the daemon by HOW while all jobs run
	local pids=() how=$1 n=0 begun=$SECONDS job i
	rm -f "$T/enough"
	for job in "${jobs[@]}"; do
		mkdir "$MNT/$how.$job"
		timeout $((seconds * 10 + 200)) python3 "$here/takeover_work.py" "$job" \
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

# Unmounts, and waits for all that belongs to it: the next mount finds the store free.
ended() {
	local supervisor
	supervisor=$(sed -n 's/.*"supervisor": \([0-9]*\),.*/\1/p' "$MNT/.ropefs/status")
	timeout 120 "$ROPECTL" umount "$MNT" && wait_gone "${supervisor:-1}" 60
}

restarted() {
	timeout 100 "$ROPECTL" restart "$MNT" >"$T/restart" 2>&1
}

fs_start -o supervise=on,memory=64M || exit 1
work killed
work restarted

# --- what a daemon leaves behind ---

# A mount of its own: what the jobs left goes with theirs, not while it is counted.
ok "umount" ended
fs_start -o supervise=on,memory=64M || exit 1
inodes() { sed -n 's/.*"inodes":[[:space:]]*\([0-9]*\).*/\1/p' "$MNT/.ropefs/status" | head -n 1; }
echo edited >"$MNT/edited"
before=$(inodes)
python3 "$here/takeover_work.py" begun "$MNT/edited" 0 "$T/enough" >"$T/begun" 2>&1 &
begun=$!
for ((i = 0; i < 1200; i++)); do
	grep -q edited "$T/begun" && break
	sleep 0.05
done
more=$(inodes)
((more > before))
result $? "a transaction has a copy of its file" "$before inodes, then $more"
killed
sleep 4	# longer than it takes until what nobody has is let go
after=$(inodes)
((after == more))
result $? "which stays when the daemon dies" "$more inodes, then $after"
kill $begun
wait $begun 2>/dev/null
for ((i = 0; i < 2400; i++)); do
	(($(inodes) <= before)) && break
	sleep 0.05
done
after=$(inodes)
((after <= before))
result $? "and goes with the transaction" "$before inodes before, $after then"

ok "umount, and nothing runs on" ended

# Killed when an edit is done, and the kernel not told: what was read before it is not kept.
export ROPEFS_TEST_DIE_UNTOLD=1
fs_start -o supervise=on,memory=64M || exit 1
unset ROPEFS_TEST_DIE_UNTOLD
first=$(fs_pid)
yes | head -c 20000 >"$MNT/cached"
while [[ -e $MNT/cached && ! -e $T/told ]]; do cat "$MNT/cached" >/dev/null; done &
reader=$!
ok "a view is written" timeout 120 bash -c 'echo NEW >"$0"' "$MNT/cached@bytes=0..2"
is "its bytes are read" "$(head -c 8 "$MNT/cached")" "NEW
y
y"
[[ $(fs_pid) != "$first" ]]
result $? "by another daemon"
: >"$T/told"
wait $reader
is "the size is right" "$(stat -c %s "$MNT/cached")" 20002
ok "umount" ended
export ROPEFS_TEST_DIE_UNTOLD=1
fs_start -o supervise=on,memory=64M || exit 1
unset ROPEFS_TEST_DIE_UNTOLD
out=$(timeout 120 python3 "$here/takeover_work.py" names "$MNT/named" 0 "$T/enough" 2>&1)
result $? "a commit that moved a name is seen: $(tail -n 1 <<<"$out")" "$out"
ok "umount" ended
# So many daemons at least.
each_died() {
	local deaths
	deaths=$(sed -n 's/.*"takeovers":[[:space:]]*\([0-9]*\).*/\1/p' "$MNT/.ropefs/status")
	((deaths >= $1))
	result $? "each died: $deaths"
}
export ROPEFS_TEST_DIE_UNANSWERED=60
fs_start -o supervise=on,memory=64M || exit 1
unset ROPEFS_TEST_DIE_UNANSWERED
out=$(timeout 400 python3 "$here/takeover_work.py" once "$MNT/once" 0 "$T/enough" 2>&1)
result $? "what was done before the daemon died is done once: $(tail -n 1 <<<"$out")" "$out"
each_died 20
ok "umount" ended
# More at once than the answers that a row of a transaction has: one in some twenty runs still
# finds an edit that was done twice (docs/ARCHITECTURE.md).
if ((${TEST_SECONDS:-0} >= 60)); then
	export ROPEFS_TEST_DIE_UNANSWERED=20
	fs_start -o supervise=on,memory=64M || exit 1
	unset ROPEFS_TEST_DIE_UNANSWERED
	out=$(timeout 400 python3 "$here/takeover_work.py" crowd "$MNT/crowd" 0 "$T/enough" 2>&1)
	result $? "a hundred threads edit in one transaction: $(tail -n 1 <<<"$out")" "$out"
	each_died 2
	ok "umount" ended
fi

export ROPEFS_TEST_TXN_LOST=1
fs_start -o supervise=on,memory=64M || exit 1
unset ROPEFS_TEST_TXN_LOST
out=$(timeout 200 python3 "$here/takeover_work.py" lost "$MNT/lost" 0 "$T/enough" 2>&1)
result $? "one that can't be taken over is refused, and begun again: $(tail -n 1 <<<"$out")" "$out"
ok "umount" ended

# Killed at each step of a transaction: between two changes of one edit, before each answer.
for how in CHANGED UNANSWERED; do
	export ROPEFS_TEST_DIE_$how=200
	fs_start -o supervise=on,memory=64M || exit 1
	unset ROPEFS_TEST_DIE_$how
	mkdir "$MNT/$how"
	out=$(timeout 400 python3 "$here/takeover_work.py" steps "$MNT/$how" 0 "$T/enough" 2>&1)
	result $? "transactions go on, killed $how: $(tail -n 1 <<<"$out")" "$out"
	each_died 6
	ok "umount" ended
done
fs_start -o supervise=on,memory=64M || exit 1

# --- more open files than there are rows for ---

ulimit -n 8000
python3 "$here/takeover_work.py" many "$MNT/cached@bytes=0..3" 0 "$T/killed" >"$T/many" 2>&1 &
many=$!
for ((i = 0; i < 2400; i++)); do
	grep -q opened "$T/many" && break
	sleep 0.05
done
killed
: >"$T/killed"
wait $many
result $? "those without a row are stale, the others go on: $(tail -n 1 "$T/many")" \
	"$(cat "$T/many")"
ok "umount" timeout 60 "$ROPECTL" umount "$MNT"
ok "fsck" "$FSCK" --key-file "$KEY" "$STORE"
finish
