#!/usr/bin/env bash
# Scrubs of a store in use: what is damaged is told by the names of files, what has a whole copy is
# written anew, and a scrub goes on after a kill.
# shellcheck source-path=SCRIPTDIR disable=SC2317
. "$(dirname "$0")/../lib/mount.sh"

: "${FSCK:?the path of ropefs-fsck}"
needs jq

scrub() {	# [option...] of the mount, or of $PLACE
	timeout 100 "$ROPECTL" scrub "$@" "${PLACE:-$MNT}"
}

status() {	# FILTER of jq
	timeout 60 cat "$MNT/.ropefs/status" | jq -r "$1"
}

is_true() { [[ $(status "$1") == true ]]; }
wait_for() { until_true 120 is_true "$1"; }	# FILTER of jq: until it is true of the status

seed_files() {
	mkdir -p "$MNT/logs/old" || return 1
	head -c 3000000 /dev/urandom >"$MNT/logs/old/run.bag"
	seq 1 20000 >"$MNT/numbers"
	cp --reflink=auto "$MNT/logs/old/run.bag" "$MNT/logs/clone"
	mkdir "$MNT/logs/.snap/monday"
}
ok "a store is mounted" fs_start
ok "and has files, a clone and a snapshot" seed_files

# --- whole ---

says=$(scrub)
is "a scrub of a whole store" $? 0
is "says so" "$(tail -1 <<<"$says")" "all is whole"
is "what was just written was read, too" "$(status '.scrub.last.bytes > 3000000')" true
is "the status has the result" "$(status '.scrub.last | [.problems, .files, .mended] | @csv')" 0,0,0
is "a rate that is none" "$(scrub --rate much >/dev/null 2>&1; echo $?)" 2
is "the header of a store in use is rewritten, both copies damaged or the file gone" "$(
	cp "$STORE/ropefs" "$T/header"
	flip "$STORE/ropefs" 30
	flip "$STORE/ropefs" 4126
	scrub --json | jq -c '[.whole, .mended]'
	cmp "$STORE/ropefs" "$T/header"
	rm "$STORE/ropefs"
	scrub --json | jq -c '[.whole, .mended]'
	cmp "$STORE/ropefs" "$T/header")" "[true,1]
[true,1]"
is "a period that is none" "$(fs_start -o scrub=often >/dev/null 2>&1; echo $?)" 2

# --- the log ---

log_some() {
	head -c 3000 /dev/urandom >"$MNT/fresh" && sync "$MNT/fresh" && cp "$MNT/fresh" "$T/copy"
}
fs_restart	# and no checkpoint comes soon
ok "a file is synced, and with it the log" log_some
segment=$(find "$STORE/wal" -name '*.wal' | sort | tail -1)
flip "$segment" $((4096 + 30))
is "rot in the log of a store in use is found, and gone" \
	"$(scrub --json | jq -c '[.whole, .mended]')" "[true,1]"
says=$(dd if="$MNT/.ropefs/events" iflag=nonblock bs=64K count=1 status=none |
	jq -r 'select(.event == "mended").text' | grep 'log segment')
is "an event says where it was" "$(grep -c "${segment##*/} at offset [0-9]" <<<"$says")" 1
ok "so a kill" fs_kill
ok "and another daemon" fs_start
ok "cost nothing" cmp "$MNT/fresh" "$T/copy"
is "of what was written, or can be" "$(status .read_only; touch "$MNT/fresh"; echo $?)" "false
0"

# --- damaged ---

pack=$STORE/packs/0000000001.pack
flip "$pack" 150000
flip "$STORE/ropefs" 30
for ((page = 2; page < 40; page++)); do	# each page in one of the two files
	((page % 2)) && file=pages || file=pages.copy
	flip "$STORE/$file" $((page * 4096 + 500))
done
says=$(scrub --json)
is "a scrub of a damaged store" $? 5
paths=$(jq -r '[.found[].path // empty] | sort | join(" ")' <<<"$says")
is "it names the files, the clone and the one in the snapshot" "$paths" \
	"/logs/.snap/monday/clone /logs/.snap/monday/old/run.bag /logs/clone /logs/old/run.bag"
is "with their bytes" "$(jq -r '[.found[] | select(.path == "/logs/clone")][0].what' <<<"$says" |
	grep -cE '^bytes [0-9]+\.\.[0-9]+ can.t be read: chunk [0-9]+ of pack 0000000001$')" 1
is "and the place in the store" "$(jq -r '.found[] | select(.path == null).what' <<<"$says" |
	grep -cE '^pack 0000000001, chunk [0-9]+')" 1
is "pages and the header are written anew" "$(jq '.mended > 2' <<<"$says")" true

is "ropectl status names them" \
	"$("$ROPECTL" status "$MNT" | grep -cE '(/logs/clone|/logs/old/run.bag): bytes')" 2
events=$(dd if="$MNT/.ropefs/events" iflag=nonblock bs=64K count=1 status=none)
is "so do events" "$(jq -r 'select(.event == "damage").name // empty' <<<"$events" |
	sort | paste -sd ' ')" "$paths"
is "metrics count them" "$(grep -c '^ropefs_scrub_damaged_files 4$' "$MNT/.ropefs/metrics")" 1

# --- who may know names ---

allow_others() {
	local copy
	fs_stop && fs_start -o allow_other && chmod 700 "$MNT/logs" &&
		copy=$(for_others "$ROPECTL") && [[ -x $copy ]]
}
ok "a mount that others see" allow_others
is "to others the status names no file" "$(setpriv --reuid=65534 --clear-groups --inh-caps=-all \
	cat "$MNT/.ropefs/status" | grep -c run.bag)" 0
