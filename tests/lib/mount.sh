# mount.sh - for shell tests that mount: source it first.
#
# The test runs again in a mount namespace of its own, under a time limit, so that nothing it
# mounts outlives it. It speaks TAP. $T is a folder of its own; $MNT the mount point, $PLAIN
# an ordinary directory beside it for comparison, $STORE the store, $KEY its key.
#
# From the environment: ROPEFS and ROPECTL, the programs' paths; FSOP, that of the helper made
# of tests/fs/fsop.c, where a test uses it; OWN_NET, not empty: servers of the test have a network
# (127.0.0.1) of their own.
# shellcheck shell=bash

: "${ROPEFS:?the path of the daemon}" "${ROPECTL:?the path of ropectl}"

if [[ $(id -u) != 0 || ! -e /dev/fuse ]]; then
	echo "1..0 # SKIP needs root and /dev/fuse"
	exit 0
fi
if [[ -z ${MOUNT_SH_INNER-} ]]; then
	export MOUNT_SH_INNER=1
	# Ports that were free a moment ago are, where nobody else is.
	own=(-m --propagation private)
	[[ -z ${OWN_NET-} ]] || ! unshare -n true 2>/dev/null || own+=(-n)
	exec timeout -k 20 $((${TEST_LIMIT_S:-280} * ${CK_TIMEOUT_MULTIPLIER:-1})) \
		unshare "${own[@]}" bash "$0" "$@"
fi
[[ -z ${OWN_NET-} ]] || python3 -c '
import fcntl, socket, struct
up, set_flags = 1, 0x8914
fcntl.ioctl(socket.socket(), set_flags, struct.pack("16sh14x", b"lo", up))'

export LC_ALL=C
umask 022
T=$(mktemp -d "${TMPDIR:-/tmp}/ropefs-test.XXXXXX")
MNT=$T/mnt PLAIN=$T/plain STORE=$T/store KEY=$T/key
N=0 FAILED=0
mkdir "$MNT" "$PLAIN"
chmod 755 "$T"
"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null || exit 1

needs() {	# PROGRAM...: without one of them the whole test is skipped
	local program
	for program in "$@"; do
		type "$program" >/dev/null 2>&1 && continue
		echo "1..0 # SKIP needs $program: tools/deps --test installs it"
		exit 0
	done
}

flip() {	# FILE OFFSET: its byte there becomes another
	local was
	was=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1)
	printf "\\x$(printf %02x $((was ^ 32)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# --- the mount ---

fs_start() {	# [option...]: in the background; returns the daemon's status
	timeout 60 "$ROPEFS" --key-file "$KEY" "$@" "$STORE" "$MNT"
}

fs_pid() {
	sed -n 's/.*"pid": \([0-9]*\), "uptime.*/\1/p' "$MNT/.ropefs/status"
}

