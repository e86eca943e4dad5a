#!/usr/bin/env bash
# A daemon in 128 MiB of memory, with few threads, or little address space works, or ends with a
# sentence; of one whose calls of the kernel fail, kind by kind, what was acknowledged stays, and
# nothing else is read in its place. Only with --long.
# shellcheck source-path=SCRIPTDIR disable=SC2317
if ((${TEST_SECONDS:-0} < 60)); then
	echo "1..0 # SKIP it takes some minutes: tools/test --long runs it"
	exit 0
fi
TEST_LIMIT_S=${TEST_LIMIT_S:-3000}
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/traced.sh"
needs strace

# --- groups of processes, by either version of cgroups ---

groups=()
group() {	# NAME CONTROLLER FILE-OF-V1 FILE-OF-V2 VALUE: sets $procs
	local at
	for at in "/sys/fs/cgroup/$2" /sys/fs/cgroup; do
		[[ -w $at/cgroup.procs ]] && mkdir "$at/ropefs-test-$$-$1" 2>/dev/null || continue
		groups+=("$at/ropefs-test-$$-$1")
		procs=$at/ropefs-test-$$-$1/cgroup.procs
		echo "$5" 2>/dev/null >"${procs%/*}/$3" ||
			echo "$5" 2>/dev/null >"${procs%/*}/$4" || continue
		return 0
	done
	echo "# no group of processes can be limited here: $2"
	return 1
}

groups_end() {
	local i g
	for g in "${groups[@]}"; do
		for ((i = 0; i < 100; i++)); do
			rmdir "$g" 2>/dev/null && break
			sleep 0.05
		done
	done
}
trap 'cleanup; groups_end' EXIT

cat >"$T/within" <<'END'
#!/bin/bash
procs=$1
shift
echo $$ >"$procs" && exec "$@"
END
chmod +x "$T/within"

seq 1000 >"$T/lines"
mount_with() {	# COMMAND...: mounts by it; works, or fails with a sentence
	local status
	timeout 80 "$@" "$ROPEFS" --memory 64M --key-file "$KEY" "$STORE" "$MNT" 2>"$T/said"
	status=$?
	if [[ $status == 0 ]]; then
		seq 1000 >"$MNT/limited" && cmp "$MNT/limited" "$T/lines" && fs_stop
		return
	fi
	cat "$T/said"
	[[ $status -lt 124 && -s $T/said ]] && ! grep -q 'died' "$T/said"
}

if group memory memory memory.limit_in_bytes memory.max $((128 << 20)); then
	head -c 64M /dev/urandom >"$PLAIN/much"
	ok "128 MiB of memory: it mounts" timeout 80 "$T/within" "$procs" "$ROPEFS" --memory 64M \
		--key-file "$KEY" "$STORE" "$MNT"
	pid=$(fs_pid)
	much() {
		local i
		for i in 1 2; do
			cp "$PLAIN/much" "$MNT/much$i" && sync -f "$MNT/much$i" || return 1
		done
		for ((i = 0; i < 500; i++)); do echo $i >"$MNT/f$i" || return 1; done
		for i in 1 2; do cmp "$PLAIN/much" "$MNT/much$i" || return 1; done
	}
	ok "it takes much, and gives it back" much
	is "the daemon is the same" "$(fs_pid)" "$pid"
	ok "end" fs_stop
fi
for n in 4 12 40; do
	group threads$n pids pids.max pids.max $n || break
	ok "$n threads" mount_with "$T/within" "$procs"
done
for mib in 90 120 300 600; do
	ok "$mib MiB of addresses" mount_with prlimit --as=$((mib << 20))
done
ok "nothing of it broke the store" "$FSCK" -q -k "$KEY" "$STORE"

# --- calls that fail ---

acked=()
work() {	# NAME: what is acknowledged is noted, and what is read must be right
	local i
	for ((i = 0; i < 12; i++)); do
		head -c $((RANDOM * 10)) /dev/urandom >"$PLAIN/$1$i"
		timeout 60 dd if="$PLAIN/$1$i" of="$MNT/$1$i" bs=64K conv=fsync status=none \
			2>>"$T/errors" && acked+=("$1$i")
		((${#acked[@]})) || continue
		timeout 60 cat "$MNT/${acked[RANDOM % ${#acked[@]}]}" >/dev/null 2>>"$T/errors"
		((i % 4)) || timeout 60 "$ROPECTL" sync "$MNT" >/dev/null 2>>"$T/errors"
	done
	right
}

right() {	# as far as they can be read
	local name
	for name in "${acked[@]}"; do
		timeout 60 cat "$MNT/$name" >"$T/read" 2>>"$T/errors" || continue
		cmp "$T/read" "$PLAIN/$name" || return 1
	done
}

all_right() {
	local name
	for name in "${acked[@]}"; do cmp "$MNT/$name" "$PLAIN/$name" || return 1; done
}

failing() {	# CALL ERROR WHEN
	local pid
	fs_start --memory 64M || return 1
	pid=$(fs_pid)
	traced "$pid" -e "trace=$1" -e "inject=$1:error=$2:when=$3"
	work "$1$2"
	local status=$?
	untraced 2>/dev/null
	unmount "$MNT" >/dev/null || { kill -KILL "$pid"; umount -l "$MNT"; }
	wait_gone "$pid" 60 || return 1
	return $status
}

for how in pwrite64:EIO:3+7 pwrite64:ENOSPC:2+5 fdatasync:EIO:2+6 fdatasync:EIO:3+ \
	openat:EMFILE:3+4 openat:EIO:2+3 pread64:EIO:4+9 mmap:ENOMEM:2+3 \
	fallocate:ENOSPC:1+ ftruncate:EIO:1+ renameat:EIO:1+2 unlinkat:EIO:1+2 \
	writev:ENOMEM:40+40 read:EIO:20+20 read:ENOMEM:20+20 futex:EINTR:50+50; do
	: >"$T/errors"
	IFS=: read -r call error when <<<"$how"
	ok "$how: nothing wrong is read" failing "$call" "$error" "$when"
	sed 's/.*: //' "$T/errors" | sort | uniq -c | sed 's/^/# /'
	case $call in
	writev | read | futex) is "$how: nobody sees it" "$(cat "$T/errors")" "" ;;
	esac
	ok "$how: it mounts" fs_start --memory 64M
	ok "$how: all that was acknowledged is there" all_right
	ok "$how: end" fs_stop
	ok "$how: fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
done
finish
