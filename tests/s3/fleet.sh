#!/bin/bash
# ropefs --fleet: all stores of a bucket below one mount.
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/bucket.sh"
FLEET=$T/fleet
mkdir "$T/keys" "$FLEET"
fleet_end() { ! grep -q " $FLEET" /proc/self/mounts || umount -l "$FLEET"; }

bucket_start fleet fleet_end
robot() {	# NAME: a store with a file, uploaded
	"$ROPECTL" init "$T/$1" --key-file "$T/keys/$1.key" >/dev/null || return 1
	"$ROPECTL" remote add "$T/$1" "$URL" "${ENDPOINT[@]}" --key-file "$T/keys/$1.key" \
		--interval 1s >/dev/null || return 1
	STORE=$T/$1 KEY=$T/keys/$1.key fs_start || return 1
	echo "I am $1" >"$MNT/name"
	timeout 100 "$ROPECTL" sync --remote "$MNT"
	fs_stop
}

ok "one robot uploads" robot r1
ok "and another" robot r2
ok "and one whose key is not here" robot r3
mv "$T/keys/r3.key" "$T/r3.key"
instance() {	# STORE KEY
	"$ROPECTL" remote show "$1" --key-file "$2" | sed -n 's/^instance *\([0-9a-f]*\).*/\1/p'
}
id3=$(instance "$T/r3" "$T/r3.key")
id1=$(instance "$T/r1" "$T/keys/r1.key")
fails "a fleet is in a bucket" "bucket" "$ROPEFS" --fleet "$T/r1" "$FLEET"
ok "the fleet is mounted" timeout 60 "$ROPEFS" --fleet --keys "$T/keys" --interval 1 \
	"${ENDPOINT[@]}" "$URL" "$FLEET"
((FAILED == 0)) || exit 1
is "a folder each, by the name of the key or the id" "$(ls "$FLEET" | sort)" \
	"$(printf '%s\n' r1 r2 "$id3" | sort)"
is "whose files are there" "$(timeout 60 cat "$FLEET/r1/name")" "I am r1"
is "of each its own" "$(timeout 60 cat "$FLEET/r2/name")" "I am r2"
is "an id leads there too" "$(cat "$FLEET/$id1/name")" "I am r1"
fails "without the key that is said" "key not available" ls "$FLEET/$id3"
fails "of files, too" "key not available" cat "$FLEET/$id3/name"
fails "nothing is written" "Read-only" touch "$FLEET/r1/x"
is "each has its own state" \
	"$(sed -n 's/.*"follows":[[:space:]]*\(true\).*/\1/p' "$FLEET/r2/.ropefs/remote")" true
mv "$T/r3.key" "$T/keys/r3.key"
ok "a new robot uploads" robot r4
all_there() { [[ $(ls "$FLEET" | sort | xargs) == "r1 r2 r3 r4" ]]; }
until_true 60 all_there
is "and is there, as is one whose key came" "$(ls "$FLEET" | sort | xargs)" "r1 r2 r3 r4"
is "with its files" "$(timeout 60 cat "$FLEET/r3/name" "$FLEET/r4/name")" "I am r3
I am r4"
is "find sees each once" "$(cd "$FLEET" && find . -name name | sort | xargs)" \
	"./r1/name ./r2/name ./r3/name ./r4/name"
ok "it is unmounted with all below" timeout 60 "$ROPECTL" umount "$FLEET"
is "and all are gone" "$(grep -c "$FLEET" /proc/self/mounts)" 0

# By an ordinary user. The machine's /dev/fuse may be root's alone, and its fuse.conf strict.
user=(setpriv --reuid nobody --regid nogroup --clear-groups)
mine=$(for_others "$ROPEFS")
mknod "$T/fuse" c 10 229 && chmod 666 "$T/fuse" && mount --bind "$T/fuse" /dev/fuse
echo user_allow_other >"$T/fuse.conf"
[[ ! -e /etc/fuse.conf ]] || mount --bind "$T/fuse.conf" /etc/fuse.conf
chown -R nobody "$T/bucket" "$T/keys" "$FLEET"
by_user() { timeout 60 "${user[@]}" "$mine" --fleet --keys "$T/keys" "$@" "$URL" "$FLEET"; }
if command -v fusermount3 >/dev/null && "${user[@]}" test -w /dev/fuse &&
	[[ -e /etc/fuse.conf ]] && "${user[@]}" test -x "$mine"; then
	fails "an ordinary user is told what that needs" "allow_other" by_user
	ok "and with it can mount one" by_user -o allow_other
	is "and read it" "$("${user[@]}" timeout 60 cat "$FLEET/r1/name" "$FLEET/r2/name")" "I am r1
I am r2"
	fails "but not write" "Read-only" "${user[@]}" mkdir "$FLEET/r9"
	fails "nor in a store" "Read-only" "${user[@]}" touch "$FLEET/r1/x"
	ok "and unmounts it" timeout 60 "${user[@]}" "$(for_others "$ROPECTL")" umount "$FLEET"
	is "all of it" "$(grep -c "$FLEET" /proc/self/mounts)" 0
fi
bucket_stop
finish
