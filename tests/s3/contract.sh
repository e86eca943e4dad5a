#!/bin/bash
# The promises of core/tier/object.h held to by a Ceph gateway: plainly, by TLS, with V2
# signatures; and a store behind a proxy that spoils requests in all ways (proxy.py).
. "$(dirname "$0")/../lib/mount.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/rgw.sh"
: "${TEST_OBJECT:?the path of test_object}" "${TEST_RACES:?that of test_races}"
: "${WRONG_CLOCK_SO:?the path of wrong_clock.so}"
trap 'stop_proxy; rgw_stop; cleanup' EXIT
PROXY=

stop_proxy() {
	[[ -z $PROXY ]] || { signal_child TERM "$PROXY"; wait "$PROXY" 2>/dev/null; }
	PROXY=
}

proxy() {	# KINDS RATE: sets PROXY_URL
	stop_proxy
	rm -f "$T/port"
	"$HERE/proxy.py" "${RGW_URL##*:}" "$1" "$2" 7 >"$T/port" 2>"$T/proxy.log" &
	PROXY=$!
	until_true 60 test -s "$T/port"
	PROXY_URL=http://127.0.0.1:$(cat "$T/port")
}

contract() {	# [VARIABLE=VALUE...]
	env OBJECT_URL="s3://contract/a/b" OBJECT_ENDPOINT="$RGW_URL" "$@" "$TEST_OBJECT" |
		grep -v '^ok\|^#\|^1\.\.' >"$T/said"
	[[ ! -s $T/said ]] || { cat "$T/said"; return 1; }
}

races() {	# two devices that both think they are the writer
	env OBJECT_URL=s3://contract/races OBJECT_ENDPOINT="$RGW_URL" \
		RACES="$([[ -n ${TEST_SECONDS-} ]] && echo 200 || echo 10)" "$TEST_RACES"
}

rgw_start
"$HERE/make_bucket.py" "$RGW_URL" contract || exit 1
ok "the contract" contract
ok "by TLS, with the certificate" contract OBJECT_ENDPOINT="$RGW_TLS_URL" \
	OBJECT_CA_FILE="$RGW_CA" CK_RUN_CASE=first
ok "with V2 signatures" contract OBJECT_SIGNATURE_V2=1 CK_RUN_CASE=first

ok "with the bucket's name before the host's" contract OBJECT_VIRTUAL_HOST=1 \
	OBJECT_ENDPOINT="http://s3.localhost:${RGW_URL##*:}" CK_RUN_CASE=first

add() {		# URL [OPTION...]
	timeout 100 "$ROPECTL" remote add "$STORE" "s3://contract/store" --key-file "$KEY" \
		--endpoint "$@"
}
add_says() {	# fails, with what was said, when there is something to say
	local said
	said=$(add "$@") || return 0
	echo "$said"
	[[ $said != *"no atomic"* ]]
}
fails "a certificate nobody vouches for is refused" "certificate" add "$RGW_TLS_URL"
fails "and one of another host" "match" add "${RGW_TLS_URL/127.0.0.1/s3.localhost}" \
	--ca-file "$RGW_CA"
fails "a bucket that is not there" "no bucket" timeout 100 "$ROPECTL" remote add "$STORE" \
	s3://nobody-made-it/x --key-file "$KEY" --endpoint "$RGW_URL"
wrong_secret() { AWS_SECRET_ACCESS_KEY=wrong add "$RGW_URL"; }
fails "a wrong secret" "credentials" wrong_secret
proxy expired 1
fails "credentials that have expired" \
	"(ExpiredToken): the credentials have expired: ropectl remote set" add "$PROXY_URL"
proxy bare 1
fails "a put that has an error for an answer, and no word" "answer 503" add "$PROXY_URL"
proxy there 1
fails "or that an object is there, unasked" "answer 412" add "$PROXY_URL"
proxy token 1
fails "a session token that is none any more" "session token is not valid" add "$PROXY_URL"
proxy skew 1
fails "a server that finds all requests too late" "too old or too new" add "$PROXY_URL"
# A clock that is wrong is told by how much; what is less than a week does not hinder.
wrong_clock() {	# SECONDS COMMAND...
	LD_PRELOAD=$WRONG_CLOCK_SO WRONG_CLOCK_S=$1 "${@:2}"
}
fails "a clock far behind is told of" " s behind that of 127.0.0.1" \
	wrong_clock -1000000000 add "$RGW_URL"
fails "and one ahead" " s ahead of that of 127.0.0.1" wrong_clock 1000000000 add "$RGW_URL"

# A server without conditional puts: one writer works, and a second one is refused.
proxy uncond 1
fails "a bucket without conditional puts is told apart" "no atomic conditional put" \
	add_says "$PROXY_URL" --interval 1s
fs_start || exit 1
echo one >"$MNT/one"
ok "one writer uploads there" timeout 100 "$ROPECTL" sync --remote "$MNT"
ok "and its status says what it can't" grep -q "^take-over *refused" \
	<("$ROPECTL" remote show "$MNT")
