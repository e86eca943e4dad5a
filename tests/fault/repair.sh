#!/usr/bin/env bash
# What people do about damage: what fsck says of it, by the names of files.
# shellcheck source-path=SCRIPTDIR disable=SC2317
. "$(dirname "$0")/../lib/mount.sh"

: "${FSCK:?the path of ropefs-fsck}"
needs jq

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
cp "$T/chunk/packs/0000000001.pack" "$T/damaged.pack"
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

# --- repairs ---

state_of() {	# FOLDER: a sum of all it holds
	(cd "$1" && find . -type f ! -name lock -print0 | sort -z | xargs -0 sha256sum)
}

# STORE: what is read of it is what was written, but for files that give an error; how many do.
errors_in() {
	local name bad=0
	STORE=$1 fs_start -o ro || return 1
	while read -r name; do
		if timeout 20 cat "$MNT/$name" >"$T/got" 2>/dev/null; then
			cmp -s "$T/got" "$PLAIN/$name" || bad=wrong
		else
			[[ $bad == wrong ]] || bad=$((bad + 1))
		fi
	done < <(cd "$PLAIN" && find . -type f)
	fs_stop
	echo "$bad"
}

before=$(state_of "$T/chunk")
says=$(fsck "$T/chunk" --repair --dry-run)
is "a dry run ends as a check does" $? 5
is "it says what it would do" "$(grep -c '^would' <<<"$says")" 2
is "it changes nothing" "$(state_of "$T/chunk")" "$before"
fails "without a terminal a repair wants --yes" "with --yes" fsck "$T/chunk" --repair
is "it changes nothing, either" "$(state_of "$T/chunk")" "$before"
says=$(fsck "$T/chunk" --repair --yes)
is "a repair" $? 0
kept=$(sed -n "s|.*is in $T/chunk/||p" <<<"$says")
ok "what it removed is kept" cmp "$T/chunk/$kept/packs-0000000001.pack" "$T/damaged.pack"
ok "and so is the list" grep -q 'give them up' "$T/chunk/$kept/report"
ok "fsck is content" fsck "$T/chunk"
is "it lists what was given up" "$(fsck "$T/chunk" | grep -c '^lost /logs')" 1
is "one file has an error, all else is as it was" "$(errors_in "$T/chunk")" 1
before=$(state_of "$T/chunk")
says=$(fsck "$T/chunk" --repair --yes)
is "a second repair finds nothing" "$?$(grep -c 'nothing to repair' <<<"$says")" 01
is "and changes nothing" "$(state_of "$T/chunk")" "$before"
write_again() {	# STORE: all files
	STORE=$1 fs_start && cp -r "$PLAIN/." "$MNT/" && fs_stop
}
ok "a file given up is written anew" write_again "$T/chunk"
is "and all is there" "$(errors_in "$T/chunk")" 0
is "json" "$(fsck "$T/gone" --repair --yes --json | jq -r '"\(.applied) \(.lost_files)"')" "true 3"
is "without packs only empty names are left" "$(errors_in "$T/gone")" 3
ok "and fsck is content" fsck "$T/gone"
# --- the page file ---

cp -r "$STORE" "$T/nopages"
rm "$T/nopages/pages"
fails "a store without its page file says what to do" "fsck --rebuild" fsck "$T/nopages"
fails "a repair alone does not make it" "fsck --rebuild" fsck "$T/nopages" --repair --yes
is "a dry run of --rebuild" "$(fsck "$T/nopages" --rebuild -n | grep -c 'anew from its copy')" 1
ok "--rebuild makes the page file anew" fsck "$T/nopages" --rebuild --yes
ok "fsck is content" fsck "$T/nopages"
is "and all is there" "$(errors_in "$T/nopages")" 0
cp -r "$STORE" "$T/zeros"
head -c 262144 /dev/zero >"$T/zeros/pages"
is "zeros for a page file: nothing is lost" "$(errors_in "$T/zeros")" 0
is "fsck knows" "$(fsck "$T/zeros" | grep -c 'nothing is lost: ropefs-fsck --repair')" 1
ok "and a repair writes it anew" fsck "$T/zeros" --repair --yes
rm "$T/zeros/pages.copy"
is "the copy is not needed" "$(fsck "$T/zeros" | tail -1)" clean
mount_once() {	# STORE
	STORE=$1 fs_start && fs_stop
}
ok "mounting" mount_once "$T/zeros"
ok "makes it again" test -s "$T/zeros/pages.copy"

