#!/bin/bash
# Names that only a broken kernel sends, offsets near 2^63, listing while everything goes: each
# gets its errno, and the store stays whole.
. "$(dirname "$0")/../lib/mount.sh"
here=$(cd "$(dirname "$0")" && pwd)

run() {	# PART of hostile.py, its arguments
	(cd "$MNT" && python3 "$here/hostile.py" "$@") >"$T/$1"
	while read -r line; do
		case $line in
		"ok "*) result 0 "${line#*- }" ;;
		"not ok "*) result 1 "${line#*- }" ;;
		"#"*) echo "$line" ;;
		esac
	done <"$T/$1"
	ok "$1: to the end" grep -q '^1\.\.' "$T/$1"
}

# A sanitizer's library comes first.
real=$ROPEFS ROPEFS=$T/ropefs
sanitizer=$(ldd "$real" | awk '/lib[atu]+b*san/ { print $3 }' | paste -sd:)
printf '#!/bin/sh\nLD_PRELOAD=%s exec %s "$@"\n' "${sanitizer:+$sanitizer:}$RAWNAME" "$real" \
	>"$ROPEFS"
chmod +x "$ROPEFS"
ok "mount, with names rewritten" fs_start
run names
fs_stop
ROPEFS=$real
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
fs_start || exit 1
run offsets
run storm
sum=$(cd "$MNT" && find . | sort)
fs_restart
is "what is left is there after a remount" "$(cd "$MNT" && find . | sort)" "$sum"
fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"

mkdir "$T/disk"
mount -t tmpfs -o size=160m,mode=755 none "$T/disk" || exit 1
STORE=$T/disk/store KEY=$T/key2
"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null
fs_start --memory 32M || exit 1
run full "$T/disk"
run storm "$T/disk"
fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
unmount "$T/disk"
finish
