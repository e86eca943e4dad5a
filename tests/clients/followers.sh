#!/bin/bash
# 64 followers with pauses and restarts (followers.py); names that many files get, one after
# another (rotations.py); workers that share a cursor, killed as is
# the daemon (workers.py); signals for who waits (signals.py). SEED= says where it begins.
. "$(dirname "$0")/../lib/mount.sh"
needs python3
here=$(cd "$(dirname "$0")" && pwd) || exit 1
records=800
((${TEST_SECONDS:-0} >= 60)) && records=6000
seed=${SEED:-$RANDOM}
echo "# SEED=$seed"
export MNT STORE KEY

fs_start || exit 1
ok "each follower sees each record once, in order" \
	python3 "$here/followers.py" $records "$seed"
fs_restart || exit 1
ok "no file that had the name is overlooked" python3 "$here/rotations.py"
ok "signals end the reads that they should, of those that wait" python3 "$here/signals.py"
ok "workers that share a cursor lose no record" \
	python3 "$here/workers.py" $records "$seed" "$T/done"
fs_stop
ok "fsck finds nothing" "$FSCK" --key-file "$KEY" "$STORE"
finish
