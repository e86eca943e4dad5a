#!/usr/bin/env bash
# A supervised daemon that stops moving while fio works is replaced, and fio sees no error. On a
# kernel that can't send requests again (forced here), those under way when the daemon dies fail,
# and nothing hangs.
# shellcheck source-path=SCRIPTDIR disable=SC2317
TEST_LIMIT_S=${TEST_LIMIT_S:-580}
. "$(dirname "$0")/../lib/mount.sh"
needs fio
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
