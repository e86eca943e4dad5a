#!/bin/bash
# Edits by ioctl, and what others see of an edit: reads, maps, appends.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
digits() { printf '0123456789' >f; }

digits
is "inserts" "$("$FSOP" edit f 3 0 abc; cat f)" "ok
012abc3456789"
is "cuts" "$("$FSOP" edit f 3 3 ''; cat f)" "ok
0123456789"
is "replaces" "$("$FSOP" edit f 2 5 XY; cat f)" "ok
01XY789"
is "needs a descriptor open for writing" "$("$FSOP" edit f 0 0 x r)" EBADF
is "beyond the end is out of range" "$("$FSOP" edit f 8 0 x)" ERANGE
is "so is a cut beyond it" "$("$FSOP" edit f 3 5 '')" ERANGE
is "a big payload" "$("$FSOP" edit f 1 0 "$(printf 'p%.0s' {1..16000})"; wc -c <f)" "ok
16007"
is "a payload too big" "$("$FSOP" edit f 1 0 "$(printf 'p%.0s' {1..16100})")" EINVAL
is "not on a view" "$("$FSOP" edit f@bytes=0..1 0 0 x)" ENOTTY
digits
is "a map shows the insert at once" "$("$FSOP" map-edit f 5 __)" "0123456789
01234__56789"
digits
coproc "$FSOP" reader f 0
echo >&"${COPROC[1]}"; read -r first <&"${COPROC[0]}"
printf 'abc' >f@bytes=0..1
echo >&"${COPROC[1]}"; read -r second <&"${COPROC[0]}"
is "an open reader sees an edit by another" "$first $second" "0123456789 abc123456789"
is "an append after an insert goes to the end" "$("$FSOP" append-after-edit g)" \
	"$(printf '+%.0s' {1..50})$(printf '.%.0s' {1..100})end"
is "a copy onto bytes that are cached is seen" \
	"$(printf aaaa >x; printf bb >y; cat x >/dev/null; "$FSOP" copy-range y 0 x 1 2; cat x)" "2
abba"
is "from a view to a file" \
	"$(digits; rm -f z; "$FSOP" copy-range f@bytes=2..6 1 z 0 100; cat z)" "3
345"
printf '%s\n' start >log
(for i in {1..300}; do echo "line $i" >>log; done) &
for i in {1..100}; do printf '%s\n' "head $i" >log@bytes=0..0; done
wait $!
is "inserts at the head while another appends lose nothing" \
	"$(wc -l <log) $(sort -u log | wc -l)" "401 401"
for i in {1..300}; do "$FSOP" edit f 5 0 ab >/dev/null; "$FSOP" edit f 5 2 '' >/dev/null; done
is "600 edits later all is as before" "$(cat f)" 0123456789
cd /
sum=$(sha256sum "$MNT/log")
fs_restart || exit 1
is "edits are there after a remount" "$(sha256sum "$MNT/log")" "$sum"
finish
