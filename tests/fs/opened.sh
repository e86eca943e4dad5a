#!/bin/bash
# Files that are in use: removed, run, truncated by their opening, of the largest size; and a
# daemon that ends while they are.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
digits() { printf '0123456789' >f; }

# --- removed ---

inodes() { tr -d '\t\n ' <.ropefs/status | grep -o '"inodes":[0-9]*'; }
are_inodes() { [[ $(inodes) == "\"inodes\":$1" ]]; }
store_has() {	# INODES: waits until there are so many, the root's among them
	until_true 100 are_inodes "$1" || { echo "$(inodes), wanted $1"; return 1; }
}
digits; exec 5<>f; rm f; exec 5>&-
ok "a removed file's bytes go with its last user" store_has 1
digits; exec 5<>f; "$FSOP" edit f 3 0 abc >/dev/null; "$FSOP" edit f 0 4 '' >/dev/null
rm f; exec 5>&-
ok "so they do when it was edited" store_has 1
digits; exec 5<>f; printf x >f@bytes=0..0; rm f@bytes=2..4; rm f; exec 5>&-
ok "and when views of it were written and removed" store_has 1
digits; cat f@bytes=0..4 >/dev/null; rm f
ok "or only read" store_has 1
digits; exec 5>f@bytes=0..0; echo x >&5; rm f; exec 5>&- 2>/dev/null
ok "a view that is open keeps it no longer" store_has 1

# --- run ---

cp "$(type -P sleep)" prog
./prog 100 &
sleeper=$!
while [[ $(readlink "/proc/$sleeper/exe") != "$MNT/prog" ]]; do sleep 0.05; done
sum=$(cksum <prog)
fails "a running program's file is not opened for writing" "Text file busy" sh -c 'echo >prog'
fails "nor is a view of it" "Text file busy" sh -c 'echo >prog@bytes=0..4'
fails "nor cut by rm" "Text file busy" rm prog@bytes=0..4
fails "nor by truncate" "Text file busy" truncate -s 2 prog@bytes=0..4
is "nor by opening it for reading" "$("$FSOP" open-trunc prog)" ETXTBSY
is "it can't be edited" "$("$FSOP" edit prog 0 0 x)" ETXTBSY
is "not even by a descriptor for neither reading nor writing" \
	"$("$FSOP" edit prog 0 0 x n)" EBADF
is "its views are read" "$(head -c 4 prog@bytes=1..4)" ELF
is "and it is as it was" "$(cksum <prog)" "$sum"
signal_child TERM "$sleeper"; wait "$sleeper" 2>/dev/null
not_busy() { (exec 9>>prog@bytes=0..0); }
ok "when it has ended, a view of it is opened again" until_true 100 not_busy
is "nor is it written when the view was open before" \
	"$("$FSOP" view-run prog@bytes=0..0 ./prog; cksum <prog)" "ETXTBSY
$sum"
ok "when that has ended it is written" until_true 100 not_busy
ok "at last" sh -c 'printf x >prog@bytes=0..0'

# --- truncated by open(2) for reading ---

reading_truncates() {
	digits; "$FSOP" open-trunc f; wc -c <f
	exec 7<f; digits; "$FSOP" open-trunc f; cat <&7; exec 7<&-
}
both "O_TRUNC for reading truncates, as elsewhere" reading_truncates
theirs=$(for_others "$FSOP")
digits; chmod 444 f
is "whoever may not write may not" \
	"$(setpriv --reuid 1234 --clear-groups "$theirs" open-trunc f 2>&1; cat f)" \
	"$(cd "$PLAIN" && digits && chmod 444 f &&
		setpriv --reuid 1234 --clear-groups "$theirs" open-trunc f 2>&1; cat "$PLAIN/f")"
rm -f f; digits
is "of a view it cuts" "$("$FSOP" open-trunc f@bytes=2..5 | sed 's/.*, //')" "reads 0
ok"
cut_now() { [[ $(cat f) == 0156789 ]]; }
ok "the range" cut_now

# --- the largest files ---

most=9223372036854775807
truncate -s $most big
printf start >big@bytes=0..5
printf end >big@bytes=-3..
is "a file of 8 EiB is written by views" "$(cat big@bytes=..5; cat big@bytes=-3..)" startend
exec 5<>big@bytes=0.. 6<>big@bytes=..-1
printf one >&5; exec 5>&-
printf two >&6; exec 6>&- 2>/dev/null
is "by two at once: the first wins" "$(cat big@bytes=..5; stat -c %s big)" "onert$most"
rm big@bytes=5..-3
is "and cut" "$(cat big)" onertend
fails "but not made longer than that" "File too large" truncate -s $most big@bytes=3..5
truncate -s $most big
is "a view's holes are the file's" "$("$FSOP" seek big@bytes=2..1000000 data 0
	"$FSOP" seek big@bytes=2..1000000 data 5000; "$FSOP" seek big@bytes=2..5 hole 1)" "0
ENXIO
3"
hole=$("$FSOP" seek big@bytes=2..1000000 hole 1)
ok "and begin soon after the data" test "$hole" -ge 6 -a "$hole" -le 4094
timeout 100 cp big@bytes=..4611686018427387904 copy
is "so that a copy is quick" "$(stat -c '%s' copy; head -c 8 copy)" "4611686018427387904
onertend"
is "and all else goes on" "$(echo on >other; cat other)" on
rm -f big copy

# --- at the end ---

digits
exec 5<>f@bytes=0..2 6<f@bytes=1..3 7<f
printf AB >&5
pid=$(fs_pid)
cd /
kill -TERM "$pid"
ok "a daemon ends with views open" wait_gone "$pid" 60
exec 5>&- 6<&- 7<&- 2>/dev/null
ok "and mounts again" fs_start
finish
