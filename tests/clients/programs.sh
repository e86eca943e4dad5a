# programs.sh - real programs at work on $MNT, for client tests; source it after mount.sh.
#
# What runs in the background has its process id in a variable of its own and is stopped by
# that alone. So what starts something is not for ok(), which runs it in a subshell.
# shellcheck shell=bash

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
: "${EDIT_TEXT:?}" "${APPLY_EDITS:?}" "${SYNC_NOTES_SO:?}"
rsyslog_pid='' logger_pid='' tail_pid='' bag_pid='' edit_pid=''

stop() {	# SIGNAL PID...: and waits for them; they are children of this shell
	local signal=$1 pid
	shift
	signal_child "$signal" "$@"
	for pid in "$@"; do
		[[ -z $pid ]] || wait "$pid" 2>/dev/null
	done
}

stop_all() {
	stop KILL "$logger_pid" "$tail_pid" "$rsyslog_pid" "$bag_pid" "$edit_pid"
	rsyslog_pid='' logger_pid='' tail_pid='' bag_pid='' edit_pid=''
}
trap 'stop_all; cleanup' EXIT

make_lines() {	# FROM TO: what is logged, line by line
	awk -v from="$1" -v to="$2" 'BEGIN {
		for (i = from; i <= to; i++)
			printf "line %08d: sensor %d says %d\n", i, i % 101, i * i % 65537
	}'
}

# rsyslog writes what comes by its socket to FILE, with an fsync after each batch, which
# $T/notes then tells.
rsyslog_start() {	# FILE
	rm -f "$T/log.sock" "$T/notes"
	cat >"$T/rsyslog.conf" <<-END
		global(workDirectory="$T")
		module(load="imuxsock" SysSock.Use="off")
		input(type="imuxsock" Socket="$T/log.sock" RateLimit.Interval="0")
		template(name="plain" type="string" string="%msg:2:\$:drop-last-lf%\n")
		action(type="omfile" file="$1" template="plain" sync="on")
	END
	: >"$1"
	SYNC_NOTES=$T/notes LD_PRELOAD=$SYNC_NOTES_SO \
		rsyslogd -n -f "$T/rsyslog.conf" -i "$T/rsyslog.pid" 2>"$T/rsyslog.err" &
	rsyslog_pid=$!
	until_true 100 test -S "$T/log.sock"
}

rsyslog_synced() {	# FILE: its length that rsyslog has last seen made durable
	[[ -e $T/notes ]] || : >"$T/notes"
	awk -v file="$1" '$2 == file && $1 > n { n = $1 } END { print n + 0 }' "$T/notes"
}

# Reads a file while it grows.
tail_start() {	# FILE OUT
	tail -n +1 -s 0.05 -f "$1" >"$2" 2>/dev/null &
	tail_pid=$!
}

log_forever() {
	local i
	for ((i = 0; ; i += 100)); do
		make_lines $((i + 1)) $((i + 100)) || return
		sleep 0.01
	done
}

logger_start() {	# COMMAND...: whose lines are logged; it ends with logger
	"$@" 2>/dev/null |
		logger -u "$T/log.sock" --socket-errors=off -t ropefs 2>/dev/null &
	logger_pid=$!
}

has_size() {	# FILE BYTES
	[[ $(stat -c %s "$1") == "$2" ]]
}

is_prefix() {	# FILE OF
	cmp -n "$(stat -c %s "$1")" "$1" "$2"
}

alive() {	# PID...
	local pid
	for pid in "$@"; do
		child_runs "${pid:-none}" || return 1
	done
}
