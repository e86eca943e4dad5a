#!/bin/bash
# Somebody looks on: with everything left at its defaults a reader is a few seconds behind, and
# nothing is uploaded more often while nobody reads. LINES_MORE=N lines more are written, a second
# apart, and how long they took is printed; LOOK=20s is the default, here it is shorter.
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/bucket.sh"
FAR=$T/far
mkdir "$FAR"

far_start() {	# [option...]
	timeout 60 "$ROPEFS" --read-only --key-file "$KEY" "${ENDPOINT[@]}" "$@" "$URL" "$FAR"
}
far_stop() { ! grep -q " $FAR " /proc/self/mounts || unmount "$FAR" || umount -l "$FAR"; }
bucket_start fleet/one far_stop
of() { sed -n "s/.*\"$2\":[[:space:]]*\\([a-z0-9]*\\).*/\\1/p" "$1/.ropefs/remote"; }
is_watched() { [[ $(of "$MNT" watched) == true ]]; }
has_lines() { (($(wc -l <"$T/$1") >= $2)); }
write_line() { echo "$EPOCHREALTIME" >>"$MNT/log"; echo "$EPOCHREALTIME" >>"$MNT/q/records"; }
stamp() {	# FILE: how many ms each line of standard input took
	local line now
	while read -r line; do
		now=$EPOCHREALTIME
		echo $(((${now/./} - ${line/./}) / 1000)) >>"$1"
	done
}
told() {	# FILE: the middle, 19 of 20, and the longest of the last LINES_MORE
	tail -n "$LINES_MORE" "$1" | sort -n |
		awk '{ d[NR] = $1 }
			END { print d[int((NR + 1) / 2)], d[int((NR * 19 + 19) / 20)], d[NR] }'
}
stop_reading() {
	signal_child TERM "$follower" "$tailer"
	wait "$follower" "$tailer" 2>/dev/null
}

ok "a bucket is added" "$ROPECTL" remote add "$STORE" "$URL" "${ENDPOINT[@]}" --key-file "$KEY" \
	--look "${LOOK-1s}"
fs_start || exit 1
mkdir "$MNT/q"
"$ROPECTL" policy set "$MNT/q" kind=queue framing=line >/dev/null || exit 1
write_line
timeout 100 "$ROPECTL" sync --remote "$MNT" || echo "# sync: $?"

# Who only has a mount reads nothing.
ok "a bucket is mounted" far_start
manifest=$(of "$MNT" manifest)
write_line
sleep 4
is "while nobody reads nothing goes up sooner" "$(of "$MNT" manifest) $(of "$MNT" watched)" \
	"$manifest false"

: >"$T/followed" >"$T/tailed"
timeout 500 cat "$FAR/q/records@follow" > >(stamp "$T/followed") &
follower=$!
timeout 500 tail -f -n+1 "$FAR/log" > >(stamp "$T/tailed") 2>/dev/null &
tailer=$!
began=$EPOCHREALTIME
ok "the writer notices who reads" until_true 100 is_watched
now=$EPOCHREALTIME
echo "# noticed after $(((${now/./} - ${began/./}) / 1000)) ms"
ok "and says so" grep -q "^watched .*3 s" <("$ROPECTL" remote show "$MNT")
ok "as does the reader" grep -q "^live " <("$ROPECTL" remote show "$FAR")
write_line
ok "@follow gives what comes, long before the interval is over" until_true 100 has_lines followed 3
ok "tail -f too" until_true 100 has_lines tailed 3
if ((${LINES_MORE:-0} > 0)); then
	n=$(wc -l <"$T/tailed") began=$SECONDS
	puts=$(of "$MNT" puts) gets=$(of "$MNT" gets) far=$(of "$FAR" gets) says=$(of "$FAR" puts)
	for ((i = 0; i < LINES_MORE; i++)); do
		write_line
		sleep 1
	done
	until_true 100 has_lines followed $((n + LINES_MORE))
	until_true 100 has_lines tailed $((n + LINES_MORE))
	echo "# @follow: half of the lines, 19 of 20, all within (ms): $(told "$T/followed")"
	echo "# tail -f: $(told "$T/tailed")"
	echo "# in $((SECONDS - began)) s: $(($(of "$MNT" puts) - puts)) puts," \
		"$(($(of "$MNT" gets) - gets)) gets; of the reader" \
		"$(($(of "$FAR" gets) - far)) gets, $(($(of "$FAR" puts) - says)) puts"
fi
stop_reading
far_stop

# Keys that may only read, where there are such.
if is_rgw; then
	timeout 90 radosgw-admin -c "$RGW/ceph.conf" subuser create --uid=test \
		--subuser=test:reader --access=read --key-type=s3 --access-key=onlyreads \
		--secret-key=onlysecret1234567890 >"$RGW/log/subuser.out" 2>&1 ||
		echo "# no other user: $?"
	printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
		onlyreads onlysecret1234567890 >"$T/reader"
	ok "a bucket is mounted with keys that only read" far_start --credentials-file "$T/reader"
	ok "and read" until_true 100 grep -q . "$FAR/log"
	ok "the reader says why it is not live" until_true 100 grep -q '"announce_error":.*403' \
		"$FAR/.ropefs/remote"
	ok "also in words" grep -q "^not live .*interval" <("$ROPECTL" remote show "$FAR")
	far_stop
fi

ok "it mounts quietly" far_start --quiet
ok "and reads" grep -q . "$FAR/log"
is "but tells nobody" "$(of "$FAR" puts) $(of "$FAR" announced)" "0 false"
far_stop
ok "it is turned off" "$ROPECTL" remote set "$MNT" --live off
is "and then off" "$(of "$MNT" live_s)" 0
fs_stop
bucket_stop
finish
