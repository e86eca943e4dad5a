#!/usr/bin/env bash
# A daemon with few descriptors, with limits on files, and on a disk whose syncs take long or fail:
# it says so or goes on, and does not hang; and no key is where a core or a file would show it.
# shellcheck source-path=SCRIPTDIR disable=SC2317
TEST_LIMIT_S=${TEST_LIMIT_S:-580}
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/traced.sh"
needs strace
here=$(cd "$(dirname "$0")" && pwd)

with() {	# LIMIT...: mounts under it; works, or fails with a sentence
	local status
	timeout 80 prlimit "$@" "$ROPEFS" --key-file "$KEY" "$STORE" "$MNT" 2>"$T/said"
	status=$?
	[[ $status != 0 ]] || { seq 1000 >"$MNT/limited" && cmp "$MNT/limited" "$T/lines" && fs_stop
		return; }
	cat "$T/said"
	[[ $status -lt 124 && -s $T/said ]] && ! grep -q 'died' "$T/said"
}

seq 1000 >"$T/lines"
for n in 8 16 24 64; do
	ok "$n descriptors" with --nofile=$n
done
ok "files of 1 MiB at most" with --fsize=$((1 << 20))
ok "nothing of it broke the store" "$FSCK" -q -k "$KEY" "$STORE"

fs_start || exit 1
pid=$(fs_pid)
seq 1000 >"$MNT/read" && sync -f "$MNT/read"

# A sync of the log takes 10 s: others read and write meanwhile, ten times at least. Where the
# machine stands still instead they may not come that far: hence more than one try.
others() {
	local try
	for try in 1 2 3 4 5; do
		others_meanwhile || return 1
		[[ $n -ge 10 ]] && return 0
		echo "try $try: $n others"
	done
	return 1
}

others_meanwhile() {
	n=0
	dd if="$T/lines" of="$MNT/slow" conv=fsync status=none &
	local syncer=$!
	while child_runs "$syncer"; do
		echo $n >"$MNT/other" && cmp -s "$MNT/read" "$T/lines" || return 1
		n=$((n + 1))
		sleep 0.01
	done
	wait $syncer
}
traced "$pid" -e trace=fdatasync -e inject=fdatasync:delay_exit=10000000
result $? "the disk gets slow"
ok "a sync that takes 10 s delays those who wait for it only" others
untraced

# A sync that fails is said once to who waits, and the next one goes to another file.
cp "$T/lines" "$MNT/failing"
traced "$pid" -e trace=fdatasync -e inject=fdatasync:error=EIO:when=1
result $? "a sync is going to fail"
dd if="$T/lines" of="$MNT/failing" conv=fsync,notrunc status=none 2>"$T/said"
untraced
ok "what was written is there" cmp "$MNT/failing" "$T/lines"
is "the daemon is the same" "$(fs_pid)" "$pid"

cat "$MNT/.ropefs/status" "$MNT/.ropefs/metrics" "$MNT/.ropefs/remote" >"$T/words"
ok "no key in what a core, the files or the daemon's words show" \
	python3 "$here/find_key.py" "$KEY" "$pid" "$STORE" "$T/words"
fails "it would be found" "has the key" python3 "$here/find_key.py" "$KEY" "$pid" "$KEY"
is "no core is written" "$(awk '/core file/ { print $5 }' "/proc/$pid/limits")" 0
ok "unmount" fs_stop
ok "mount again" fs_start
ok "what was synced is there" cmp "$MNT/slow" "$T/lines"
ok "and the rest" cmp "$MNT/failing" "$T/lines"
ok "end" fs_stop

# Programs that make the daemon hold what they write and never close.
ok "a small daemon" fs_start --memory 32M
ok "what is not closed yet takes no more memory than it may" \
	timeout 300 python3 "$here/staged.py" "$MNT"
ok "end" fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
