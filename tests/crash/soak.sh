#!/usr/bin/env bash
# Ten minutes (SOAK_SECONDS) of kill -9 every 200 ms, in recovery too, of the daemon of a
# supervised mount, while fio --verify, sqlite, rsync and a ROS bag recorder work on it: none is
# started again, and none sees an error. Only with --long, or SOAK_SECONDS.
# shellcheck source-path=SCRIPTDIR disable=SC2317
seconds=${SOAK_SECONDS:-$((${TEST_SECONDS:-0} >= 60 ? 600 : 0))}
if ((seconds == 0)); then
	echo "1..0 # SKIP it takes ten minutes: tools/test --long runs it"
	exit 0
fi
TEST_LIMIT_S=$((seconds * 2 + 900))
. "$(dirname "$0")/../lib/mount.sh"
needs fio rsync rosbag
here=$(cd "$(dirname "$0")" && pwd)
fs_start -o supervise=on,memory=64M || exit 1
mkdir "$MNT"/{fio,map,copy}

fio_job() {	# FOLDER OPTION...
	fio --name=v --directory="$MNT/$1" --size=24M --rw=randrw --verify=crc32c --verify_fatal=1 \
		--verify_backlog=256 --verify_state_save=0 --time_based --runtime="$seconds" \
		--group_reporting "${@:2}"
}

jobs=(fio map wal journal rsync bag)
job_fio() { fio_job fio --ioengine=psync --bsrange=4k-64k --fsync=32 --numjobs=2; }
job_map() { fio_job map --ioengine=mmap --bs=4k --fsync=64; }
job_wal() { python3 "$here/soak.py" sqlite "$MNT/wal.db" "$seconds" WAL; }
job_journal() { python3 "$here/soak.py" sqlite "$MNT/journal.db" "$seconds" DELETE; }
job_rsync() { python3 "$here/soak.py" rsync "$PLAIN/tree" "$MNT/copy" "$seconds"; }
job_bag() { /usr/bin/python3 "$here/soak.py" bag "$MNT/robot.bag" "$seconds"; }

pids=()
for job in "${jobs[@]}"; do
	"job_$job" >"$T/$job.out" 2>&1 &
	pids+=($!)
done

supervisor=$(sed -n 's/.*"supervisor": \([0-9]*\),.*/\1/p' "$MNT/.ropefs/status")
kills=$(python3 "$here/soak.py" kill "$MNT" "$seconds" "$supervisor" 2>&1)
result $? "the daemon is killed again and again" "$kills"
echo "# in $seconds s $kills; load $(cut -d' ' -f1 /proc/loadavg)"
for i in "${!jobs[@]}"; do
	wait "${pids[i]}"
	result $? "${jobs[i]} saw no error" "$(tail -n 30 "$T/${jobs[i]}.out")"
	echo "# ${jobs[i]}: $(tail -n 1 "$T/${jobs[i]}.out")"
done
((${kills%% *} > seconds / 2))
result $? "often" "$kills"
ok "unmount" timeout 120 "$ROPECTL" umount "$MNT"
ok "the supervisor ends" wait_gone "${supervisor:-1}" 30
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
