#!/bin/bash
# Transactions by `ropectl edit` and by ioctl: whole or absent, unseen until the commit.
. "$(dirname "$0")/../lib/mount.sh"
fs_start -o allow_other || exit 1
cd "$MNT" || exit 1
edit() { timeout 60 "$ROPECTL" edit "$@"; }

files() { printf '0123456789' >a; printf 'abcdef' >b; }

files
cat >"$T/script" <<'END'
# a comment, and an empty line

insert a 0 'first '
replace a -1.. "\n\x41\"end"
cut b 1..3
move a 8..10 to b 0
copy b 0..2 to b -1..
END
is "a script of edits of several files" "$(edit "$T/script"; cat a; echo; cat b)" \
	$'first 0145678\nA"end\n23ade23'
files
is "says what it did" "$(echo "insert a 1 xyz" | edit --json)" \
	'{"edits": 1, "bytes_in": 3, "bytes_out": 0, "committed": true}'
files
is "tries without doing" "$(echo "cut a 2..5" | edit -n; cat a)" \
	"1 edits would be made: 0 bytes in, 3 bytes out
0123456789"
fails "a line that fails is named" "-:2: b: 3..99: byte 99 is beyond the file's end (6 bytes)" \
	edit <<<$'cut a 0..5\ncut b 3..99'
is "and nothing has happened" "$(cat a b)" 0123456789abcdef
fails "an unknown edit" "-:1: frob: there are insert, cut" edit <<<"frob a 1"
fails "a quote without end" "-:1: a quote does not end" edit <<<"insert a 1 'x"
fails "a file that is not there" "-:1: nix: No such file" edit <<<"insert nix 1 x"
fails "a file of another filesystem" "it is not in a ropefs mount" \
	edit <<<"insert $T/script 1 x"
fails "bytes are not moved among themselves" \
	"-:1: a: bytes 0..4 can't be moved to byte 2, which is among them" edit <<<'move a 0..4 to a 2'
fails "nor copied over themselves" \
	"-:1: a: bytes 0..4 can't take the place of 2..8, which overlap them" \
	edit <<<'copy a 0..4 to a 2..8'
fails "nor moved" "-:1: a: bytes 2..6 can't take the place of 0..4, which overlap them" \
	edit <<<'move a 2..6 to a 0..4'
fails "a cursor of an ordinary file" \
	"-:1: a: it is an ordinary file, and only queues have cursors" edit <<<'cursor a w 1'
fails "no data" "insert: it takes:" edit <<<"insert a 1"
head -c 300000 /dev/urandom >"$T/big"
is "a file's bytes, however many" \
	"$(edit <<<"replace a 2..8 < $T/big"; { printf 01; cat "$T/big"; printf 89; } | cmp - a && echo same)" \
	same

# Names, records and cursors.
mkdir logs done
"$ROPECTL" policy set logs kind=queue
printf 'one\ntwo\n' >logs/q
echo old >was; echo gone >gone; ls was gone made moved 2>/dev/null >/dev/null
cat >"$T/names" <<'END'
create made
insert made 0 "a b"
replace made 1..2 'new'
append made " end"
unlink gone
append was more
rename was done/moved
append logs/q "three\nfour\n"
cursor logs/q worker 2
END
ok "makes, moves and removes names, adds records, moves a cursor" edit "$T/names"
is "all of it is there" "$(cat made; echo; cat done/moved; echo; ls)" "anewb end
old
more
a
b
done
logs
made"
is "the queue, too" "$(xargs <logs/q) $("$ROPECTL" cursor ls logs/q | cut -f 1,2 | xargs)" \
	"one two three four worker 2"
fails "when one can't be done" "No such file" edit <<<$'append logs/q x\ncreate more\nunlink nix'
fails "also at the end" "ropectl: -: nothing was done: record 99 is not there yet" \
	edit <<<$'append logs/q "x\\n"\ncreate more\ncursor logs/q w 99'
is "nothing is" "$(xargs <logs/q) $(ls -d more 2>&1)" \
	"one two three four ls: cannot access 'more': No such file or directory"
fails "bytes of a queue stay" "can be copied, but not moved away" \
	edit <<<'move logs/q 0..1 to a 0'
fails "a queue is only appended to" "a queue only takes appends" edit <<<'insert logs/q 0 x'
seq 1 9000 >"$T/lines"
is "records in pieces are not torn" "$(edit <<<"append logs/q < $T/lines"; \
	tail -n +5 logs/q | cmp - "$T/lines" && \
	wc -l <logs/q@as=json)" "9004"
chmod 755 done; chmod 1777 logs
fails "a folder one may not write" "Permission denied" \
	setpriv --reuid 1234 --regid 1234 --clear-groups timeout 60 "$(for_others "$ROPECTL")" \
	edit <<<'create done/theirs'
