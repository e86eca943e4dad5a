#!/usr/bin/env bash
# Older copies of single files of a store put back: what is noticed of them, and what it costs.
# shellcheck source-path=SCRIPTDIR disable=SC2317
. "$(dirname "$0")/../lib/mount.sh"

: "${FSCK:?the path of ropefs-fsck}"

fsck() {	# STORE
	timeout 60 "$FSCK" -k "$KEY" "$1"
}

next_state() {	# NUMBER: of a store in $T/ages
	STORE=$T/ages
	fs_start && head -c 30000 /dev/urandom >"$PLAIN/new" &&
		cp "$PLAIN/new" "$MNT/new$1" && cp "$PLAIN/new" "$MNT/kept" && fs_stop &&
		cp -r "$T/ages" "$T/age$1"
}
put_back() {	# AGE FILE...: of the store as it was then, into $T/mixed, which is of the last age
	local age=$T/age$1
	shift
	rm -rf "$T/mixed" && cp -r "$T/age3" "$T/mixed" || return 1
	while (($#)); do
		rm -r "${T:?}/mixed/$1" && cp -r "$age/$1" "$T/mixed/$1" || return 1
		shift
	done
}
shows() {	# what $T/mixed has, of what can be written, and how
	STORE=$T/mixed
	fs_start 2>/dev/null || return 1
	if cmp -s "$MNT/kept" "$PLAIN/new" 2>/dev/null; then
		names=("$MNT"/new*)
		echo "newest ${names[*]##*/}"
	fi
	touch "$MNT/more" 2>/dev/null && echo writable || echo read-only
	fs_stop
}
cp -r "$STORE" "$T/ages"
for age in 0 1 2 3; do
	ok "a store of age $age" next_state $age
done
whole='newest new0 new1 new2 new3
writable'
put_back 2 pages
is "an older page file costs nothing" "$(shows)" "$whole"
is "and is noticed" "$(put_back 2 pages; fsck "$T/mixed" | grep -c 'whole in pages.copy')" 1
put_back 2 pages pages.copy
is "both: the log still reaches back so far" "$(shows)" "$whole"
put_back 0 pages pages.copy
is "both of a time before: it does not, nothing is written on top" "$(shows)" read-only
put_back 2 wal
is "an older log: all is there, nothing is written on top" "$(shows)" "${whole/writable/read-only}"
put_back 2 packs
is "older packs: the newest is missing" "$(shows)" writable
is "which is told" "$(fsck "$T/mixed" | grep -cE '/(new3|kept) .*can.t be read')" 2
finish
