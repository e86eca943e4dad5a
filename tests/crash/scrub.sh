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

wait_for() {	# FILTER of jq: until it is true of the status
	local i
	for ((i = 0; i < 600; i++)); do
		[[ $(status "$1") != true ]] || return 0
		sleep 0.1
	done
	return 1
}

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
ok "one that takes long" scrub --background --rate 100K
ok "runs" wait_for '.scrub.running and .scrub.now.bytes > 0'
scrub --stop
is "and can be stopped" "$? $(status .scrub.running)" "0 false"
ok "another one" scrub --background --rate 100K
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
finish
