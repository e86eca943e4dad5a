#!/bin/bash
# More data than the disk may hold goes through a local limit; then the bucket is away for a
# week, in which a day is a second. The bucket is a folder.
#
# From the environment: SMALL_DISK_MIB, SMALL_DISK_LOCAL, SMALL_DISK_MEMORY (both MiB): another
# size, e.g. 10240, 200 and 256 for 10 GiB through 200 MB.
. "$(dirname "$0")/../lib/mount.sh"
needs openssl
MIB=${SMALL_DISK_MIB:-32} LOCAL=${SMALL_DISK_LOCAL:-4} MEMORY=${SMALL_DISK_MEMORY:-32}
FILES=8
# An upload each second is for the small size; a large one is to cost what it costs.
INTERVAL=1s
((MIB < 1024)) || INTERVAL=60s
URL=file://$T/bucket
mkdir "$T/bucket"
bytes() {	# NUMBER MIB: always the same, and nothing makes them smaller
	openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -nosalt \
		-iv "$(printf '%032x' "$1")" -in /dev/zero 2>/dev/null | head -c "$2M"
}
metric() { sed -n "s/^ropefs_remote_$1 //p" "$MNT/.ropefs/metrics"; }
settled() { timeout "${1:-200}" "$ROPECTL" sync --remote "$MNT" >/dev/null; }
same() {	# NUMBER MIB FILE
	[[ $(bytes "$1" "$2" | sha256sum) == $(sha256sum <"$MNT/$3") ]]
}
watch_size() {	# into $T/most: the most that packs and fetched bytes here ever took, KiB
	local most=0 now
	while [[ ! -e $T/enough ]]; do
		now=$(du -ck "$STORE/packs" "$STORE"/remote/cache.* 2>/dev/null | tail -n1 |
			cut -f1)
		((${now:-0} > most)) && most=$now && echo "$most" >"$T/most"
		sleep 0.02
	done
}

fs_start -o "memory=${MEMORY}M" || exit 1
"$ROPECTL" remote add "$MNT" "$URL" --local "${LOCAL}M" --interval "$INTERVAL" >/dev/null
watch_size &
watcher=$!
began=$SECONDS
wrong=0
for ((i = 0; i < FILES; i++)); do
	bytes "$i" $((MIB / FILES)) >"$MNT/f$i" || wrong=1
done
is "all is written, however small the disk" $wrong 0
ok "and goes up" settled 3000
wrote=$((SECONDS - began))
rss() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(fs_pid)/status"; }
most_rss=$(rss)
puts=$(metric put_total) put=$(metric put_bytes_total) lists=$(metric list_total)
fs_restart -o "memory=${MEMORY}M" || exit 1 # and the kernel forgets what it has seen
for ((i = 0; i < FILES; i++)); do
	same "$i" $((MIB / FILES)) "f$i" || wrong=1
done
is "and is the same when it is read" $wrong 0
touch "$T/enough"
wait "$watcher"
most=$(cat "$T/most")
((most <= LOCAL * 1024))
result $? "the local limit holds" "$most KiB"
(($(rss) > most_rss)) && most_rss=$(rss)
((most_rss <= (2 * MEMORY + 128) * 1024))
result $? "memory too" "$most_rss KiB"
((lists <= 4))
result $? "no listing but those of the beginning" "$lists"
# A pack of 32 MiB is a put; small ones come of the small memory.
((MIB < 1024 || puts * 1024 <= 100 * MIB))
result $? "less than 100 puts a GB" "$puts"
[[ $(metric get_total) -gt 0 ]]
result $? "what left the disk came back by ranges"
echo "# $MIB MiB through $LOCAL MiB: $wrote s to write and upload, $((SECONDS - began)) s in all;" \
	"local at most $((most / 1024)) MiB, RSS at most $((most_rss / 1024)) MiB;" \
	"$puts puts of $put bytes, $(metric get_total) gets of" \
	"$(metric got_bytes_total) bytes"

WEEK=$((LOCAL + 16)) # a disk on which a week has room
"$ROPECTL" remote set "$MNT" --keep 1s --local "${WEEK}M" --interval 1s
# A week away. A folder that is gone is noticed by who opens it.
fs_stop
mv "$T/bucket" "$T/away"
fs_start -o "memory=${MEMORY}M" || exit 1
echo here >"$MNT/here"
for day in 1 2 3 4 5 6 7; do
	bytes "$((100 + day))" 1 >"$MNT/day$day" || echo "# day $day: refused"
	sleep 1
done
is "what is here is read at once" "$(timeout 100 cat "$MNT/here")" here
ok "the week is all here" same 107 1 day7
full() {	# until it is
	local i
	for ((i = 0; i < WEEK; i++)); do
		bytes $((200 + i)) 2 2>/dev/null >"$MNT/more$i" || return 0
		sync "$MNT/more$i"
	done 2>/dev/null
	return 1
}
ok "new bytes are refused when the disk may take no more" full
ok "and it says why" grep -q "over the local limit" <("$ROPECTL" remote show "$MNT")
ok "removing makes room again" rm "$MNT/day1"
mv "$T/away" "$T/bucket"
ok "when the bucket is back all goes up" settled
ok "and new bytes are taken" timeout 60 cp "$MNT/here" "$MNT/again"
is "all is the same" "$(for d in 2 3 4 5 6 7; do
	same "10$d" 1 "day$d" || echo "day$d differs"
done)" ""
fs_stop
ok "the bucket has it all" timeout 200 "$ROPECTL" verify "$STORE" --key-file "$KEY"
finish