is "but counts them" "$(setpriv --reuid=65534 --clear-groups --inh-caps=-all \
	cat "$MNT/.ropefs/status" | jq .scrub.last.files)" 4
is "they may not begin one" "$(setpriv --reuid=65534 --clear-groups --inh-caps=-all \
	"$(for_others "$ROPECTL")" scrub "$MNT" 2>&1 | grep -c 'only root')" 1
is "a read that meets damage is told by path" "$(cat "$MNT/logs/clone" 2>&1 >/dev/null | wc -l) $(
	status .last_error | grep -c "^/logs/clone can't be read whole: pack 0000000001")" "1 1"

# --- a store that is not mounted, and a repair ---

ok "unmounting" fs_stop
is "the status of the store has it, too" \
	"$("$ROPECTL" status -k "$KEY" "$STORE" | grep -c '/logs/clone: bytes')" 1
PLACE=$STORE scrub -k "$KEY" >/dev/null
is "a scrub of the unmounted store" $? 5
ok "a repair gives the bytes up" timeout 100 "$FSCK" --repair --yes -k "$KEY" "$STORE"
PLACE=$STORE scrub -k "$KEY" >/dev/null
is "and then all is whole" $? 0

# --- by the clock, and after a kill ---

ok "with scrub=1s" fs_start -o scrub=1s
ok "one scrub after the other ends" wait_for '.scrub.passes >= 2'
ok "a file that none has read" cp "$MNT/numbers" "$MNT/more"
fs_stop
fs_start
ok "without it none begins" test "$(status .scrub.running)" = false
ok "one that takes long" scrub --background --rate 20K
ok "runs" wait_for '.scrub.running and .scrub.now.bytes > 0'
scrub --stop
is "and can be stopped" "$? $(status .scrub.running)" "0 false"
ok "another one" scrub --background --rate 20K
ok "runs, too" wait_for '.scrub.running and .scrub.now.bytes > 0'
began=$(status .scrub.now.began)
ok "is saved when the store is closed" fs_stop
ok "the store is mounted again" fs_start
is "and it goes on" "$(status .scrub.running) $(status .scrub.now.began)" "true $began"
ok "the daemon is killed" fs_kill
ok "it is started again" fs_start
is "and it goes on" "$(status .scrub.running) $(status .scrub.now.began)" "true $began"
ok "unmounting" fs_stop
is "all is whole" "$(timeout 100 "$FSCK" -k "$KEY" "$STORE" | tail -1)" clean

# --- rot below the system's cache: of a disk whose bytes change behind the filesystem's back ---

away() {
	! grep -q " $MNT " /proc/self/mounts || fs_stop
	unmount "$T/disk" >/dev/null
	cleanup
}
on_disk() {
	mkdir "$T/disk" && truncate -s 320M "$T/image" && mkfs.ext4 -q "$T/image" &&
		mount -o loop "$T/image" "$T/disk" 2>/dev/null || return 1
	trap away EXIT
	STORE=$T/disk/store KEY=$T/disk.key
	"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null && fs_start &&
		head -c 3000000 /dev/urandom >"$MNT/run.bag" && scrub >/dev/null &&
		sync -f "$STORE"
}
block_of() {	# FILE OFFSET: of that byte on the disk
	filefrag -v -b4096 "$1" | awk -v at="$(($2 / 4096))" '
		$1 ~ /^[0-9]+:$/ {
			gsub(/[.:]/, " ")
			if (at >= $2 && at <= $3) print $4 + at - $2
		}'
}
if type filefrag mkfs.ext4 >/dev/null && on_disk; then
	pack=$STORE/packs/0000000001.pack
	cat "$pack" >"$T/before"
	flip "$T/image" $(($(block_of "$pack" 150000) * 4096 + 1000))
	ok "the system's cache hides rot" cmp "$pack" "$T/before"
	is "a scrub reads the disk" "$(scrub --json | jq -c '[.whole, .found[].path]')" \
		'[false,null,"/run.bag"]'
	ok "unmounting" fs_stop
	is "so does fsck" "$(timeout 100 "$FSCK" -q -k "$KEY" "$STORE" >/dev/null; echo $?)" 5
	unmount "$T/disk"
fi

# --- more than are listed ---

many() {
	local i
	mkdir "$MNT/many" && head -c 1200000 /dev/urandom >"$T/random" || return 1
	for ((i = 0; i < 300; i++)); do
		dd if="$T/random" of="$MNT/many/$i" bs=4000 skip=$i count=1 status=none || return 1
	done
}
spoil() {	# each chunk of it
	local at size
	size=$(stat -c %s "$1")
	for ((at = 5000; at < size - 5000; at += 15000)); do
		flip "$1" $at
	done
}
STORE=$T/other KEY=$T/other-key
ok "another store" "$ROPECTL" init "$STORE" --key-file "$KEY"
ok "is mounted" fs_start
ok "300 small files" many
is "are whole" "$(scrub --json | jq -c .whole)" true
for pack in "$STORE"/packs/*.pack; do
	spoil "$pack"
done
is "all of them are counted, and no more are listed than fit" "$(scrub --json |
	jq -c '[.files, .problems + .files == .more + (.found | length), (.found | length)]')" \
	"[300,true,256]"
is "again, too" "$(scrub | grep -cE '^bad  and [0-9]+ more, which are counted and not listed$') $(
	status '.scrub.last.files')" "1 300"
is "and in ropectl status" "$("$ROPECTL" status "$MNT" |
	grep -cE ' and [0-9]+ more, which are counted and not listed$')" 1
ok "unmounting" fs_stop
finish
