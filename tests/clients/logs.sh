#!/bin/bash
# Log files: logrotate in its two modes under `tail -F`, and ten programs that append to one file
# at once. Each step waits for the one before it, because logrotate's copytruncate loses what is
# written meanwhile, and tail what a renamed file gets after it has looked, on any filesystem.
. "$(dirname "$0")/../lib/mount.sh"
needs logrotate
fs_start || exit 1
tail_pid=''
stop_tail() {
	[[ -z $tail_pid ]] || { signal_child TERM "$tail_pid"; wait "$tail_pid"; } 2>/dev/null
	tail_pid=''
}
trap 'stop_tail; cleanup' EXIT

has_lines() { (($(wc -l <"$1") >= $2)); }
tail_said() {	# create|copytruncate TIMES: that it has noticed a rotation
	local what='following new file'
	[[ $1 == create ]] || what='file truncated'
	(($(grep -c "$what" "$T/tail.err") >= $2))
}

rotate() {	# create|copytruncate: in the working directory
	printf '"%s" {\n%s\nrotate 3\n%s\nmissingok\n}\n' "$PWD/log" "$1" "${2-}" >"$T/conf"
	logrotate -f -s "$T/state" "$T/conf"
}
write_lines() {	# FD LINES: with the next numbers
	local i
	for ((i = 0; i < $2; i++)); do
		line=$((line + 1))
		echo "line $line of the log" >&"$1"
	done
}
# Four rotations of a log that a program holds open and another follows.
logs() {	# create|copytruncate [OPTION]
	local round line=0
	rm -rf log* && mkdir -m 755 logdir && cd logdir && : >log || return 1
	exec 5>>log
	tail -n +1 -s 0.05 -F "$PWD/log" >"$T/tailed" 2>"$T/tail.err" &
	tail_pid=$!
	for round in 1 2 3 4; do
		write_lines 5 $((300 - round * 50))
		until_true 100 has_lines "$T/tailed" $line || break
		rotate "$1" "${2-}" || break
		until_true 100 tail_said "$1" $round || break
		[[ $1 != create ]] || exec 5>>log
	done
	write_lines 5 10
	until_true 100 has_lines "$T/tailed" $line
	exec 5>&-
	stop_tail
	echo "$line lines, $round rounds"
	sha256sum <"$T/tailed"
	ls && stat -c '%n %s %a' log* && for i in log log.?; do sha256sum "$i"; done
	for i in log.*.gz; do [[ ! -e $i ]] || zcat "$i" | sha256sum; done
}
both_do "logrotate create" logs create
both_do "logrotate create, with compression" logs create compress
both_do "logrotate copytruncate" logs copytruncate
both_do "logrotate copytruncate, with compression" logs copytruncate compress
is "tail has seen each line once, in order" "$(cat "$T/tailed")" \
	"$(for ((i = 1; i <= $(wc -l <"$T/tailed"); i++)); do echo "line $i of the log"; done)"

for i in {0..9}; do
	awk -v w="$i" 'BEGIN { for (i = 0; i < 300; i++)
		printf "writer %d line %06d %79s\n", w, i, "." }' >"$T/in$i"
done
appends() {
	local i
	for i in {0..9}; do
		dd if="$T/in$i" of=shared bs=101 oflag=append conv=notrunc status=none &
	done
	wait
	wc -c <shared && sort shared | sha256sum
	for i in {0..9}; do grep "^writer $i " shared | cmp - "$T/in$i"; done
}
is "the lines are as long as the blocks" "$(head -n 1 "$T/in0" | wc -c)" 101
both_do "ten dd oflag=append at once lose and mix nothing" appends
ok "the mount is renewed" fs_restart
is "and the file is the same" "$(sort "$MNT/shared" | sha256sum)" \
	"$(sort "$PLAIN/shared" | sha256sum)"
finish
