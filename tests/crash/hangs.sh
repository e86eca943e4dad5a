#!/usr/bin/env bash
# A supervised daemon that stops moving while fio works is replaced, and fio sees no error. On a
# kernel that can't send requests again (forced here), those under way when the daemon dies fail,
# and nothing hangs.
# shellcheck source-path=SCRIPTDIR disable=SC2317
TEST_LIMIT_S=${TEST_LIMIT_S:-580}
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/traced.sh"
needs fio strace
here=$(cd "$(dirname "$0")" && pwd)

# --- it hangs ---

fs_start -o supervise=on,watchdog=2,memory=64M || exit 1
fio --name=v --directory="$MNT" --size=8M --rw=randrw --bs=4k --verify=crc32c --verify_fatal=1 \
	--verify_backlog=256 --verify_state_save=0 --fsync=64 --loops=1000 --time_based \
	--runtime=5 >"$T/fio" 2>&1 &
fio=$!
until_true 60 test -s "$MNT/v.0.0"	# it works
first=$(fs_pid)
kill -STOP "$first"
second=$(timeout 120 sed -n 's/.*"pid": \([0-9]*\), "uptime.*/\1/p' "$MNT/.ropefs/status")
[[ -n $second && $second != "$first" ]]
result $? "a daemon that hangs is replaced" "first $first, then $second"
wait $fio
result $? "fio sees no error" "$(tail -n 20 "$T/fio")"
ok "unmount" fs_stop

# --- the machine stands still, and goes on ---

fs_start -o supervise=on,watchdog=3 || exit 1
first=$(fs_pid)
supervisor=$(sed -n 's/.*"supervisor": \([0-9]*\),.*/\1/p' "$MNT/.ropefs/status")
kill -STOP "$first"	# the daemon first, so that it is seen not to move
sleep 1.3
kill -STOP "$supervisor"
sleep 3.5
kill -CONT "$supervisor"
sleep 0.3
kill -CONT "$first"
is "a daemon that stood still with its supervisor is none that hangs" "$(fs_pid)" "$first"
ok "unmount" fs_stop

# --- killed, while threads wait for what only the next daemon can give ---

workers() { cat "/proc/$supervisor/task/$supervisor/children"; }	# the dead one, too
youngest() { workers | tr ' ' '\n' | sort -n | tail -n 1; }
edit_waits() {	# PID: a thread of edits waits in the kernel, for a page that somebody reads
	local task
	for task in "/proc/$1/task"/*; do
		[[ $(<"$task/comm") != ropefs-edit || $(<"$task/wchan") != *folio* ]] || return 0
	done 2>/dev/null
	return 1
}
another_waits() { [[ $(youngest) -gt $first ]] && edit_waits "$(youngest)"; }

fs_start || exit 1
yes | head -c 100000 >"$MNT/read"
fs_restart -o supervise=on || exit 1	# so that it has to be read from a pack
first=$(fs_pid)
supervisor=$(sed -n 's/.*"supervisor": \([0-9]*\),.*/\1/p' "$MNT/.ropefs/status")
traced "$first" -e trace=pread64 -e inject=pread64:delay_enter=1000000000
timeout 200 head -c 8 "$MNT/read" >"$T/read" &
reader=$!
until_true 60 test -s "$T/trace"
timeout 200 bash -c 'printf NEW >"$0"' "$MNT/read@bytes=0..0" &
editor=$!
ok "an edit waits for a page that is read" until_true 60 edit_waits "$first"
kill -KILL "$first"
signal_child KILL "$tracer"	# it can't let go of the thread that waits
# The next one tells the kernel of the edit before it takes requests.
until_true 60 another_waits && kill -KILL "$(youngest)"
result $? "and so does the next daemon, which is killed before it is ready" "$(workers)"
wait $reader
result $? "the reader gets its bytes" "$(od -c "$T/read")"
wait $editor
result $? "the edit is made"
is "once" "$(head -c 8 "$MNT/read")" "NEWy
y
y"
ok "unmount" fs_stop

# A thread that is still at work on the store is no such: none may begin beside it.
lower=$T/lower lowest=$T/lowest
mkdir "$lower"
"$ROPECTL" init "$lowest" --key-file "$T/lowest.key" >/dev/null &&
	timeout 60 "$ROPEFS" --key-file "$T/lowest.key" "$lowest" "$lower" || exit 1
below=$(MNT=$lower fs_pid)
STORE=$lower/store KEY=$T/upper.key
"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null && fs_start -o supervise=on || exit 1
first=$(fs_pid)
supervisor=$(sed -n 's/.*"supervisor": \([0-9]*\),.*/\1/p' "$MNT/.ropefs/status")
traced "$below" -e trace=fdatasync -e inject=fdatasync:delay_enter=1000000000
echo kept >"$MNT/kept"
timeout 200 sync "$MNT/kept" &
syncs=$!
store_waits() { cat "/proc/$first/task"/*/wchan | grep -q request_wait_answer; }
ok "a daemon waits for the disk below its store" until_true 60 store_waits
kill -KILL "$first"
sleep 1
is "no other is started while it does" "$(workers | wc -w)" 1
untraced
wait $syncs
result $? "then one is, and what was under way is done"
[[ $(cat "$MNT/kept") == kept && $(fs_pid) != "$first" ]]
result $? "by another daemon"
ok "unmount" fs_stop
below_gone() { unmount "$lower" && wait_gone "$below" 60; }
ok "unmount what is below" below_gone
STORE=$T/store KEY=$T/key

# --- a kernel that can't send requests again ---

export ROPEFS_TEST_NO_RESEND=1
fs_start -o supervise=on,memory=64M || exit 1
unset ROPEFS_TEST_NO_RESEND
pids=() kills=0
for job in 1 2 3 4; do
	timeout 120 python3 "$here/no_resend.py" "$MNT" $job 3 "$T/enough" >"$T/$job" 2>&1 &
	pids+=($!)
done
begun=$SECONDS
until ((kills >= 1 && SECONDS - begun >= 3)); do
	sleep 0.5
	pid=$(timeout 60 cat "$MNT/.ropefs/status" 2>/dev/null |
		sed -n 's/.*"pid": \([0-9]*\), "uptime.*/\1/p')
	[[ -n $pid ]] && kill -KILL "$pid" && kills=$((kills + 1))
done
: >"$T/enough"
for i in "${!pids[@]}"; do
	wait "${pids[i]}"
	result $? "program $i goes on: $(tail -n 1 "$T/$((i + 1))"), $kills kills" \
		"$(tail -n 20 "$T/$((i + 1))")"
done
((kills > 0))
result $? "the daemon was killed" "$kills kills"
failed=$(cat "$T"/[1-4] | grep -c '^line [0-9]*: ')
((failed <= kills * 4))
result $? "only what was under way fails: $failed lines" "$(cat "$T"/[1-4])"
ok "unmount" fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
