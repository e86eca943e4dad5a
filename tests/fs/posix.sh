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

# --- durable before it returns ---

fs_restart -o window=60000 || exit 1
behind() {	# how many records are not known on disk
	awk '$1 == "ropefs_lsn" { n += $2 } $1 == "ropefs_durable_lsn" { n -= $2 }
		END { print n }' "$MNT/.ropefs/metrics"
}
change() { echo x >>"$MNT/f"; }
change
is "a change alone waits for the log's time" "$(($(behind) > 0))" 1
synchronous() {	# DESCRIPTION COMMAND...
	local what=$1
	shift
	change
	"$@" 2>"$T/err" || cat "$T/err"
	is "$what is durable when it returns" "$(behind)" 0
}
write() { dd if=/dev/zero of="$MNT/f" bs="$2" count=1 conv=notrunc oflag="$1" status=none; }
synchronous "O_DSYNC" write dsync 100
synchronous "O_SYNC" write sync 1M
synchronous "O_SYNC and O_DIRECT" write direct,sync 4096
synchronous "O_SYNC and O_APPEND" write append,sync 10
call() { python3 -c "import os; fd = os.open('$MNT/f', os.O_RDWR | $1); $2"; }
synchronous "RWF_DSYNC" call 0 "os.pwritev(fd, [b'x'], 0, os.RWF_DSYNC)"
synchronous "fallocate by O_SYNC" call os.O_SYNC "os.posix_fallocate(fd, 0, 3000000)"
synchronous "fdatasync" call 0 "os.fdatasync(fd)"
synchronous "fsync of the directory" sync "$MNT"
fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
