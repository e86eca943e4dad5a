#!/bin/bash
# fio writes patterns with checksums and verifies them: in order and at random, through the page
# cache, around it and by maps; on a mount and on a plain filesystem. Then all of it again after
# kill -9 of the daemon.
. "$(dirname "$0")/../lib/mount.sh"
needs fio
fs_start --memory 64M || exit 1
SEED=${SEED:-$RANDOM$RANDOM}
echo "# SEED=$SEED"
size=${FIO_SIZE:-6M}

job() {	# NAME OPTION...: fails when a verification does
	fio --name="$1" --filename="$1" --size="$size" --randseed="$SEED" --verify=crc32c \
		--verify_fatal=1 --verify_state_save=0 --end_fsync=1 --fallocate=none \
		--output="$T/fio.out" "${@:2}" || { cat "$T/fio.out"; return 1; }
}
jobs_of() {	# EXTRA OPTION...
	job seq --rw=write --bs=64k --ioengine=psync "$@" &&
		job random --rw=randwrite --bs=4k --ioengine=psync "$@" &&
		job direct --rw=write --bs=128k --ioengine=psync --direct=1 "$@" &&
		job random-direct --rw=randwrite --bs=4k --ioengine=libaio --iodepth=8 \
			--direct=1 "$@" &&
		job map --rw=write --bs=64k --ioengine=mmap "$@" &&
		job random-map --rw=randwrite --bs=4k --ioengine=mmap "$@"
}
mixed() {	# reads among writes, verified while writing goes on
	job mix --rw=randrw --rwmixread=30 --bs=4k --ioengine=psync \
			--verify_backlog=64 &&
		job log --rw=write --bs=3001 --ioengine=psync --verify_backlog=500 \
			--fdatasync=200 &&
		job odd --rw=randwrite --bsrange=512-24k --bs_unaligned --ioengine=psync
}
all_sums() { (cd "$MNT" && sha256sum ./*); }

both_do "fio writes and verifies" jobs_of
both_do "fio verifies while it writes" mixed
sums=$(all_sums)
ok "the daemon is killed after sync" eval 'sync "$MNT" && fs_kill && fs_start --memory 64M'
is "all bytes are as they were" "$(all_sums)" "$sums"
both_do "fio verifies them again" jobs_of --verify_only=1
finish
