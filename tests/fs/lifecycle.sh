#!/bin/bash
# Mounting, refusing to, the ways to end, and exit statuses.
. "$(dirname "$0")/../lib/mount.sh"

status() {	# DESCRIPTION WANTED MESSAGE COMMAND...
	local what=$1 wanted=$2 message=$3 out got
	shift 3
	out=$(timeout 60 "$@" 2>&1)
	got=$?
	[[ $got == "$wanted" && $out == *"$message"* && $(wc -l <<<"$out") -le 1 ]]
	result $? "$what" "status $got: $out"
}
fs=("$ROPEFS" --key-file "$KEY")

ok "--help has an example" grep -q 'Example' <("$ROPEFS" --help)
is "--version" "$("$ROPEFS" --version)" "ropefs 0.1.0"
status "no arguments" 2 "two arguments" "$ROPEFS"
status "unknown mount option" 2 "nonsense: unknown mount option" \
	"${fs[@]}" -o nonsense "$STORE" "$MNT"
status "bad size" 2 "no size" "${fs[@]}" --memory 12X "$STORE" "$MNT"
status "too little memory" 2 "from 32M" "${fs[@]}" -o memory=1 "$STORE" "$MNT"
status "absurdly much memory" 2 "from 32M" "${fs[@]}" --memory 2048G "$STORE" "$MNT"
status "remount" 1 "not mounted there" "${fs[@]}" -o remount,ro "$STORE" "$MNT"
status "bad awake" 2 "awake is on or off" "${fs[@]}" -o awake=maybe "$STORE" "$MNT"
status "bad durability" 2 "async, sync or remote" "${fs[@]}" -o durability=maybe "$STORE" "$MNT"
status "no mount point" 1 "make it with: mkdir" "${fs[@]}" "$STORE" "$T/none"
touch "$T/file"
status "a file for a mount point" 1 "must be a directory" "${fs[@]}" "$STORE" "$T/file"
status "no store" 1 "make it with: ropectl init" "${fs[@]}" "$T/none" "$MNT"
mkdir "$T/nostore"
status "not a store" 6 "$T/nostore" "${fs[@]}" "$T/nostore" "$MNT"
"$ROPECTL" init "$T/store2" --key-file "$T/key2" >/dev/null
status "the wrong key" 3 "key" "$ROPEFS" --key-file "$T/key2" "$STORE" "$MNT"
status "no key" 3 "key" "$ROPEFS" --key-file "$T/nokey" "$STORE" "$MNT"
status "a mount that would hide its store" 1 "hide" "${fs[@]}" "$STORE" "$T"

echo under >"$MNT/under"
status "what a mount hides is told" 0 "$MNT: not empty; what is there is hidden" \
	"${fs[@]}" "$STORE" "$MNT"
is "and hidden" "$(ls "$MNT")" ""
fs_stop
rm "$MNT/under"

ok "goes to the background once the mount answers" fs_start
is "and is mounted then" "$(findmnt -no FSTYPE "$MNT")" fuse.ropefs
echo data >"$MNT/f"
status "a store in use" 4 "" "${fs[@]}" "$STORE" "$PLAIN"
status "a busy mount point" 1 "busy" "$ROPEFS" --key-file "$T/key2" "$T/store2" "$MNT"
pid=$(fs_pid)
is "no other may read its memory" "$(stat -c %u "/proc/$pid/mem" 2>&1)" 0
is "no core" "$(awk '/Max core/ { print $5 $6 }' "/proc/$pid/limits")" 00
is "its threads have names" "$(sort -u "/proc/$pid/task"/*/comm |
	grep -cx 'ropefs-\(loop\|work\|edit\|flush\|checkpt\)')" 5
