#!/bin/bash
# Big directories, and names that hurt.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1

mkdir "$MNT/many"
(cd "$MNT/many" && seq -f 'f%g' 0 9999 | xargs touch)
is "10,000 files are listed" "$(ls -U "$MNT/many" | wc -l)" 10000
is "each once" "$(ls -U "$MNT/many" | sort -u | wc -l)" 10000
is "and once more from the cache" "$(ls "$MNT/many" | wc -l)" 10000
is "a walk gives each name once, whatever is removed meanwhile" \
	"$("$FSOP" list-delete "$MNT/many")" "10000 names, 0 twice"
is "half of them are left" "$(ls -U "$MNT/many" | wc -l)" 5000
touch "$MNT/many/new"
is "a new name shows at once" "$(ls "$MNT/many" | grep -c new)" 1
ok "all of it goes" rm -r "$MNT/many"

long=$(printf 'n%.0s' {1..255})
names() {
	mkdir n; cd n || return 1
	echo 1 >"$long"; echo 2 >"${long}x"; cat "$long"
	echo 3 >$'new\nline'; echo 4 >$'\xff\xfe bytes'; echo 5 >' '; echo 6 >'-rf'; echo 7 >'a*'
	echo 8 >$'\x01'; echo 9 >'..x'; mkdir $'d\xc3\x28'; touch $'d\xc3\x28/x'
	find . | sort | od -An -c; cat ./*
	rm -- '-rf' ' '; mv $'new\nline' "${long:1}y"; ls | wc -l
	ln -s $'\xff\xfe bytes' s; cat s; readlink s | od -An -c
	target=$(printf 't%.0s' {1..4000}); ln -s "$target" far; readlink far | wc -c
}
both "names of any bytes, up to 255" names

is ".ropefs is hidden" "$(ls -a "$MNT" | grep -c ropefs)" 0
is "but there" "$(ls "$MNT/.ropefs" | grep -cx 'events\|metrics\|status')" 3
ok "status is one object" grep -q '"killpriv_v2"' "$MNT/.ropefs/status"
if type python3 >/dev/null 2>&1; then
	ok "and JSON" python3 -m json.tool "$MNT/.ropefs/status"
fi
ok "metrics count requests" grep -q '^ropefs_requests_total{op="lookup"} [1-9]' \
	"$MNT/.ropefs/metrics"
is "every metric has a type" "$(grep -c '^# TYPE' "$MNT/.ropefs/metrics")" \
	"$(grep -v '^#' "$MNT/.ropefs/metrics" | sed 's/[{ ].*//' | sort -u | wc -l)"
fails "nobody writes there" "Permission denied" \
	setpriv --reuid 65534 --clear-groups sh -c "echo >$MNT/.ropefs/status"
fails "nor makes files there" "Operation not permitted" touch "$MNT/.ropefs/x"
fails "nor takes its name" "File exists" mkdir "$MNT/.ropefs"
fails "nor removes it" "Operation not permitted" rmdir "$MNT/.ropefs"
fails "nor moves it" "Operation not permitted" mv "$MNT/.ropefs" "$MNT/other"
ok "elsewhere the name is free" mkdir -p "$MNT/sub/.ropefs"
finish
