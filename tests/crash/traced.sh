# traced.sh - for tests in which the daemon's system calls are slow or fail: source it behind
# mount.sh.
# shellcheck shell=bash

traced() {	# PID STRACE-OPTION...: until untraced
	local pid=$1
	shift
	: >"$T/trace"
	strace -qq -f -p "$pid" -o "$T/trace" "$@" >/dev/null 2>&1 &
	tracer=$!
	until_true 60 grep -q 'TracerPid:.*[1-9]' "/proc/$pid/status"
}

untraced() {
	signal_child TERM "$tracer"
	wait "$tracer" 2>/dev/null
	return 0
}
