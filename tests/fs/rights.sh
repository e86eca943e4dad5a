#!/bin/bash
# A user without rights reads, names, follows, snapshots and edits nothing that plain permissions
# deny: by views, ioctls, cursors, transactions, snapshots and .ropefs. With tools/test --long the random
# calls are more, and others each time; SEED and STEPS say which.
. "$(dirname "$0")/../lib/mount.sh"
needs setfacl
here=$(cd "$(dirname "$0")" && pwd)
long=$((${TEST_SECONDS:-0} >= 60))
seed=${SEED:-$((long ? RANDOM * RANDOM + 1 : 1))} steps=${STEPS:-$((long ? 20000 : 1500))}
echo "# SEED=$seed"

in_mount() { (cd "$MNT" && timeout 600 python3 "$here/rights.py" "$@"); }

run() {	# what rights.py says, as ours
	in_mount "$@" >"$T/$1"
	while read -r line; do
		case $line in
		"ok "*) result 0 "${line#*- }" ;;
		"not ok "*) result 1 "${line#*- }" ;;
		"#"*) echo "$line" ;;
		esac
	done <"$T/$1"
	ok "$1: to the end" grep -q '^1\.\.' "$T/$1"
}

unchanged() {
	in_mount digest >"$T/after" && diff "$T/before" "$T/after"
}

fs_start -o allow_other || exit 1
pid=$(fs_pid)
ok "files of root" in_mount make
in_mount digest >"$T/before"
ok "which are looked at" grep -q 'cursor of queues/public' "$T/before"
run told
ok "all is as it was" unchanged
run random "$seed" "$steps"
ok "all is as it was still" unchanged
is "the daemon is the same" "$(fs_pid)" "$pid"
ok "unmount" fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