fails "somebody else's in a sticky one" "Operation not permitted" \
	setpriv --reuid 1234 --regid 1234 --clear-groups timeout 60 "$(for_others "$ROPECTL")" \
	edit <<<'unlink logs/q'
is "what is made among queues is one" \
	"$(edit <<<$'create logs/new\nappend logs/new "a\\nb\\n"'; cat logs/new@last=1)" b
is "one may where one may" "$(setpriv --reuid 1234 --regid 1234 --clear-groups timeout 60 \
	"$(for_others "$ROPECTL")" edit <<<'create logs/mine'; stat -c '%u %a' logs/mine)" "1234 644"
rm -r logs done made
rm -f more

# A script that is still being written: its transaction is open.
mkfifo "$T/pipe"
open_script() { "$ROPECTL" edit "$T/pipe" >"$T/out" 2>&1 & editor=$!; exec 7>"$T/pipe"; }
# Waits until the line before has been done: a comment of a page can only be written then.
seen() { timeout 60 sh -c 'printf "#%70000s\n#%70000s\n" "" "" >&7'; }

files; cat a b >/dev/null
open_script
printf 'cut a 0..4\nmove b 0..3 to a 0\n' >&7; seen
is "edits are not seen before the commit" "$(cat a b)" 0123456789abcdef
exec 7>&-; wait "$editor"
is "and all of them after it, in what was cached too" \
	"$(cat a; echo; cat b; stat -c ' %s' a b)" $'abc456789\ndef 9\n 3'

files
open_script
printf 'cut a 0..4\ncut b 0..4\n' >&7; seen
echo more >>b
exec 7>&-; wait "$editor"; status=$?
is "somebody else's change makes it fail" "$status $(cat "$T/out")" \
	"8 ropectl: $T/pipe: somebody else changed one of the files meanwhile, or the daemon was replaced: nothing was done; run it again"
is "and is kept, and nothing else" "$(cat a b)" "0123456789abcdefmore"

files
open_script
printf 'cut a 0..4\n' >&7; seen
signal_child KILL "$editor"; wait "$editor" 2>/dev/null; exec 7>&-
is "a killed program has changed nothing" "$(cat a)" 0123456789
files; sync a
open_script
printf 'cut a 0..4\ncut b 0..1\n' >&7; seen
cd /; fs_kill; exec 7>&-; wait "$editor"; fs_start -o allow_other; cd "$MNT" || exit 1
is "nor has one whose daemon was killed" "$(cat a b)" 0123456789abcdef
three_inodes() { tr -d '[:space:]' <.ropefs/status | grep -q '"inodes":3,'; }
ok "whose private copies are gone" until_true 60 three_inodes

is "they are counted" "$(sed -n 's/^ropefs_transactions_total //p' .ropefs/metrics)" 0
# Two at once on files in the other order, many times: each ends, done or refused.
files
swap() { local i; for i in {1..15}; do edit <<<"move $1 0..1 to $2 0
copy $2 0..1 to $1 0" 2>/dev/null && echo done >>"$T/log.$1"; done; }
: >"$T/log.a"; : >"$T/log.b"
swap a b & one=$!; swap b a & two=$!
wait "$one" "$two"
is "opposite orders never wait for each other for ever" \
	"$(($(cat "$T"/log.[ab] | wc -l) > 0)) $(($(cat a b | wc -c) - 16 == $(cat "$T"/log.[ab] | wc -l)))" "1 1"

chmod 644 a; chmod 666 b; files
theirs=$(for_others "$ROPECTL")
as() { setpriv --reuid 1234 --regid 1234 --clear-groups "$@"; }
fails "a file one may not write" "a: Permission denied" \
	as timeout 60 "$theirs" edit <<<$'cut b 0..1\ncut a 0..1'
is "one that one may only read can be copied from" \
	"$(as timeout 60 "$theirs" edit <<<'copy a 0..2 to b 0'; cat b)" 01abcdef
fails "but not moved from" "a: Permission denied" \
	as timeout 60 "$theirs" edit <<<'move a 0..2 to b 0'
chmod 4777 b
is "set-id bits go as by a write" "$(as timeout 60 "$theirs" edit <<<'cut b 0..2'; stat -c %a b)" 777

files
is "by ioctl" "$("$FSOP" txn a b; cat a; echo " $(cat b)")" "use 10 6
read-only: EBADF
no such txn: EINVAL
beyond: ERANGE
commit: 0
again: EINVAL
aZabc0123456789 def"
cd /
ok "the store is whole" fs_stop
ok "says fsck" "$FSCK" --key-file "$KEY" "$STORE"
finish
