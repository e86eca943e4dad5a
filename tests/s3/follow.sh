#!/bin/bash
# Mounts that read a bucket while another machine writes it.
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/bucket.sh"
FAR=$T/far
mkdir "$FAR" "$T/cache"

far_start() {	# [option...]
	timeout 60 "$ROPEFS" --read-only --key-file "$KEY" --interval 1s "${ENDPOINT[@]}" "$@" \
		"$URL" "$FAR"
}
far_stop() { ! grep -q " $FAR " /proc/self/mounts || unmount "$FAR" || umount -l "$FAR"; }
bucket_start fleet/one far_stop
upload() { timeout 100 "$ROPECTL" sync --remote "$MNT" || echo "# sync: $?"; }
same() { cmp -s "$MNT/$1" "$FAR/$1"; }
state() { sed -n "s/.*\"$1\":[[:space:]]*\\([a-z0-9]*\\).*/\\1/p" "$FAR/.ropefs/remote"; }

ok "a bucket is added" "$ROPECTL" remote add "$STORE" "$URL" "${ENDPOINT[@]}" --key-file "$KEY" \
	--interval 1s
mkdir "$T/empty"
fails "a bucket without the store can't be read" "has no store" timeout 60 "$ROPEFS" \
	--read-only --key-file "$KEY" "file://$T/empty" "$FAR"
fs_start || exit 1
mkdir "$MNT/q" "$MNT/d"
"$ROPECTL" policy set "$MNT/q" kind=queue framing=line >/dev/null || exit 1
head -c 3M /dev/urandom >"$MNT/d/big"
echo one >"$MNT/log"
echo r0 >>"$MNT/q/records"
ln "$MNT/log" "$MNT/d/second-name"
upload

fails "a bucket is only read" "--read-only" \
	timeout 100 "$ROPEFS" --key-file "$KEY" "$URL" "$FAR"
fails "with its key" "--key-file" timeout 100 "$ROPEFS" --read-only "$URL" "$FAR"
ok "a bucket is mounted" far_start --cache "$T/cache"
((FAILED == 0)) || exit 1
ok "and has all bytes" same d/big
is "a folder for the cache has no name left" "$(ls -A "$T/cache")" ""
fails "it is verified elsewhere" "where the store is" "$ROPECTL" verify "$FAR"
fails "nothing is written there" "Read-only" touch "$FAR/new"
is "it says what it is" "$(state follows)" true

# An open file, a blocked view and tail -f go on with what comes.
exec 5<"$FAR/log"
is "an open file is read" "$(head -n1 <&5)" one
timeout 500 cat "$FAR/q/records@last=1,follow" > >(sed -u 3q >"$T/followed") &
follower=$!
timeout 500 tail -f -n+1 -s 0.1 "$FAR/log" >"$T/tailed" 2>/dev/null &
tailer=$!
rm_inode=$FAR/d/big
exec 6<"$rm_inode"
until_true 100 grep -q r0 "$T/followed"
until_true 100 grep -q one "$T/tailed"
for i in 2 3; do
	echo "line $i" >>"$MNT/log"
	echo "r$i" >>"$MNT/q/records"
	[[ $i == 3 ]] || upload
done
mkdir "$MNT/d/e"
mv "$MNT/d/second-name" "$MNT/d/e/third-name"
rm "$MNT/d/big"
upload
ok "a new state comes by itself" until_true 100 test ! -e "$FAR/d/big"
ok "with all that was done before" test -e "$FAR/d/e/third-name"
is "names that went are gone" "$(ls "$FAR/d")" e
is "an open file goes on" "$(cat <&5)" "line 2
line 3"
exec 5<&-
ok "a removed one that is open tells so" bash -c '! head -c1 <&6 2>/dev/null'
exec 6<&-
ok "@follow gives what comes" until_true 100 grep -q r3 "$T/followed"
signal_child TERM "$follower"
is "and all of it once" "$(cat "$T/followed")" "r0
r2
r3"
ok "tail -f too" until_true 100 grep -q 'line 3' "$T/tailed"
signal_child TERM "$tailer"
is "with no other byte" "$(cat "$T/tailed")" "one
line 2
line 3"

# Bytes change in the midst of a file whose pages the kernel has.
head -c 300000 /dev/urandom >"$MNT/edit"
mkdir "$MNT/.snap/then"
upload
ok "a new file comes" until_true 100 same edit
"$ROPECTL" insert "$MNT/edit" 1000 <<<"inserted" >/dev/null || echo "# insert failed"
upload
ok "and its edits" until_true 100 same edit
is "and a snapshot" "$(stat -c %s "$FAR/.snap/then/edit")" 300000

# Steady state: no LIST, about a request a look.
asked() { echo $(($(state gets) + $(state heads))); }
more_asked() { (($(asked) > before)); }
lists=$(state lists) before=$(asked) began=$SECONDS
sleep 2
ok "it looks" until_true 100 more_asked
is "no list while nothing is new" "$(state lists)" "$lists"
((more = $(asked) - before, more <= 2 * (SECONDS - began) + 6))
result $? "and few requests" "$more in $((SECONDS - began)) s"

# The bucket is away for a while.
if is_rgw; then
	rgw_kill
	ok "a bucket that is away shows" until_true 100 grep -q '"last_error":.*[a-z]' \
		"$FAR/.ropefs/remote"
	is "what is there is still read" "$(tail -n1 "$FAR/log")" "line 3"
	rgw_again
fi
echo "line 4" >>"$MNT/log"
upload
ok "afterwards it goes on" until_true 100 same log
far_stop
ok "it mounts again, in memory" far_start
ok "and is the newest" same log
far_stop
fs_stop
bucket_stop
finish
