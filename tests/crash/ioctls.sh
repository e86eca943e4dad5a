#!/usr/bin/env bash
# Payloads of ioctls, valid, mutated and nonsense: ioctls.py tells more. TEST_SECONDS: how long (2).
# shellcheck source-path=SCRIPTDIR disable=SC2317
TEST_LIMIT_S=${TEST_LIMIT_S:-580}
. "$(dirname "$0")/../lib/mount.sh"
here=$(cd "$(dirname "$0")" && pwd)
SEED=${SEED:-$RANDOM$RANDOM}
echo "# SEED=$SEED"

fs_start --memory 64M || exit 1
pid=$(fs_pid)
mkdir "$MNT/q" && "$ROPECTL" policy set "$MNT/q" kind=queue framing=line && seq 20 >"$MNT/q/lines"
out=$(timeout 500 python3 "$here/ioctls.py" "$MNT" "${TEST_SECONDS:-2}" "$SEED" 2>&1)
result $? "ioctls do what they say, or are refused: $(tail -n 1 <<<"$out")" "$out"
is "the daemon is the same" "$(fs_pid)" "$pid"
ok "unmount" fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
