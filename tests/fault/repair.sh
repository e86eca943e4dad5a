#!/usr/bin/env bash
# What people do about damage: what fsck says of it, by the names of files.
# shellcheck source-path=SCRIPTDIR disable=SC2317
. "$(dirname "$0")/../lib/mount.sh"

: "${FSCK:?the path of ropefs-fsck}"

flip() {	# FILE OFFSET: its byte there becomes another
	local was
	was=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1)
	printf "\\x$(printf %02x $((was ^ 32)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

fsck() {	# STORE [option...]
	local store=$1
	shift
	timeout 60 "$FSCK" -k "$KEY" "$@" "$store"
}

seed_files() {
	mkdir -p "$PLAIN/logs/old" || return 1
	head -c 300000 /dev/urandom >"$PLAIN/logs/old/run.bag"
	head -c 200000 /dev/urandom >"$PLAIN/logs/today"
	seq 1 20000 >"$PLAIN/numbers"
	fs_start && cp -r "$PLAIN/." "$MNT/" && fs_stop
}
ok "a store with files" seed_files

# --- a bad byte, by the name of its file ---

cp -r "$STORE" "$T/chunk"
flip "$T/chunk/packs/0000000001.pack" 150000
says=$(fsck "$T/chunk")
is "fsck of a damaged chunk" $? 5
names='/logs/.* \(inode [0-9]+\): bytes [0-9]+\.\.[0-9]+ can.t be read: chunk [0-9]+ of pack 0'
is "it names the file, the bytes, the chunk and the pack" "$(grep -cE "$names" <<<"$says")" 1

cp -r "$STORE" "$T/gone"
rm "$T"/gone/packs/*.pack
says=$(fsck "$T/gone")
is "without packs every file is named" \
	"$(grep -oE '/(logs/old/run.bag|logs/today|numbers) ' <<<"$says" | sort -u | wc -l)" 3

cp -r "$STORE" "$T/header"
flip "$T/header/ropefs" 30
says=$(fsck "$T/header")
is "fsck of a damaged copy of the header" $? 5
is "it is no cause for alarm" "$(grep -c 'nothing is lost, and mounting' <<<"$says")" 1
is "and is gone after mounting" \
	"$(STORE=$T/header; fs_start && fs_stop && fsck "$STORE" | tail -1)" clean
finish