fails "nobody takes over there" "taking over is refused" timeout 100 "$ROPECTL" clone \
	--take-over s3://contract/store "$T/heir" --endpoint "$PROXY_URL" --key-file "$KEY"
echo two >"$MNT/two"
ok "the writer goes on" timeout 100 "$ROPECTL" sync --remote "$MNT"
fs_stop
ok "it is taken away again" "$ROPECTL" remote rm "$STORE" --key-file "$KEY"
if [[ -n ${TEST_SECONDS-} ]]; then
	proxy stall 20
	# 20 seconds each, and one of the threads may have three.
	ok "a stall is waited out" contract OBJECT_ENDPOINT="$PROXY_URL" CK_RUN_CASE=first \
		CK_TIMEOUT_MULTIPLIER=4
fi
ok "of two writers one wins" races

STORE=$T/second
"$ROPECTL" init "$STORE" --key-file "$T/second.key" >/dev/null
KEY=$T/second.key
WIRE=$T/wire proxy refuse,slow,bare,late,cut,lost,wrongput,skew 6
ok "a bucket behind a bad line is added" add "$PROXY_URL" --interval 1s --local 2M \
	--region robots-1
fs_start || exit 1
mkdir "$MNT/q" "$MNT/folder-with-a-hidden-name"
echo "words that are hidden" >"$MNT/folder-with-a-hidden-name/words"
"$ROPECTL" policy set "$MNT/q" kind=queue framing=line
seq 50000 >"$MNT/q/lines"
seq -f 'canary-in-a-file-%g' 1000 >"$MNT/q/canary-in-a-name"
for i in 1 2 3; do
	head -c 1M /dev/urandom >"$MNT/f$i"
	timeout 150 "$ROPECTL" sync --remote "$MNT" || echo "# sync $i: $?"
