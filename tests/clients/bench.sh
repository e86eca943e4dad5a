#!/bin/bash
# The benches of queues and transactions run to their end and print a figure in each row. What the
# figures are is not judged.
#
# From the environment: BENCH_STORE, a program; BENCH_MOUNT, the script that mounts; BUILD.
N=0 FAILED=0
rows() {	# DESCRIPTION ROWS COMMAND...
	local what=$1 wanted=$2 out status count
	shift 2
	N=$((N + 1))
	out=$(timeout 200 "$@" 2>&1)
	status=$?
	count=$(grep -cE '[0-9.]+ (us|/s|MB/s|[(])' <<<"$out")
	if [[ $status == 0 && $count -ge $wanted ]]; then
		echo "ok $N - $what"
		return
	fi
	FAILED=$((FAILED + 1))
	what="not ok $N - $what"$'\n'$(sed 's/^/# /' <<<"status $status, $count rows"$'\n'"$out")
	echo "$what"
	echo "$what" >&2
}
rows "queues and transactions in-process" 20 "$BENCH_STORE" --smoke queue find scan txn
if [[ $(id -u) == 0 && -c /dev/fuse ]]; then
	rows "appends through a mount" 8 "$BENCH_MOUNT" --build="$BUILD" --smoke --only=queue:
	rows "eight followers" 3 "$BENCH_MOUNT" --build="$BUILD" --smoke --only='wake of 8'
fi
echo "1..$N"
((FAILED == 0))
