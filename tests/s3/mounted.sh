#!/bin/bash
# A mount with a bucket: upload, local limit, read-back, clone, take-over, kills. The bucket is a
# folder, or with BUCKET=rgw one of a Ceph gateway (rgw.sh).
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/bucket.sh"
CLONE=$T/clone
bucket_start fleet/one
add=("$ROPECTL" remote add "$STORE" "$URL" "${ENDPOINT[@]}" --key-file "$KEY" --interval 1s)
hash() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }
fill() {	# NAME MIB
	head -c "$2M" /dev/urandom >"$MNT/$1"
}
gets() { sed -n 's/^ropefs_remote_get_total //p' "$MNT/.ropefs/metrics"; }
only_there() { sed -n 's/^ropefs_remote_only_packs //p' "$MNT/.ropefs/metrics"; }
is_evicted() { (($(only_there) > 0)); }	# a pack is only in the bucket

fails "a place that is none is refused" "begins with neither" \
	"$ROPECTL" remote add "$STORE" ftp://x --key-file "$KEY"
ok "a bucket is added" "${add[@]}" --local 4M
fails "once" "has a bucket already" "${add[@]}"
fs_start || exit 1
fill a 3
mkdir "$MNT/folder-with-a-secret-name"
echo "words that are a secret" >"$MNT/folder-with-a-secret-name/b"
ok "sync waits for the bucket" timeout 100 "$ROPECTL" sync --remote "$MNT"
ok "show tells of it" grep -q "^bucket .*$URL" <("$ROPECTL" remote show "$MNT")
for i in 1 2 3 4; do
	fill "c$i" 3
	timeout 100 "$ROPECTL" sync --remote "$MNT" || echo "# sync: $?"
done
ok "packs over the limit leave" until_true 120 is_evicted
is "a scrub says what it did not read, and who does" "$(timeout 100 "$ROPECTL" scrub "$MNT" |
	grep -c 'packs of .* are in the bucket only and were not read: .*ropectl verify')" 1
before=$(hash "$MNT")
rm -f "$MNT/c4"
fill c5 2
before=$(hash "$MNT")
ok "and again" timeout 100 "$ROPECTL" sync --remote "$MNT"
fs_restart
is "bytes that left come back when read" "$(hash "$MNT")" "$before"
[[ $(gets) -gt 0 ]]
result $? "by requests that are counted"
fs_kill
fs_start
is "after a kill too" "$(hash "$MNT")" "$before"
fs_stop
ok "the bucket has what was put there" "$ROPECTL" verify "$STORE" --key-file "$KEY"
if ! is_rgw; then
	ok "nothing in it can be read" bash -c "! grep -rqE 'secret' '$T/bucket'"
fi

clone() { timeout 100 "$ROPECTL" clone "$URL" "$@" "${ENDPOINT[@]}" --key-file "$KEY"; }
ok "a clone needs the bucket and the key" clone "$CLONE"
first=$STORE
STORE=$CLONE
fs_start || echo "# the clone can't be mounted"
is "and has all" "$(hash "$MNT")" "$before"
fails "but is read-only" "Read-only" touch "$MNT/new"
fs_stop
ok "a clone that takes over" clone "$T/heir" --take-over
STORE=$T/heir
fs_start || echo "# the heir can't be mounted"
echo "from the heir" >"$MNT/d"
ok "goes on writing" timeout 100 "$ROPECTL" sync --remote "$MNT"
fs_stop
STORE=$first
fs_start
echo "too late" >"$MNT/e" 2>/dev/null
fails "and the first writer stops" "another" timeout 100 "$ROPECTL" sync --remote "$MNT"
is "with what it has" "$(hash "$MNT" >/dev/null && head -c3 "$MNT/folder-with-a-secret-name/b")" wor
fs_stop

# Kills in a loop while it writes, uploads, evicts and reads back.
STORE=$T/heir
fs_start
for i in 1 2 3 4 5 6; do
	fill "k$i" 1
	sync "$MNT/k$i"
	! is_rgw || [[ $i != 3 ]] || rgw_kill
	sleep "0.$i"
	cat "$MNT/c1" >/dev/null 2>&1 &
	reader=$!
	fs_kill
	wait "$reader"
	! is_rgw || [[ $i != 3 ]] || rgw_again
	fs_start
done
before=$(hash "$MNT")
ok "after kills all goes up" timeout 100 "$ROPECTL" sync --remote "$MNT"
is "and is the same" "$(hash "$MNT")" "$before"
fs_stop
ok "in the bucket too" "$ROPECTL" verify "$STORE" --key-file "$KEY"
ok "from where it comes back" clone "$T/last"
STORE=$T/last
fs_start
is "as it was" "$(hash "$MNT")" "$before"
fs_stop
bucket_stop
finish
