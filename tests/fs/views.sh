#!/bin/bash
# NAME@bytes=A..B: read, insert, replace, cut, and what must not work.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
digits() { printf '0123456789' >f; }
digits

is "reads a range" "$(cat f@bytes=2..5)" 234
is "to the end" "$(cat f@bytes=7..)" 789
is "from the start" "$(cat f@bytes=..3)" 012
is "counted from the end" "$(cat f@bytes=-3..)" 789
is "up to near the end" "$(cat f@bytes=..-8)" 01
is "its size is the range's" "$(stat -c %s f@bytes=2..5)" 3
is "head, cp and cmp read it" "$(head -c 2 f@bytes=4..8; cp f@bytes=0..3 c; cat c)" 45012
is "an empty range is empty" "$(cat f@bytes=3..3 | wc -c)" 0
is "is never listed" "$(ls | tr '\n' ' ')" "c f "
printf 'ab' >f@bytes=5..5
is "inserts at a place between bytes" "$(cat f)" 01234ab56789
digits; printf 'X' >f@bytes=2..8
is "replaces by less" "$(cat f)" 01X89
digits; printf 'longer' >f@bytes=2..3
is "replaces by more" "$(cat f)" 01longer3456789
digits; printf '+' >>f@bytes=2..5
is "appends to the range by >>" "$(cat f)" 01234+56789
digits; rm f@bytes=2..5
is "rm cuts" "$(cat f)" 0156789
digits; : >f@bytes=2..5
is ": > cuts" "$(cat f)" 0156789
for i in {1..50}; do
	digits; : >f@bytes=2..5; [[ $(cat f) == 0156789 && $(stat -c %s f) == 7 ]] || break
done
is "and whoever looks then sees it cut" "$i" 50
digits; printf 'end' >f@bytes=10..
is "inserts at the end" "$(cat f)" 0123456789end
digits; printf 'XY' | dd of=f@bytes=2..8 bs=1 seek=1 conv=notrunc status=none
is "writes into the middle of a range" "$(cat f)" 012XY56789
digits; truncate -s 1 f@bytes=2..8
is "truncate shortens the range" "$(cat f)" 01289
digits; cp c f@bytes=0..9
is "cp writes it" "$(cat f)" 0129
digits; is "a dup'd descriptor's two flushes place it once" \
	"$("$FSOP" dup-write f@bytes=2..4; cat f)" "ok
01onetwo456789"
digits; (echo one; /bin/echo two; cat c) >f@bytes=1..9
is "several programs write one view" "$(cat f | tr '\n' ,)" "0one,two,0129"
digits; sh -c 'exec >f@bytes=0..2; echo a; exec /bin/echo b'
is "so does exec" "$(cat f | tr '\n' ,)" "a,b,23456789"
digits; is "fsync commits before the close" \
	"$("$FSOP" view-fsync f@bytes=2..8 f)" 01sync89
digits; is "an edit that moved the place makes it stale" \
	"$("$FSOP" view-conflict f@bytes=4..5 f; cat f)" "ESTALE
ESTALE
!0123456789"
digits
exec 7<f 8<f@bytes=0..4
head -c 2 f >/dev/null
rm f@bytes=0..3
is "a reader with the file open and cached sees the cut" "$(cat <&7)" 3456789
exec 7<&- 8<&-

digits
fails "a range outside of the file" "Numerical result out of range" cat f@bytes=5..11
fails "a reversed range" "" cat f@bytes=5..2
fails "a bad value" "Invalid argument" cat f@bytes=x..2
fails "a bad value for writing" "Invalid argument" sh -c 'echo >f@bytes=x..2'
fails "a file that isn't there" "No such file" cat none@bytes=0..1
fails "no rename of a view" EPERM "$FSOP" noreplace f@bytes=0..1 g
mv -T c f@bytes=0..1 2>/dev/null
is "nor onto one" "$(cat f; cat c)" 0123456789012
fails "no link" "" ln f@bytes=0..1 g
fails "no chmod" "Operation not permitted" chmod 600 f@bytes=0..1
fails "no xattr" "Operation not permitted" setfattr -n user.a -v 1 f@bytes=0..1
fails "no directory of a view's name" "File exists" mkdir f@bytes=0..1
is "and the file is as it was" "$(cat f)" 0123456789

echo real >user@host
is "a tail that is no selector is a name" "$(cat user@host; ls | grep -c @)" "real
1"
echo x >late@bytes=0..1
is "a view of nothing is an ordinary name" "$(cat late@bytes=0..1; ls | grep -c late)" "x
1"
echo late >late
is "which wins over the view" "$(cat late@bytes=0..1)" x
rm late@bytes=0..1
is "until it is removed" "$(cat late@bytes=0..1)" l
mkdir dir
fails "a directory has no views" "No such file" cat dir@bytes=0..1
ln -s f link
fails "nor has a symlink" "No such file" cat link@bytes=0..1
: >empty
printf 'first' >empty@bytes=0..0
is "an empty file takes an insert" "$(cat empty)" first

head -c 3000000 /dev/urandom >big
head -c 1000000 big >want; cat big >>want; tail -c +1000001 big >>want
cat big >"$T/big"; cat "$T/big" >big@bytes=1000000..1000000
ok "megabytes go in at once" cmp big want
rm big@bytes=1000000..4000000
ok "and out" cmp big "$T/big"
cat big@bytes=100..2000100 >"$T/part"
ok "and are read" cmp "$T/part" <(tail -c +101 "$T/big" | head -c 2000000)

cd /
fs_restart -o views=off || exit 1
cd "$MNT" || exit 1
fails "views=off shows none" "No such file" cat f@bytes=0..1
echo plain >f@bytes=0..1
is "and their names are free" "$(cat f@bytes=0..1)" plain
cd /
finish
