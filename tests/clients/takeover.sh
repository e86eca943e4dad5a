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
field() { sed -n "s/.*\"$1\":[[:space:]]*\([0-9]*\).*/\1/p" "$MNT/.ropefs/status" | head -n 1; }
inodes() { field inodes; }
echo edited >"$MNT/edited"
before=$(inodes)
python3 "$here/takeover_work.py" begun "$MNT/edited" 0 "$T/enough" >"$T/begun" 2>&1 &
begun=$!
until_true 60 grep -q edited "$T/begun"
more=$(inodes)
((more > before))
result $? "a transaction has a copy of its file" "$before inodes, then $more"
killed
sleep 4	# longer than it takes until what nobody has is let go
after=$(inodes)
((after == more))
result $? "which stays when the daemon dies" "$more inodes, then $after"
signal_child TERM "$begun"
wait $begun 2>/dev/null
is_back() { (($(inodes) <= before)); }
until_true 120 is_back
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
dropped() { sed -n 's/^ropefs_invalidations_total //p' "$MNT/.ropefs/metrics"; }
(($(dropped) > 0))
result $? "the next daemon told the kernel"
killed
is "so that none has to again" "$(dropped)" 0
ok "umount" ended
# The work is done by daemons of which each dies as SETTING says, or that lose something so.
done_by() {	# SETTING=VALUE JOB FILE TEXT [DEATHS]: so many at least
	local deaths
	export "ROPEFS_TEST_$1"
	fs_start -o supervise=on,memory=64M,allow_other || exit 1
	unset "ROPEFS_TEST_${1%%=*}"
	out=$(timeout 400 python3 "$here/takeover_work.py" "$2" "$MNT/$3" 0 "$T/enough" 2>&1)
	result $? "$4: $(tail -n 1 <<<"$out")" "$out"
	if [[ -n ${5-} ]]; then
		deaths=$(field takeovers)
		((deaths >= $5))
		result $? "each died: $deaths"
	fi
	ok "umount" ended
}
done_by DIE_UNTOLD=1 names named "a commit that moved a name is seen"
done_by DIE_UNTOLD=1 wide wide "a commit of many files is seen"
done_by DIE_UNANSWERED=60 once once "what was done before the daemon died is done once" 20
done_by DIE_CHANGED=9 pieces pieces "numbers are added once, killed around each change" 3
done_by DIE_UNANSWERED=9 appender appender "a file is made once" 1
done_by DIE_CHANGED=3 unchanged unchanged "a file is written if nobody changed it"
done_by DIE_CHANGED=3 overtaken overtaken "what others write meanwhile is not lost" 3
done_by NONE= privileged privileged "what others edit loses its set-id bits"
done_by NONE= room room "there is no more room than before"
# More at once than the answers that a row of a transaction has.
done_by DIE_UNANSWERED=20 crowd crowd "a hundred threads edit in one transaction" 2
done_by DIE_CHANGED=20 crowd halves "and are killed in the middle of an edit" 2
done_by TXN_LOST=1 lost lost "one that can't be taken over is refused, and begun again"
# Killed at each step of a transaction: between two changes of one edit, before each answer.
done_by DIE_CHANGED=200 steps changed "transactions go on, killed between changes" 6
done_by DIE_UNANSWERED=200 steps unanswered "transactions go on, killed before answers" 6

# --- another version is installed meanwhile ---

installed=$(for_others "$ROPEFS")
ROPEFS=$installed fs_start -o supervise=on,memory=64M || exit 1
mv "$installed" "$T/before"
installs() {	# TEXT: of the program
	printf '#!/bin/sh\n%s\n' "$1" >"$installed.new"
	chmod 755 "$installed.new"
	mv "$installed.new" "$installed"
}
exec 7>>"$MNT/held"
first=$(fs_pid)
installs 'exit 1'
fails "a program that does not know of takeovers takes none over" "unmount and mount again" \
	timeout 100 "$ROPECTL" restart "$MNT"
installs "ROPEFS_TEST_KEEP_VERSION=0 exec '$T/before' \"\$@\""
fails "nor does a version that reads other memory" "unmount and mount again" \
	timeout 100 "$ROPECTL" restart "$MNT"
is "the daemon goes on" "$(fs_pid)" "$first"
ok "and open files with it" eval 'echo before >&7'
killed
ok "after its death that version is not let at it" eval 'echo after >&7'
[[ $(fs_pid) != "$first" ]] && ! grep -q KEEP_VERSION "/proc/$(fs_pid)/environ"
result $? "but one of the version before" "$first, then $(fs_pid)"
installs "exec '$T/before' \"\$@\""
ok "the same version takes over" timeout 100 "$ROPECTL" restart "$MNT"
echo last >&7
exec 7>&-
is "and all is there" "$(tr '\n' ' ' <"$MNT/held")" "before after last "
ok "umount" ended
fs_start -o supervise=on,memory=64M || exit 1

# --- more open files than there are rows for ---

ulimit -n 8000
python3 "$here/takeover_work.py" many "$MNT/cached@bytes=0..3" 0 "$T/killed" >"$T/many" 2>&1 &
many=$!
until_true 120 grep -q opened "$T/many"
killed
: >"$T/killed"
wait $many
result $? "those without a row are stale, the others go on: $(tail -n 1 "$T/many")" \
	"$(cat "$T/many")"
ok "umount" timeout 60 "$ROPECTL" umount "$MNT"
ok "fsck" "$FSCK" --key-file "$KEY" "$STORE"
finish
