#!/bin/bash
# The daemon is killed with SIGKILL under programs that append, insert through views, create,
# rename and unlink; ROUNDS times (50). mount_kill.c tells what must be there afterwards.
. "$(dirname "$0")/../lib/mount.sh"

out=$("$MOUNT_KILL" "$STORE" "$KEY" "$MNT" 2>&1)
status=$?
sed 's/^/# /' <<<"$out"
result $status "a killed daemon loses nothing that was synced, and order holds" \
	"status $status"
grep -q " [1-9][0-9]* steps durable, .* [1-9][0-9]* checkpoints" <<<"$out"
result $? "steps had been durable, and checkpoints written"
ok "fsck finds the store whole, as the last kill left it" "$FSCK" --key-file "$KEY" "$STORE"
ok "it mounts" fs_start
ok "and unmounts" fs_stop
ok "fsck finds it whole after that" "$FSCK" --key-file "$KEY" "$STORE"
finish
