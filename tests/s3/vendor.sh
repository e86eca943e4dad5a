#!/bin/bash
# A second vendor: OpenStack Swift, whose s3api has no conditional puts. What of the contract
# (core/tier/object.h) needs none holds; one writer works, is cloned and read; nobody takes over.
if [[ -z ${TEST_SECONDS-} ]]; then
	echo "1..0 # SKIP Swift, a second S3 vendor, runs with tools/test --long: it starts slowly"
	exit 0
fi
. "$(dirname "$0")/../lib/mount.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/rgw.sh"
. "$HERE/swift.sh"
: "${TEST_OBJECT:?the path of test_object}"
trap 'swift_stop; cleanup' EXIT

swift_start
"$HERE/make_bucket.py" "$SWIFT_URL" robots || swift_failed "making a bucket"
contract() {
	env OBJECT_URL=s3://robots/contract OBJECT_ENDPOINT="$SWIFT_URL" OBJECT_UNCONDITIONAL=1 \
		CK_RUN_CASE=first "$TEST_OBJECT" | grep -v '^ok\|^#\|^1\.\.' >"$T/said"
	[[ ! -s $T/said ]] || { cat "$T/said"; return 1; }
}
clone() {
	timeout 100 "$ROPECTL" clone s3://robots/one "$@" --endpoint "$SWIFT_URL" --key-file "$KEY"
}
ok "the contract" contract
said=$(timeout 100 "$ROPECTL" remote add "$STORE" s3://robots/one --key-file "$KEY" \
	--endpoint "$SWIFT_URL" --interval 1s --local 2M 2>&1)
result $? "a bucket is added" "$said"
ok "and told to have no conditional puts" grep -q "no atomic conditional put" <<<"$said"
((FAILED == 0)) || exit 1
fs_start || exit 1
for i in 1 2 3; do
	head -c 2M /dev/urandom >"$MNT/f$i"
	timeout 150 "$ROPECTL" sync --remote "$MNT" || echo "# sync $i: $?"
done
before=$(cd "$MNT" && sha256sum -- *)
ok "status says that nobody can take over" grep -q "^take-over *refused" \
	<("$ROPECTL" remote show "$MNT")
fs_restart
is "what left comes back" "$(cd "$MNT" && sha256sum -- *)" "$before"
fs_stop
ok "the bucket has what was put there" timeout 100 "$ROPECTL" verify "$STORE" --key-file "$KEY"
fails "nobody takes over" "taking over is refused" clone --take-over "$T/heir"
ok "a mount reads it" timeout 60 "$ROPEFS" --read-only --key-file "$KEY" \
	--endpoint "$SWIFT_URL" s3://robots/one "$MNT"
is "all of it" "$(cd "$MNT" && sha256sum -- *)" "$before"
unmount "$MNT"
swift_stop
finish