is "its working directory is free" "$(readlink "/proc/$pid/cwd")" /
asks_for_wakes() {	# PID: where may it ask the kernel for quick wake-ups (awake=)?
	local fd
	for fd in "/proc/$1/fd"/*; do
		[[ $(readlink "$fd") == /dev/cpu_dma_latency ]] && echo yes
	done
}
[[ ! -w /dev/cpu_dma_latency ]] || is "it can keep cores awake" "$(asks_for_wakes "$pid")" yes
kill -TERM "$pid"
ok "SIGTERM ends it" wait_gone "$pid" 60
is "and unmounts" "$(findmnt -no FSTYPE "$MNT")" ""
ok "mounts again" fs_start
is "what was written is there" "$(cat "$MNT/f")" data
is "and the shutdown was clean" "$(grep -c '"was_clean":[[:space:]]*true' "$MNT/.ropefs/status")" 1
pid=$(fs_pid)
exec 7>"$MNT/open"
echo more >&7
kill -TERM "$pid"
ok "SIGTERM ends it with a file open" wait_gone "$pid" 60
exec 7>&-
ok "and the mount point is free" fs_start
is "what the open file got is there" "$(cat "$MNT/open")" more
pid=$(fs_pid)
ok "fusermount3 -u unmounts" fusermount3 -u "$MNT"
ok "and ends the daemon" wait_gone "$pid" 60

timeout 60 "${fs[@]}" -f "$STORE" "$MNT" &
front=$!
until_true 60 test -e "$MNT/.ropefs/status"
is "-f stays in front" "$(cat "$MNT/f")" data
unmount "$MNT"
wait "$front"
is "and ends well" $? 0

ok "-o ro" fs_start -o ro,awake=off
is "awake=off asks the kernel for nothing" "$(asks_for_wakes "$(fs_pid)")" ""
fails "takes no writes" "Read-only file system" touch "$MNT/x"
is "but reads" "$(cat "$MNT/f")" data
fs_stop
ok "options of mount(8), behind the arguments" timeout 60 "${fs[@]}" "$STORE" "$MNT" -o \
	rw,nosuid,nodev,noexec,noatime,relatime,nofail,noauto,user,_netdev,user_xattr,acl \
	-o x-systemd.automount,memory=64M,window=50
is "reach the kernel" "$(findmnt -no OPTIONS "$MNT" | grep -o noexec)" noexec
fs_stop
ok "durability=sync" fs_start -o durability=sync
echo s >"$MNT/sync"
is "works" "$(cat "$MNT/sync")" s
pid=$(fs_pid)
kill -9 "$pid"
wait_gone "$pid" 60
fails "a dead daemon's mount is named" "run \`ropectl umount --lazy $MNT\` first" \
	"${fs[@]}" "$STORE" "$MNT"
printf 'insert %s 0 x\n' "$MNT/sync" >"$T/script"
dead="$MNT: its daemon has ended, and nothing in it answers; all that was synced is in the store."
dead+=" To have it back: ropectl umount --lazy $MNT && ropectl mount $STORE $MNT"
for words in "sync $MNT" "sync $MNT/sub/dir" "policy ls $MNT" "policy set $MNT/sub ttl=1d" \
	"insert $MNT/sync 0" "cut $MNT/sync 0..1" "edit $T/script" "cursor ls $MNT/sub/q" \
	"scrub $MNT" "remote show $MNT" "mount $STORE $MNT" "restart $MNT"; do
	# shellcheck disable=SC2086
	status "a dead mount: ropectl ${words%% /*} says so" 1 "$dead" "$ROPECTL" $words </dev/null
done
umount -l "$MNT"
ok "after kill -9 it mounts" fs_start
pid=$(fs_pid)
kill -STOP "$pid"
timeout 60 "$ROPECTL" status "$MNT" >"$T/waits" 2>&1 &
ok "who waits for a daemon that hangs is told so" \
	until_true 60 grep -q "no answer for 10 seconds" "$T/waits"
ok "a mount whose daemon hangs can be taken away" timeout 60 "$ROPECTL" umount --lazy "$MNT"
is "and is gone" "$(findmnt -no FSTYPE "$MNT")" ""
kill -CONT "$pid"
ok "the daemon ends then" wait_gone "$pid" 60
ok "and another one mounts" fs_start
is "and has what was written with durability=sync" "$(cat "$MNT/sync")" s
fs_stop
# The next mount meets the old daemon on its way out: it has a lot of memory to give back.
killed_and_mounted() {
	local i
	for i in 1 2 3 4 5; do
		dd if=/dev/urandom of="$MNT/big" bs=1M count=30 status=none
		kill -9 "$(fs_pid)" && umount -l "$MNT" && fs_start || return 1
	done
	umount -l "$MNT" && fs_start && fs_stop
}
ok "mounts at once after kill -9, and after a lazy unmount" eval "fs_start && killed_and_mounted"
fs_start
pid=$(fs_pid)
cd "$MNT" || exit 1
umount -l .
status "a store that a daemon no mount shows has" 4 "in use by process $pid" \
	"${fs[@]}" "$STORE" "$MNT"
cd / || exit 1
ok "which ends with its last user" wait_gone "$pid" 60

# --- damage ---

# Its log begins with these records, and no checkpoint has made them needless meanwhile.
new_store() {
	local i
	rm -rf "$STORE" "$KEY"
	"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null && fs_start || return 1
	for i in 1 2 3 4 5 6 7 8; do
		head -c 20000 /dev/urandom >"$MNT/d$i" && sync "$MNT/d$i" || return 1
	done
	i=$(sed -n 's/.*"checkpoints":[[:space:]]*\([0-9]*\).*/\1/p' "$MNT/.ropefs/status")
	fs_kill && [[ $i == 0 ]]
}
damaged_log() {	# a store that a killed daemon left, with a record rotten
	new_store || new_store || new_store || return 1
	dd if=/dev/zero of="$STORE/wal/0000000000000001.wal" bs=4096 seek=14 count=3 \
		conv=notrunc status=none
}
STORE=$T/damaged KEY=$T/key3
fs=("$ROPEFS" --key-file "$KEY")
ok "a store whose log is damaged" damaged_log
for how in rw ro; do
	status "is mounted, and said to be read-only (-o $how)" 0 \
		"damaged: mounted READ-ONLY: log" \
		"${fs[@]}" -o $how "$STORE" "$MNT"
	ok "its files before the damage are there" test -s "$MNT/d1"
	fails "it takes no writes" "Read-only file system" touch "$MNT/x"
	"$ROPECTL" status "$MNT" >"$T/said"
	ok "status says it, and that not all is durable" eval \
		'grep -q "^state *READ-ONLY: log" "$T/said" && grep -q "^durable *NO" "$T/said"'
	fs_stop
