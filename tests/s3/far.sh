#!/bin/bash
# Files that are here are not delayed by who waits for what is only in the bucket, in whatever way
# that is read: packs of the bucket, a folder, become pipes that nobody writes to.
. "$(dirname "$0")/../lib/mount.sh"
EACH=5 # in each way: more than the daemon has threads for what is here
READERS=()
mkdir "$T/bucket"
trap 'let_go; cleanup' EXIT

hang() {
	local pack
	for pack in "$T"/bucket/*/p/*; do
		mv "$pack" "$T/${pack##*/}" && mkfifo "$pack"
	done
}
let_go() {	# the packs are back, and who waits for a pipe finds its end
	local pack
	for pack in "$T"/bucket/*/p/*; do
		[[ -p $pack ]] || continue
		mv "$pack" "$T/pipe" && mv "$T/${pack##*/}" "$pack"
		until_true 20 nobody_waits
		rm "$T/pipe"
	done
	wait "${READERS[@]}" 2>/dev/null
	READERS=()
}
nobody_waits() {	# or those who did don't any more
	python3 -c '
import errno, os, sys
try:
    os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK))
except OSError as e:
    sys.exit(e.errno != errno.ENXIO)
sys.exit(1)' "$T/pipe"
}
readers() {	# COMMAND...
	local i
	for ((i = 0; i < EACH; i++)); do
		"$@" >/dev/null 2>&1 &
		READERS+=($!)
	done
}
pread() {
	exec python3 -c '
import os, sys
os.pread(os.open(sys.argv[1], os.O_RDONLY), 1000, 5000)' "$1"
}
resize() {	# lines of the file, each time others
	exec python3 -c '
import os, sys
os.truncate("%s@lines=1..%d" % (sys.argv[1], 2 + os.getpid() % 1000), 0)' "$1"
}
all_wait() {
	local pid
	for pid in "${READERS[@]}"; do
		grep -qE 'request_wait_answer|folio_wait' "/proc/$pid/wchan" 2>/dev/null ||
			return 1
	done
}
none_waits() {
	local pid
	for pid in "${READERS[@]}"; do
		has_ended "$pid" || return 1
	done
}
edits() {	# of files in each of the threads that edit
	local i
	for i in {0..7}; do
		timeout 10 truncate -s 1 "$MNT/edited$i@bytes=0..0" || return 1
	done
}
here() {	# all of it without what the kernel or the daemon has in memory
	timeout 100 md5sum "$MNT/here" >"$T/sum" &&
		timeout 100 cat "$MNT/here@lines=0..1" "$MNT/q/here@every=2" >/dev/null &&
		edits && echo new >"$MNT/new" && echo more >>"$MNT/here" && rm "$MNT/new"
}
# Should the machine stand still for as long as they wait, another round says more.
without_delay() {	# COMMAND...: is done while all still wait
	local round
	for round in 1 2 3; do
		fs_restart || exit 1
		settled
		hang
		"$@"
		if until_true 30 all_wait && here && all_wait; then
			signal_child TERM "${READERS[@]}"
			until_true 10 none_waits
			echo $? >"$T/ended"
			let_go
			return 0
		fi
		echo "# round $round: local files waited, or nobody for the bucket"
		let_go
	done
	return 1
}
# Who has a far file open to read, and writes to another, may be copying it.
writes_beside_far() {
	timeout 30 python3 -c '
import os, sys
os.open(sys.argv[1], os.O_RDONLY)
new = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
for i in range(8):
    os.pwrite(new, b"x" * 65536, i * 65536)
os.fsync(new)' "$MNT/far" "$MNT/beside"
}
takes_writes_beside_far() {
	local status
	fs_restart || exit 1
	settled
	hang
	writes_beside_far
	status=$?
	let_go
	return $status
}
packs() { (cd "$STORE/packs" && ls); }
settled() { timeout 100 "$ROPECTL" sync --remote "$MNT" >/dev/null; }

fs_start || exit 1
mkdir "$MNT/q"
"$ROPECTL" policy set "$MNT/q" kind=queue framing=line
"$ROPECTL" remote add "$MNT" "file://$T/bucket" --local 2M --interval 1s >/dev/null
echo 12345 >"$MNT/number"
seq 100000 >"$MNT/q/far"
head -c 1M /dev/urandom >"$MNT/far"
sum=$(md5sum <"$MNT/far")
for i in {0..7}; do
	echo here >"$MNT/edited$i"
done
settled
packs >"$T/far_packs"
some_left() { packs | grep -qFf "$T/far_packs"; }
for ((i = 0; i < 20; i++)); do
	some_left || break
	head -c 900K /dev/urandom >"$MNT/filler"
	settled
done
seq 50000 >"$MNT/here"
seq 1000 >"$MNT/q/here"
settled
fails "what is to be far is" "" some_left

ways() {
	readers cat "$MNT/far@stride=10:100"
	readers cat "$MNT/number@add"
	readers cat "$MNT/far@lines=1..2"
	readers pread "$MNT/q/far@every=2"
	readers bash -c 'true >>"$0"' "$MNT/far@stride=10:100"
	readers resize "$MNT/far"
	readers cat "$MNT/far"
}
ok "readers of all kinds that wait for the bucket delay nothing that is here" without_delay ways
is "and end at a signal" "$(<"$T/ended")" 0
ok "a write waits for no bytes of the bucket that it may be a copy of" takes_writes_beside_far
is "and it is as it was" "$(md5sum <"$MNT/far")" "$sum"
is "a stride, too" "$(head -c 20 "$MNT/far@stride=10:100" | md5sum)" \
	"$( (head -c 10; head -c 90 >/dev/null; head -c 10) <"$MNT/far" | md5sum)"
is "and lines" "$(cat "$MNT/far@lines=1..2" | md5sum)" "$(sed -n 2p "$MNT/far" | md5sum)"
is "and records of a queue" "$(sed -n 2501p "$MNT/q/far@every=2")" 5001
fs_stop
finish
