#!/bin/bash
# Every selector against a list in another language (selected.py): random data, random
# selectors, in rounds. SEED= says where it begins.
. "$(dirname "$0")/../lib/mount.sh"
needs python3
here=$(cd "$(dirname "$0")" && pwd) || exit 1
rounds=3
((${TEST_SECONDS:-0} >= 60)) && rounds=30
seed=${SEED:-$RANDOM}
echo "# SEED=$seed"

export MNT STORE KEY
fs_start || exit 1
mkdir "$MNT/steady"
ok "as the list says" python3 "$here/selected.py" "$MNT/steady" $rounds "$seed"
fs_stop
finish
