#!/usr/bin/env bash
# A disk that stands still, for as long as the test wants it to, holds up those who wait for it and
# nobody else: not the mount, by however many they are.
# shellcheck source-path=SCRIPTDIR disable=SC2317
TEST_LIMIT_S=${TEST_LIMIT_S:-400}
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/traced.sh"
needs strace python3
here=$(cd "$(dirname "$0")" && pwd)

# The daemon's calls CALL on FILES stand still from the next one on, until untraced.
hold() {	# CALL FILE...
	local call=$1 file paths=()
	shift
	for file; do paths+=(-P "$file"); done
	traced "$(fs_pid)" "${paths[@]}" -e "trace=$call" \
		-e "inject=$call:delay_enter=1000000000"
}

held() { until_true 60 test -s "$T/trace"; }	# waits until a call stands still

# What all others do: had a loop to wait for who waits, the time limit would say so. Not in the same
# folder: the kernel has one change of a folder wait for the other, and who lists it, too.
goes_on() {
	timeout 100 stat -f "$MNT" >"$T/said" && timeout 100 ls -l "$MNT/calm" >"$T/said" &&
		timeout 100 cat "$MNT/.ropefs/status" >"$T/said" || return
	timeout 100 stat "$MNT/calm/no such name $((names++))" 2>"$T/said"
	grep -q 'No such file' "$T/said"
}

many() {	# NUMBER COMMAND...: so many times at once, each with a number
	local n=$1 i
	shift
	for ((i = 0; i < n; i++)); do
		"$@" "$i" &
		waiting+=($!)
	done
}
all_done() {
	local one status=0
	for one in "${waiting[@]}"; do wait "$one" || status=1; done
	waiting=()
	return $status
}
line_to() { echo line >>"$MNT/busy/$1.$2"; }
folder() { mkdir "$MNT/busy/$1.$2"; }
filled() { head -c 10000000 /dev/urandom >"$MNT/busy/$1.$2"; }
full() {	# until nothing more is written
	local before=-1 now=0
	while [[ $before != "$now" ]]; do
		before=$now
		sleep 1
		now=$(stat -c %s "$MNT"/busy/big.* 2>/dev/null | paste -sd+)
	done
}

names=0 waiting=()
FOLLOWED=12
fs_start || exit 1
mkdir "$MNT/busy" "$MNT/calm"
touch "$MNT/calm"/{1..9}
for ((i = 0; i < FOLLOWED; i++)); do
	head -c 300000 /dev/urandom >"$MNT/f$i"
done
fs_restart || exit 1 # what they have is in packs now, and nowhere else
mkfifo "$T/go" "$T/told"
exec 3<>"$T/go" 4<>"$T/told"
hold pread64 "$STORE"/packs/*.pack
result $? "packs can't be read"
python3 "$here/held.py" "$MNT" $(for ((i = 0; i < FOLLOWED; i++)); do echo "f$i"; done) <&3 >&4 &
asker=$!
held
result $? "who follows files there waits"
ok "others go on" goes_on
echo >&3
read -r -t 100 said <&4
is "who follows is polled, and read once more, without a wait" "$said" "asked 0"
ok "others go on then" goes_on
ok "and append" line_to more 0
untraced
read -r -t 100 said <&4
is "they read when they can" "$said" "read $((2 * FOLLOWED))"
wait $asker
result $? "to the end"
ok "unmount" fs_stop

fs_start -o memory=32M || exit 1
touch "$MNT/busy/gone".{0..3} "$MNT/busy/cut".{0..3}
hold fdatasync "$STORE/pages" "$STORE/pages.copy"
result $? "no checkpoint comes to its end"
many 3 filled big
held && full
many 8 folder new
many 8 line_to new_file
many 4 bash -c 'rm "$0.$1"' "$MNT/busy/gone"
many 4 bash -c ': >"$0.$1"' "$MNT/busy/cut"
many 4 bash -c 'mv "$0/cut.$1" "$0/moved.$1"' "$MNT/busy"
ok "where memory is full, others go on" goes_on
untraced
all_done
result $? "and what waited is done"
ok "unmount then" fs_stop

fs_start -o supervise=on || exit 1
echo first >"$MNT/busy/synced"
hold fdatasync "$STORE"/wal/*
result $? "the log of a supervised mount can't be synced"
many 1 bash -c 'sync "$0"' "$MNT/busy/synced"
held
for i in {1..12}; do
	ok "who changes something doesn't wait for it, $i" timeout 100 bash -c \
		'echo line >>"$0/busy/beside.$1" && mkdir "$0/busy/beside_folder.$1"' "$MNT" "$i"
done
ok "others go on meanwhile" goes_on
untraced
all_done
result $? "what waited is done then"
ok "unmount the supervised" fs_stop

fs_start -o durability=sync || exit 1
hold fdatasync "$STORE"/wal/*
result $? "each change waits for the log"
many 24 folder durable
held
ok "others don't" goes_on
untraced
all_done
result $? "and all are done"
ok "the last unmount" fs_stop
ok "the store is whole" "$FSCK" -q -k "$KEY" "$STORE"