# A process that has ended stays there, as a zombie without threads, until the machine's init
# takes note of it, which may do so only every other second.
has_ended() {	# PID
	local line tasks
	read -r line 2>/dev/null <"/proc/$1/stat" || return 0
	line=${line##*) }
	tasks=("/proc/$1/task"/*)
	[[ $line == [ZX]* && ${#tasks[@]} -le 1 ]]
}

until_true() {	# SECONDS COMMAND...: until it succeeds
	local i n=$(($1 * 10))
	shift
	for ((i = 0; i < n; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	"$@"
}

wait_gone() {	# PID SECONDS: waits until the process has ended
	local i
	for ((i = 0; i < $2 * 50; i++)); do
		has_ended "$1" && return 0
		sleep 0.02
	done
	return 1
}

# The number of a child that has ended may be another program's by now, of another test perhaps.
child_runs() {	# PID: of this shell, or of the one whose subshell this is
	local line
	read -r line 2>/dev/null <"/proc/$1/stat" || return 1
	read -r -a line <<<"${line##*) }"
	[[ ${line[0]} != Z && (${line[1]} == "$$" || ${line[1]} == "$BASHPID") ]]
}

signal_child() {	# SIGNAL PID...: those that still run; "" is none
	local signal=$1 pid
	shift
	for pid in "$@"; do
		! child_runs "${pid:-none}" || kill "-$signal" "$pid"
	done
}

# Whatever looks at the files of all the machine's programs (fuser, lsof, a monitor) keeps a mount
# busy for the moment in which it looks, after the program that had the file has ended.
unmount() {	# DIR: within 20 seconds
	local i out
	for ((i = 0; i < 100; i++)); do
		out=$(timeout 60 umount "$1" 2>&1) && return 0
		[[ $out == *busy* ]] || break
		sleep 0.2
	done
	echo "$out"
	return 1
}

fs_stop() {
	local pid
	pid=$(timeout 60 cat "$MNT/.ropefs/status" | sed -n 's/.*"pid": \([0-9]*\), "uptime.*/\1/p')
	unmount "$MNT" && wait_gone "${pid:-0}" 60
}

# The build may lie where only its owner gets: a copy that other users can run. Prints its path.
for_others() {	# PROGRAM
	local copy=$T/bin/${1##*/}

	[[ -x $copy ]] || { mkdir -p "$T/bin" && install -m 755 "$1" "$copy"; }
	echo "$copy"
}

fs_restart() {
	fs_stop && fs_start "$@"
}

fs_kill() {	# by SIGKILL; and its mount goes
	local pid
	pid=$(fs_pid)
	[[ -n $pid ]] && kill -KILL "$pid" && wait_gone "$pid" 60 && umount -l "$MNT"
}

# The lines of .ropefs/events so far: a reader that does not wait for more.
events_so_far() {
	python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
out = b""
try:
    while True:
        out += os.read(fd, 100000)
except BlockingIOError:
    pass
sys.stdout.buffer.write(out)' "$MNT/.ropefs/events"
}

# A stuck daemon's requests end when its connection is aborted.
fs_abort() {
	local dev control=/sys/fs/fuse/connections
	dev=$(awk -v m="$MNT" '$5 == m { split($3, d, ":"); print d[2] }' /proc/self/mountinfo)
	[[ -n $dev ]] || return 0
	[[ -d $control/$dev ]] || mount -t fusectl none "$control" 2>/dev/null
	echo 1 2>/dev/null >"$control/$dev/abort"
}

cleanup() {
	cd /
	if grep -q " $MNT " /proc/self/mounts; then
		fs_stop 2>/dev/null || { fs_abort; umount -l "$MNT"; }
	fi
	rm -rf "$T"
}
trap cleanup EXIT

# At the time limit: how far it came, and what the threads in the test's namespace wait in.
tell_stuck() {
	local here task
	here=$(readlink /proc/self/ns/mnt)
	echo "# out of time behind check $N; how many, process, name, state, where in the kernel:"
	for task in /proc/[0-9]*/task/[0-9]*; do
		[[ $(readlink "$task/ns/mnt" 2>/dev/null) == "$here" ]] || continue
		echo "$(cut -d/ -f3 <<<"$task") $(<"$task/comm")" \
			"$(awk '/^State/ { print $2 }' "$task/status") $(<"$task/wchan")"
	done 2>/dev/null | sort | uniq -c | sed 's/^/# /'
}
trap 'tell_stuck >&2; exit 1' TERM INT

# --- TAP ---

result() {	# OK? DESCRIPTION [DETAIL]
	local told
	N=$((N + 1))
	if [[ $1 == 0 ]]; then
		echo "ok $N - $2"
	else
		FAILED=$((FAILED + 1))
		told="not ok $N - $2"
		[[ -z ${3-} ]] || told+=$'\n'$(sed 's/^/# /' <<<"$3")
		echo "$told"
		echo "$told" >&2	# meson shows no more than that of a test that failed
	fi
}

ok() {		# DESCRIPTION COMMAND...: it succeeds
	local what=$1 out status
	shift
	out=$("$@" 2>&1)
	status=$?
	result $status "$what" "status $status: $out"
}

is() {		# DESCRIPTION GOT WANTED
	local told="got:    $2
wanted: $3"
	[[ $2 == "$3" ]] && { result 0 "$1"; return; }
	(($(wc -l <<<"$told") < 10)) || told="wanted, and got:
$(diff <(echo "$3") <(echo "$2"))"
	result 1 "$1" "$told"
}

fails() {	# DESCRIPTION MESSAGE COMMAND...: it fails, saying MESSAGE
	local what=$1 message=$2 out status
	shift 2
	out=$("$@" 2>&1)
	status=$?
	[[ $status != 0 && $out == *"$message"* ]]
	result $? "$what" "status $status: $out"
}

# Runs a function in the mount and in a plain directory; both say the same.
both() {	# DESCRIPTION FUNCTION [ARGUMENT...]
	local what=$1 ours theirs
	shift
	ours=$(cd "$MNT" && "$@" 2>&1; echo "status $?")
	theirs=$(cd "$PLAIN" && "$@" 2>&1; echo "status $?")
	[[ $ours == "$theirs" ]]
	result $? "$what" "$(diff <(echo "$theirs") <(echo "$ours"))"
}

# The same, where both must succeed.
both_do() {	# DESCRIPTION FUNCTION [ARGUMENT...]
	local what=$1 ours theirs status
	shift
	ours=$(cd "$MNT" && "$@" 2>&1)
	status=$?
	theirs=$(cd "$PLAIN" && "$@" 2>&1) && [[ $status == 0 && $ours == "$theirs" ]]
	result $? "$what" "status $status: $(diff <(echo "$theirs") <(echo "$ours"))"
}

finish() {
	echo "1..$N"
	((FAILED == 0))
	exit $?
}
