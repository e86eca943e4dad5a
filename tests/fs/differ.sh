#!/bin/bash
# Random sequences of system calls, by several users, on files, folders, links, devices, maps, access
# lists and attributes (differ.c): each call says and does the same in an ordinary folder and in
# the mount. SEED and CALLS make one of them again; tools/test --long makes other ones.
. "$(dirname "$0")/../lib/mount.sh"
: "${DIFFER:?}"
if [[ $(stat -fc %T "$PLAIN") != ext2/ext3 ]]; then
	echo "1..0 # SKIP what the calls say is that of ext4"
	exit 0
fi
seeds=(31 32)
((${TEST_SECONDS:-0} < 60)) || seeds=($RANDOM $RANDOM $RANDOM $RANDOM $RANDOM $RANDOM)
[[ -z ${SEED-} ]] || seeds=("$SEED")
calls=${CALLS:-3000}

same_calls() {	# SEED
	local in
	for in in "$PLAIN" "$MNT"; do
		mkdir "$in/$1" && timeout 100 "$DIFFER" "$1" "$calls" "$in/$1" >"$T/$1.${in##*/}" ||
			return 1
		rm -rf "${in:?}/$1"
	done
	diff "$T/$1.plain" "$T/$1.mnt" | head -n 40
	cmp "$T/$1.plain" "$T/$1.mnt"
}

fs_start -o allow_other,suid,dev || exit 1
for seed in "${seeds[@]}"; do
	ok "SEED=$seed: $calls calls" same_calls "$seed"
done
ok "the mount ends" fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
