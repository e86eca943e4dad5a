#!/usr/bin/env bash
# A mount whose daemon is killed again and again while programs work on it (-o supervise=on):
# they see a pause, no error, and nothing done twice. SECONDS_EACH in the environment: how long.
. "$(dirname "$0")/../lib/mount.sh"

here=$(dirname "$0")
seconds=${SECONDS_EACH:-8}

fs_start -o supervise=on,memory=64M || exit 1

kills=0
jobs=(appends names bytes maps locks)
pids=()
for job in "${jobs[@]}"; do
	timeout $((seconds * 10 + 200)) python3 "$here/supervise_work.py" "$job" "$MNT" "$seconds" "$T/enough" \
		>"$T/$job" 2>&1 &
	pids+=($!)
done
first=$(fs_pid)
begun=$SECONDS
until ((kills >= 3 && SECONDS - begun >= seconds)); do
	sleep 0.3
	pid=$(fs_pid)
	[[ -n $pid ]] && kill -KILL "$pid" && kills=$((kills + 1))
done
: >"$T/enough"
for i in "${!jobs[@]}"; do
	wait "${pids[i]}"
	result $? "${jobs[i]}: $(tail -n 1 "$T/${jobs[i]}") steps with $kills kills" "$(cat "$T/${jobs[i]}")"
done
[[ $kills -ge 3 && $(fs_pid) != "$first" ]]
result $? "the daemon was killed and is another one now" "$kills kills"

# --- one who reads what others append and cut sees neither zeros nor old bytes ---

killed() {	# COMMAND...: the daemon is killed as long as that runs
	local pid
	"$@" &
	while child_runs $!; do
		sleep 0.7
		pid=$(fs_pid)
		[[ -z $pid ]] || kill -KILL "$pid"
	done
	wait $!
}
for how in rotate tail-late; do
	is "a log is read meanwhile: $how" "$(killed timeout 200 "$COHERENT" $how "$MNT/$how" 2000)" ok
done

# --- on purpose (when it hangs: tests/crash/hangs.sh) ---

exec 7>>"$MNT/held"
echo before >&7
pid=$(fs_pid)
ok "ropectl restart" timeout 60 "$ROPECTL" restart "$MNT"
[[ $(fs_pid) != "$pid" ]]
result $? "another daemon serves"
echo after >&7
is "an open file goes on" "$(cat "$MNT/held")" "before
after"
exec 7>&-
supervisor=$(sed -n 's/.*"supervisor": \([0-9]*\),.*/\1/p' "$MNT/.ropefs/status")
ok "umount" timeout 60 "$ROPECTL" umount "$MNT"
ok "nothing is left behind" wait_gone "${supervisor:-1}" 60

fs_start -o supervise=on || exit 1

# --- no daemon comes up ---

mv "$KEY" "$KEY.away"
kill -KILL "$(fs_pid)"
let_go() {
	local status
	timeout 200 cat "$MNT/held"
	status=$?
	[[ $status != 0 && $status != 124 ]]
}
ok "who waits is let go" let_go
umount -l "$MNT"
mv "$KEY.away" "$KEY"
fs_start || exit 1
is "and the store is as it was" "$(cat "$MNT/held")" "before
after"
fails "a mount without supervisor can't be restarted" "has no supervisor" "$ROPECTL" restart "$MNT"

finish