done
STORE=$T/store KEY=$T/key
fs=("$ROPEFS" --key-file "$KEY")

# --- other users ---

# The machine's /dev/fuse may be root's alone; fusermount3 wants users with a name.
mknod "$T/fuse" c 10 229 && chmod 666 "$T/fuse" && mount --bind "$T/fuse" /dev/fuse
user=(setpriv --reuid nobody --regid nogroup --clear-groups)
as_user() {
	cp "$KEY" "$T/userkey"
	chown -R nobody "$T/userkey" "$STORE" "$MNT"
	chmod -R a-w "$STORE"
}
ok "-o allow_other" fs_start -o allow_other
status "unmounting another's mount" 1 "not yours" "${user[@]}" "$ROPECTL" umount "$MNT"
fs_stop
as_user
fs=("${user[@]}" "$ROPEFS" --key-file "$T/userkey")
status "a store that can't be written" 1 "read-only (-o ro)" "${fs[@]}" "$STORE" "$MNT"
if command -v fusermount3 >/dev/null &&
	"${user[@]}" test -w /dev/fuse && "${user[@]}" test -x "$ROPEFS"; then
	grep -q '^user_allow_other' /etc/fuse.conf ||
		status "what fusermount3 refuses" 1 \
			"cannot mount: fusermount3: option allow_other" \
			"${fs[@]}" -o ro,allow_other "$STORE" "$MNT"
	ok "but can be read, is mounted -o ro" "${fs[@]}" -o ro "$STORE" "$MNT"
	is "and shows its files" "$("${user[@]}" cat "$MNT/f")" data
	ok "and is unmounted by its user" "${user[@]}" "$ROPECTL" umount "$MNT"
fi
chmod -R u+w "$STORE"
chown -R root "$STORE" "$MNT"
umount /dev/fuse

fs=("$ROPEFS" --key-file "$KEY")
mount --bind "$(dirname "$ROPEFS")" /usr/local/bin	# mount(8) has a PATH of its own
if type mount.fuse3 >/dev/null 2>&1; then
	ok "mount -t fuse.ropefs" timeout 60 mount -t fuse.ropefs "$STORE" "$MNT" -o "key=$KEY"
	is "mounts it" "$(cat "$MNT/f")" data
	fs_stop
fi
umount /usr/local/bin
finish