done
ok "all goes up" timeout 150 "$ROPECTL" sync --remote "$MNT"
before=$(cd "$MNT" && sha256sum -- f[0-9]* q/*)
fs_stop
ok "what came over the wire was seen" grep -qa 'PUT /contract/store' "$T/wire"
is "nobody waits for 100 Continue" "$(grep -cai '^expect:' "$T/wire")" 0
is "names, headers and bodies tell nothing" \
	"$(grep -caE 'hidden|user\.ropefs|framing' "$T/wire")" 0
ok "nothing is missing" timeout 150 "$ROPECTL" verify "$STORE" --key-file "$KEY"
find_words() {	# WORDS FILE
	STORE=$STORE CANARIES=$1 python3 "$HERE/../crash/find_key.py" "$KEY" 0 "$2"
}
sent() { find_words "$AWS_SECRET_ACCESS_KEY,canary-in-a-" "$1"; }
ok "no key, secret, name or bytes are in what was sent" sent "$T/wire"
fails "they would be found" "has the key" sent <(echo "canary-in-a-name")

# A real core of a daemon that has asked the bucket, and been given its credentials anew.
core_of() {	# COMMAND...: works, in a folder for cores of its own, until it is told to die
	local daemon
	mkdir "$T/cores" && cd "$T/cores" || return 1
	env -u AWS_SECRET_ACCESS_KEY LD_PRELOAD="$ALLOW_CORE_SO" "$ROPEFS" -f --memory 32M \
		--key-file "$KEY" "$STORE" "$MNT" 2>>"$T/said" &
	daemon=$!
	until_true 120 grep -q " $MNT fuse" /proc/self/mounts
	"$@"
	signal_child SEGV "$daemon"
	wait "$daemon" 2>/dev/null
	umount -l "$MNT"
	cd "$T" || return 1
}
asks() {
	echo new >"$MNT/new" && timeout 150 "$ROPECTL" sync --remote "$MNT" &&
		AWS_SESSION_TOKEN=$TOKEN timeout 150 "$ROPECTL" remote set "$MNT" \
			--new-credentials &&
		echo newer >"$MNT/new" && timeout 150 "$ROPECTL" sync --remote "$MNT" &&
		cat "$MNT/.ropefs/status" "$MNT/.ropefs/remote" >>"$T/said"
}
TOKEN=canary-session-token-0815
core_of asks >"$T/asked" 2>&1
if [[ $(cat /proc/sys/kernel/core_pattern) == core* ]]; then
	core=$(find "$T/cores" -type f -name 'core*' | head -n 1)
	ok "a daemon that asked the bucket leaves a core" test -s "$core"
	ok "the bucket's secret is not in it" find_words "$AWS_SECRET_ACCESS_KEY" "$core"
	ok "a session token was sent" grep -qai "x-amz-security-token: $TOKEN" "$T/wire"
	region=/robots-1/s3/aws4_request
	ok "and signed, for the region" grep -qa \
		"$region,SignedHeaders=[a-z0-9;-]*x-amz-security-token" "$T/wire"
	ok "and is not in it, either" find_words "$TOKEN" "$core"
	fails "what is in it is found" "has the key" find_words "$AWS_ACCESS_KEY_ID" "$core"
	ok "nor in what it said" find_words "$AWS_SECRET_ACCESS_KEY" "$T/said"
fi
proxy refuse,slow,bare,cut,lost,wrong 8
ok "it comes back" timeout 150 "$ROPECTL" clone s3://contract/store "$T/clone" \
	--endpoint "$PROXY_URL" --key-file "$KEY"
STORE=$T/clone
fs_start
is "as it was" "$(cd "$MNT" && sha256sum -- f[0-9]* q/*)" "$before"
fs_stop
rm "$STORE"/remote/cache.* # else what was just read is here
fs_start
kill -STOP "$PROXY"
# One that is stopped and goes on, or has children, sees no error, as with any file; and dies of
# what comes later. (Of views, as the kernel keeps nothing of them.)
asleep() { grep -q request_wait_answer "/proc/$1/wchan"; }
goes_on() {	# FILE COMMAND...: which has to do with the reader, whose pid is $reader
	reader= signal=
	md5sum "$MNT/$1@bytes=0..1000" >"$T/went-on" 2>&1 &
	reader=$!
	shift
	until_true 60 asleep $reader || return 1
	for signal in STOP CONT CHLD URG WINCH; do signal_child "$signal" "$reader"; done
	sleep 1
	asleep $reader || { cat "$T/went-on"; return 1; }
	"$@"
	wait $reader
}
ends() { signal_child TERM "$reader"; until_true 30 has_ended "$reader"; }
goes_on f3 ends >"$T/out" 2>&1
is "one that is stopped and goes on waits, and can be ended then" $? 143
ok "or has its bytes" goes_on f2 kill -CONT "$PROXY"
kill -STOP "$PROXY"
# A reader that waits for the bucket dies of ^C, whether the kernel's cache is between or not.
interrupted() { timeout 60 bash -c 'timeout -s INT 2 cat "$0" >"$1"; echo $?' "$MNT/$1" /dev/null; }
is "a reader that waits can be interrupted" "$(interrupted f1)" 124
is "one of a queue, too" "$(interrupted q/lines)" 124
is "one of a view, too" "$(interrupted "f1@bytes=0..1000")" 124
is "one of records, too" "$(interrupted "q/lines@records=0..9")" 124
is "one that follows, too" "$(interrupted "q/lines@records=0..,follow")" 124
ok "what is local waits for nothing" timeout 100 ls -l "$MNT/q"
if ((${TEST_SECONDS:-0} >= 60)); then
	many() {	# readers of what is not here; prints how they ended
		local i pids=()
		for i in {1..48}; do
			(timeout 100 cat "$MNT/f$((i % 3 + 1))" >/dev/null 2>&1; echo $?) &
			pids+=($!)
		done
		wait "${pids[@]}"
	}
	many >"$T/many" &
	many=$!
	ok "while many wait, files that are here don't" timeout 30 bash -c '
		for i in {1..100}; do
			stat "$0/f1" && ls "$0/q" && cat "$0/.ropefs/status" || exit 1
		done' "$MNT"
	wait $many
	is "each has its failure in time" "$(sort "$T/many" | uniq -c | xargs)" "48 1"
	ok "and events say why" grep -q '"event":"remote-read"' <(events_so_far)
fi
kill -CONT "$PROXY"
is "they can be read when it goes on" "$(cd "$MNT" && sha256sum -- f[0-9]* q/*)" "$before"
fs_stop

# A server of which each fourth answer does not come: what is read is asked for again.
proxy hang 4
ok "a slow line is no trouble for names" timeout 150 "$ROPECTL" clone s3://contract/store \
	"$T/slow" --endpoint "$PROXY_URL" --key-file "$KEY"
STORE=$T/slow
fs_start
is "nor for bytes" "$(cd "$MNT" && sha256sum -- f[0-9]* q/*)" "$before"
ok "as they are asked for twice" grep -q '^ropefs_remote_hedged_total [1-9]' "$MNT/.ropefs/metrics"
fs_stop
stop_proxy

# A bucket that keeps what is removed.
"$HERE/make_bucket.py" "$RGW_URL" keeps versioned || exit 1
STORE=$T/third KEY=$T/third.key
"$ROPECTL" init "$STORE" --key-file "$KEY" >/dev/null
ok "a bucket with versions is added" timeout 100 "$ROPECTL" remote add "$STORE" s3://keeps/x \
	--key-file "$KEY" --endpoint "$RGW_URL"
ok "and told of" grep -q "^versions .*keeps what is removed" \
	<("$ROPECTL" remote show "$STORE" --key-file "$KEY")
# By the Date of its answers, which does not go by our timezone.
TZ=Asia/Kolkata wrong_clock -7200 fs_start || exit 1
echo new >"$MNT/new"
ok "with a clock two hours late all goes up" timeout 100 "$ROPECTL" sync --remote "$MNT"
ok "and it is told of" grep -q "^clock .* 7[12].. s behind the bucket's" \
	<("$ROPECTL" remote show "$MNT")
ok "by status, too" grep -q "clock is 7[12].. s behind the bucket's: set it" \
	<("$ROPECTL" status "$MNT")
fs_restart
is "not once it is right" "$("$ROPECTL" status "$MNT" | grep -c "clock is")" 0
fs_stop
rgw_stop
finish
