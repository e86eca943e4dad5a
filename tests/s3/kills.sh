#!/bin/bash
# ropefs and the gateway of its bucket are killed again and again while it uploads, evicts and reads
# back, with durability=remote: what was synced comes out of the bucket, all of it and once.
BUCKET=rgw
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/bucket.sh"
# Even ones kill the gateway, all but each fourth ropefs, too. Plainly: both, and the gateway.
ROUNDS=(0 2)
((${TEST_SECONDS:-0} < 60)) || mapfile -t ROUNDS < <(seq 0 $((TEST_SECONDS / 5 - 1)))
ACKED=$T/acked BEGUN=$T/begun SUMS=$T/sums WRITER='' READER=''
: >"$ACKED"
: >"$BEGUN"
: >"$SUMS"
bucket_start kills/one

# Numbered lines, each noted here when it is durable.
writer() {
	exec timeout 300 python3 - "$MNT/lines" "$ACKED" "$BEGUN" <<-'END'
	import os, sys
	f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_APPEND)
	noted = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
	n = os.fstat(f).st_size // 200
	with open(sys.argv[3], "a") as begun: print(n, file=begun)
	while True:
	    n += 1
	    line = b"%09d " % n
	    os.write(f, line + b"x" * (199 - len(line)) + b"\n")
	    os.fsync(f)
	    os.write(noted, b"%d\n" % n)
	END
}
start() { fs_start -o durability=remote; }
acked() { tail -n1 "$ACKED"; }
more_acked() { (($(acked) + 0 > was)); }
until_more_acked() { until_true 120 more_acked; }
large() {	# I: a file to be evicted, its sum noted when it is durable
	head -c 700K /dev/urandom >"$T/large" && cp "$T/large" "$MNT/large$1" &&
		sync "$MNT/large$1" && (cd "$T" && sha256sum <large) | sed "s/-/large$1/" >>"$SUMS"
}

ok "a bucket is added" "$ROPECTL" remote add "$STORE" "$URL" "${ENDPOINT[@]}" --key-file "$KEY" \
	--interval 1s --local 1M
start || exit 1
for i in "${ROUNDS[@]}"; do
	was=$(($(acked) + 0))
	writer 2>/dev/null &
	WRITER=$!
	(while cat "$MNT"/large* >/dev/null 2>&1; do sleep 0.1; done) &
	READER=$!
	large "$i" 2>/dev/null
	until_more_acked || echo "# round $i: nothing was synced in a minute"
	sleep "0.$((RANDOM % 10))"
	((i % 2)) || rgw_kill
	sleep "0.$((RANDOM % 10))"
	((i % 4 == 2)) || fs_kill
	((i % 2)) || rgw_again
	if ((i % 4 == 2)); then # it lives on, and so does who waits for it
		was=$(($(acked) + 0))
		ok "a sync under way goes on when the gateway is back" until_more_acked
		fs_kill
	fi
	signal_child TERM "$WRITER"
	wait "$WRITER" "$READER" 2>/dev/null
	start || exit 1
done
large last || echo "# the last one failed"
n=$(acked)
fs_kill # nobody uploads what is left

timeout 100 "$ROPECTL" clone "$URL" "$T/clone" "${ENDPOINT[@]}" --key-file "$KEY" >/dev/null
STORE=$T/clone
fs_start || exit 1
there=$(cut -c1-9 "$MNT/lines")
echo "# writers began behind: $(paste -sd ' ' "$BEGUN")"
is "each line is there once, in its order" "$there" "$(seq -f %09g "$(wc -l <<<"$there")")"
(($(wc -l <<<"$there") >= n && n > 0))
result $? "and all that were synced" "$(wc -l <<<"$there") of $n"
[[ -s $SUMS ]]
result $? "large ones were synced, too"
ok "and are as they were" bash -c "cd '$MNT' && sha256sum --quiet -c '$SUMS'"
fs_stop
STORE=$T/store
fs_start || exit 1
is "the store itself has them, too" "$(head -n "$(wc -l <<<"$there")" "$MNT/lines" | cut -c1-9)" \
	"$there"
fs_stop
# Long rounds leave some thousand packs, each a request or two.
ok "the bucket has all that was put there" timeout 300 "$ROPECTL" verify --data "$STORE" \
	--key-file "$KEY"
bucket_stop
finish
