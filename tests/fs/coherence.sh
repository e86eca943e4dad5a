#!/bin/bash
# The kernel's cache follows what is edited below it: readers never see zeros or old bytes, and
# what a map has changed goes where it belongs. ROPEFS_COHERENCE_MS makes a soak of it.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
ms=${ROPEFS_COHERENCE_MS:-1500}

is "a reader that follows a logger sees what it wrote" "$("$COHERENT" tail log "$ms")" ok
is "so does one that opens it later" "$("$COHERENT" tail-late late "$ms")" ok
is "on ext4 so does one by a map" "$("$COHERENT" tail-map "$PLAIN/mapped" $((ms / 4)))" ok
is "here, too" "$("$COHERENT" tail-map mapped "$ms")" ok
is "a read across the end after a cut and an append ends there" \
	"$("$COHERENT" cut-append f $((ms / 4)))" ok
for i in 1 2 3; do "$COHERENT" cut-append "f$i" $((ms / 8)) & done >"$T/out"
wait
is "so does one while others do the same" "$(tr '\n' ' ' <"$T/out")" "ok ok ok "
is "a log that is cut and followed meanwhile shows no zeros" \
	"$("$COHERENT" rotate cut "$ms")" ok
is "what a map changed is inserted before, by a view" "$("$COHERENT" map m1 view)" ok
is "and by ioctl" "$("$COHERENT" map m2 ioctl)" ok
is "a cut before it stays cut" "$("$COHERENT" map-cut m3)" ok
for i in {1..30}; do
	printf 'A%.0s' {1..2000} >s
	exec 5<s
	head -c 2000 s >/dev/null
	: >s@bytes=0..1500
	printf B >>s
	[[ $(wc -c <&5) == 501 ]] || break
	exec 5<&-
done
is "a cut by : > is seen by who has the file open" "$i" 30
ok "on ext4 a name removed before a listing began is not in it" "$COHERENT" list "$PLAIN/names"
is "nor here, though another listing ends meanwhile that has it" "$("$COHERENT" list names)" ok
is "the directory behind it can't be used" \
	"$(ls .ropefs/.sizes; touch .ropefs/.sizes/1 2>&1)" \
	"touch: cannot touch '.ropefs/.sizes/1': Operation not permitted"
cd /
sum=$(sha256sum "$MNT/cut" "$MNT/m1" "$MNT/m3")
fs_restart || exit 1
is "and all is as it was after a remount" "$(sha256sum "$MNT/cut" "$MNT/m1" "$MNT/m3")" "$sum"
finish
