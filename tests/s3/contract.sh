#!/bin/bash
# The promises of core/tier/object.h held to by a Ceph gateway: plainly, by TLS, with V2
# signatures; and a store behind a proxy that spoils requests in all ways (proxy.py).
. "$(dirname "$0")/../lib/mount.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/rgw.sh"
: "${TEST_OBJECT:?the path of test_object}"
trap 'stop_proxy; rgw_stop; cleanup' EXIT
PROXY=

stop_proxy() {
	[[ -z $PROXY ]] || { kill "$PROXY" 2>/dev/null; wait "$PROXY" 2>/dev/null; }
	PROXY=
}

proxy() {	# KINDS RATE: sets PROXY_URL
	local i
	stop_proxy
	rm -f "$T/port"
	"$HERE/proxy.py" "${RGW_URL##*:}" "$1" "$2" 7 >"$T/port" 2>"$T/proxy.log" &
	PROXY=$!
	for ((i = 0; i < 600; i++)); do
		[[ -s $T/port ]] && break
		sleep 0.05
	done
	PROXY_URL=http://127.0.0.1:$(cat "$T/port")
}

contract() {	# [VARIABLE=VALUE...]
	env OBJECT_URL="s3://contract/a/b" OBJECT_ENDPOINT="$RGW_URL" "$@" "$TEST_OBJECT" |
		grep -v '^ok\|^#\|^1\.\.' >"$T/said"
	[[ ! -s $T/said ]] || { cat "$T/said"; return 1; }
}

rgw_start
"$HERE/make_bucket.py" "$RGW_URL" contract || exit 1
ok "the contract" contract
ok "by TLS, with the certificate" contract OBJECT_ENDPOINT="$RGW_TLS_URL" \
	OBJECT_CA_FILE="$RGW_CA" CK_RUN_CASE=first
ok "with V2 signatures" contract OBJECT_SIGNATURE_V2=1 CK_RUN_CASE=first

add() {		# URL [OPTION...]
	timeout 100 "$ROPECTL" remote add "$STORE" "s3://contract/store" --key-file "$KEY" \
		--endpoint "$@"
}
fails "a certificate nobody vouches for is refused" "certificate" add "$RGW_TLS_URL"
fails "a bucket that is not there" "no bucket" timeout 100 "$ROPECTL" remote add "$STORE" \
	s3://nobody-made-it/x --key-file "$KEY" --endpoint "$RGW_URL"
wrong_secret() { AWS_SECRET_ACCESS_KEY=wrong add "$RGW_URL"; }
fails "a wrong secret" "credentials" wrong_secret
proxy expired 1
fails "credentials that have expired" "ExpiredToken" add "$PROXY_URL"

proxy refuse,slow,late,cut,lost,wrongput,skew 6
ok "a bucket behind a bad line is added" add "$PROXY_URL" --interval 1s --local 2M
fs_start || exit 1
for i in 1 2 3; do
	head -c 1M /dev/urandom >"$MNT/f$i"
	timeout 150 "$ROPECTL" sync --remote "$MNT" || echo "# sync $i: $?"
done
ok "all goes up" timeout 150 "$ROPECTL" sync --remote "$MNT"
before=$(cd "$MNT" && sha256sum -- *)
fs_stop
ok "nothing is missing" timeout 150 "$ROPECTL" verify "$STORE" --key-file "$KEY"
proxy refuse,slow,cut,lost,wrong 8
ok "it comes back" timeout 150 "$ROPECTL" clone s3://contract/store "$T/clone" \
	--endpoint "$PROXY_URL" --key-file "$KEY"
STORE=$T/clone
fs_start
is "as it was" "$(cd "$MNT" && sha256sum -- *)" "$before"
fs_stop
stop_proxy
rgw_stop
finish
