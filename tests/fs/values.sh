#!/bin/bash
# Small values as files: etags and @if=, @add, @patch; strides; files that expire.
. "$(dirname "$0")/../lib/mount.sh"
needs getfattr
fs_start || exit 1
cd "$MNT" || exit 1
etag() { getfattr -n user.ropefs.etag --only-values "$1"; }

# --- @if ---

printf one >v
e=$(etag v)
is "an etag stays while the bytes do" "$(touch v; chmod 600 v; [[ $(etag v) == "$e" ]] && echo same)" same
is "it is not listed" "$(getfattr -d v 2>&1)" ""
fails "nor set" "Invalid argument" setfattr -n user.ropefs.etag -v 1-1 v
is "a value is read while it is unchanged" "$(cat "v@if=$e")" one
printf two >"v@if=$e"
is "and replaced" "$(cat v)" two
is "which gives it another etag" "$([[ $(etag v) != "$e" ]] && echo other)" other
fails "not again with the old one" "Device or resource busy" sh -c "printf three >'v@if=$e'"
fails "nor read" "Device or resource busy" cat "v@if=$e"
e=$(etag v)
fails "somebody else's change in between wins" "Device or resource busy" \
	bash -c "{ echo more >>v; printf x | cat; } >'v@if=$e'"
is "and is there" "$(cat v)" twomore
e=$(etag v)
is "twice through one descriptor" "$({ printf a; /bin/echo b; } >"v@if=$e"; cat v)" ab
e=$(etag v)
is "of any size" "$(head -c 3000000 /dev/zero >"v@if=$e"; wc -c <v)" 3000000
e=$(etag v)
is "emptied" "$(: >"v@if=$e"; wc -c <v)" 0
fails "not cut out" "Operation not permitted" rm -f "v@if=$(etag v)"
fails "an etag that is none" "Invalid argument" cat v@if=1
cd / && fs_restart || exit 1
cd "$MNT" || exit 1
e=$(etag v)
printf new >"v@if=$e"
is "etags survive a restart" "$(cat v)" new

# --- @add ---

: >n
is "an empty file is 0" "$(cat n@add)" 0
is "adds" "$(echo 5 >n@add; echo -2 >n@add; cat n n@add)" $'3\n3'
add() { local i; for i in {1..20}; do echo 1 >n@add || return; done; }
for _ in 1 2 3 4; do add & done; wait
is "many at once lose nothing" "$(cat n)" 83
is "several numbers of one writer" "$({ echo 1; sh -c 'echo 2'; } >n@add; cat n)" 86
echo 9223372036854775807 >big
fails "more than 64 bits" "Numerical result out of range" bash -c 'echo 1 >big@add'
is "leave the number" "$(cat big)" 9223372036854775807
fails "no number" "Invalid argument" bash -c 'echo one >n@add'
fails "no number without a newline" "Invalid argument" bash -c 'printf one >n@add'
echo text >t
fails "onto no number" "Invalid argument" bash -c 'echo 1 >t@add'
fails "read of no number" "Invalid argument" cat t@add
is "an event says why" "$(timeout 60 grep -m1 -c 'holds no whole number' .ropefs/events)" 1
is "of a file that is not there it is a name" "$(echo 1 >new@add; ls new*; rm new@add)" new@add

# --- @patch ---

echo nonsense >"$T/script"
echo '{"a":[1,2],"b":"x"}' >j
is "patches" "$(echo '[{"op":"add","path":"/a/1","value":9},{"op":"remove","path":"/b"}]' >j@patch; cat j)" \
	'{"a":[1,9,2]}'
fails "a test that fails" "Invalid argument" \
	bash -c "echo '[{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"test\",\"path\":\"/x\",\"value\":1}]' >j@patch"
is "leaves the file as it was" "$(cat j)" '{"a":[1,9,2]}'
fails "no JSON" "Invalid argument" cp "$T/script" j@patch
# Bash does not look at what close says.
for patch in nonsense '[{op:replace}]' '{"op":"remove","path":"/a"}' 1 '[] x'; do
	fails "echo tells that it is no patch: $patch" "Invalid argument" bash -c 'echo "$1" >j@patch' - "$patch"
done
{ printf '[{"op":"add","path":"/s",'; printf %s '"value":"]}\\\"]"'; echo '}]'; } >j@patch
is "brackets and quotes in strings end no patch" "$(jq -r .s j)" ']}\"]'
fails "it can't be read" "Permission denied" cat j@patch
echo '{"n":0,"l":[]}' >j
patch() { local i; for i in {1..8}; do echo '[{"op":"add","path":"/l/-","value":1}]' >j@patch; done; }
for _ in 1 2 3; do patch & done; wait
is "many at once lose nothing" "$(tr -cd 1 <j | wc -c)" 24

# --- stride ---

printf 'aa--bb--cc--d' >s
is "reads" "$(cat s@stride=2:4)" aabbccd
is "its size" "$(stat -c %s s@stride=2:4)" 7
is "of a range" "$(cat s@bytes=2..,stride=2:4; cat s@stride=2:4,bytes=..6)" ------aabb
is "of a range that ends in a piece" "$(cat s@bytes=..9,stride=2:4)" aabbc
is "writes as many bytes" "$(printf AABBCCD >s@stride=2:4; cat s)" AA--BB--CC--D
printf 12345678 >"$T/8"
fails "no more" "Invalid argument" cp "$T/8" s@stride=2:4
is "a part" "$(printf 'xy' | dd of=s@stride=2:4 bs=1 seek=2 conv=notrunc status=none; cat s)" AA--xy--CC--D
is "removes" "$(rm s@bytes=2..,stride=2:4; cat s)" AAxyCCD
fails "a step less than the size" "Invalid argument" cat s@stride=3:2
fails "half a stride" "Invalid argument" cat s@stride=3
head -c 1000000 /dev/urandom >"$T/r"
cp "$T/r" r
is "columns of a large file" "$(cat r@stride=3:16 | cksum)" \
	"$(perl -e 'binmode STDIN; while (read(STDIN, $b, 16)) { print substr($b, 0, 3) }' <"$T/r" | cksum)"

# --- ttl ---

mkdir -p tmp/sub tmp/kept
ok "a policy" "$ROPECTL" policy set tmp ttl=2s
ok "and one that is longer" "$ROPECTL" policy set tmp/kept ttl=1h
fails "no age" "ttl is an age" "$ROPECTL" policy set tmp ttl=soon
echo a >tmp/a; echo b >tmp/sub/b; echo c >tmp/kept/c; echo d >d
exec 8<tmp/a
cat tmp/a tmp/sub/b >/dev/null
expired() { [[ ! -e tmp/a && ! -e tmp/sub/b ]]; }
until_true 60 expired
is "files expire, in subfolders too, and no others" "$(find tmp d | sort | tr '\n' ' ')" \
	"d tmp tmp/kept tmp/kept/c tmp/sub "
is "who has one open can read it" "$(cat <&8)" a
exec 8<&-
is "it is counted" "$(grep -c '"expired_files":[^0-9]*2' .ropefs/status)" 1
cd /
ok "the store is whole" fs_stop
ok "says fsck" "$FSCK" --key-file "$KEY" "$STORE"
finish