# --- from packs and log alone ---

rm "$T/zeros"/pages*
is "a dry run without both says what is lost" "$(fsck "$T/zeros" --rebuild -n |
	grep -c 'of each of the [0-9]* packs: names, and which bytes are whose, are lost')" 1
ok "and makes nothing" test ! -e "$T/zeros/pages"
ok "--rebuild makes a page file from packs and log" fsck "$T/zeros" --rebuild --yes
ok "fsck is content" fsck "$T/zeros"
found=$T/found
take_found() {	# STORE: what lost+found has, one after another
	STORE=$1 fs_start -o ro || return 1
	cat "$MNT"/lost+found/* >"$found"
	fs_stop
}
ok "each pack is a file in lost+found" take_found "$T/zeros"
holds() {	# FILE: its first 100,000 bytes are in $found, one after another
	python3 -c '
import sys
sys.exit(open(sys.argv[1], "rb").read(100000) not in open(sys.argv[2], "rb").read())
' "$1" "$found"
}
ok "the bytes of a file are there" holds "$PLAIN/logs/old/run.bag"
ok "and of another" holds "$PLAIN/numbers"
ok "the store takes files again" write_again "$T/zeros"
is "which are right" "$(errors_in "$T/zeros")" 0
ok "and are whole" fsck "$T/zeros"
# --- a disk that is full, and repairs that are broken off ---

small=$T/small
fill_up() {	# SIZE: a disk with a copy of the store and so much room
	unmount "$small" >/dev/null
	mkdir -p "$small" && mount -t tmpfs -o size=80M none "$small" &&
		cp -r --sparse=always "$STORE" "$small/store" || return 1
	head -c 100M /dev/zero >"$small/fill" 2>/dev/null
	truncate -s "-$1" "$small/fill"
}
kept() {	# STORE: what repairs left in it
	find "$1" -maxdepth 1 -name 'damaged*' -printf '%f\n' | sed 's/-2.*Z/-TIME/' |
		sort | paste -sd ' '
}
ok "a small disk" fill_up 64K
flip "$small/store/packs/0000000001.pack" 150000
for i in 1 2; do
	fails "a repair on a full disk says so ($i)" "nothing was changed" \
		fsck "$small/store" --repair --yes
	is "and leaves nothing ($i)" "$(kept "$small/store")" ""
done
mkdir "$small/store/damaged.part" && : >"$small/store/damaged.part/pages-3"
truncate -s 0 "$small/fill"
ok "with room it repairs" fsck "$small/store" --repair --yes
is "and what one left that was killed before its commit has gone" \
	"$(kept "$small/store")" damaged-TIME
ok "fsck is content" fsck "$small/store"
flip "$small/store/ropefs" 30
mkdir "$small/store/damaged.part" && : >"$small/store/damaged.part/pages-3"
printf '\001\0\0\0\0\0\0\0' >"$small/store/damaged.part/epoch"
ok "another repair" fsck "$small/store" --repair --yes
is "keeps what one kept that was killed behind its commit" "$(find "$small/store" -name pages-3 |
	grep -c '/damaged-[^/]*/pages-3$')" 1

ok "a disk too small for a rebuild" fill_up 700K
rm "$small/store"/pages*
truncate -s +500K "$small/fill" && head -c 100M /dev/zero >>"$small/fill" 2>/dev/null
truncate -s -700K "$small/fill"
fails "a rebuild that finds it full on its way says so" "disk below the store is full" \
	fsck "$small/store" --rebuild --yes
ok "it had begun" test -e "$small/store/pages"
fails "the store can't be mounted then" "ropefs-fsck --rebuild" mount_once "$small/store"
fails "nor checked" "ropefs-fsck --rebuild" fsck "$small/store"
truncate -s 0 "$small/fill"
ok "with room the rebuild is begun again" fsck "$small/store" --rebuild --yes
ok "fsck is content" fsck "$small/store"
unmount "$small"
fails "a wrong key can't be repaired" "key" "$FSCK" -k "$T/nokey" --repair --yes "$STORE"
finish
