#!/bin/bash
# System calls: what they say and do is what they say and do in an ordinary directory, or what
# docs/POSIX.md says.
. "$(dirname "$0")/../lib/mount.sh"
fs_start -o allow_other || exit 1
python3 "$(dirname "$0")/posix_calls.py" "$PLAIN" "$MNT" >"$T/calls"
while read -r line; do
	case $line in
	"ok "*) result 0 "${line#*- }" ;;
	"not ok "*) result 1 "${line#*- }" ;;
	"#"*) echo "$line" ;;
	esac
done <"$T/calls"
is "all cases ran" "$(tail -n 1 "$T/calls")" "1..$N"
fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
