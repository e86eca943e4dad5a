#!/bin/bash
# Real programs record real data: rosbag, rsyslog, and an editor of a text of 1 GiB. First in
# peace, compared to the same work on a plain filesystem; then with the daemon killed in the
# middle of all three.
# From the environment: TEXT_BYTES, KILLS.
for program in rsyslogd logger rosbag /usr/bin/python3; do
	if ! type "$program" >/dev/null 2>&1; then
		echo "1..0 # SKIP needs $program: tools/deps --test installs it"
		exit 0
	fi
done
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/programs.sh"
size=${TEXT_BYTES:-1073741824} edits=10000 messages=10000 lines=20000
bag=$HERE/record_bag.py
SEED=${SEED:-$RANDOM$RANDOM}
echo "# SEED=$SEED"
RANDOM=$((SEED % 32768))
fs_start || exit 1

# --- a ROS bag ---

ok "a bag is recorded" "$bag" record "$MNT/robot.bag" $messages
ok "the same on a plain filesystem" "$bag" record "$PLAIN/robot.bag" $messages
is "rosbag info says the same of both" "$(cd "$MNT" && rosbag info robot.bag 2>&1)" \
	"$(cd "$PLAIN" && rosbag info robot.bag 2>&1)"
is "and knows all messages" \
	"$(rosbag info -y -k messages "$MNT/robot.bag")" $messages
ok "all messages are read back" "$bag" read "$MNT/robot.bag" $messages
ok "the bags have the same bytes" cmp "$MNT/robot.bag" "$PLAIN/robot.bag"

# --- rsyslog ---

make_lines 1 $lines >"$PLAIN/log"
rsyslog_start "$MNT/log"
result $? "rsyslog starts"
tail_start "$MNT/log" "$T/tailed"
logger_start cat "$PLAIN/log"
wait "$logger_pid"
logger_pid=
ok "rsyslog logs all lines" until_true 200 has_size "$MNT/log" "$(stat -c %s "$PLAIN/log")"
ok "a reader has followed" until_true 200 has_size "$T/tailed" "$(stat -c %s "$PLAIN/log")"
stop TERM "$rsyslog_pid" "$tail_pid"
rsyslog_pid='' tail_pid=''
ok "the log is what was logged" cmp "$MNT/log" "$PLAIN/log"
ok "and so is what the reader saw" cmp "$T/tailed" "$PLAIN/log"
is "rsyslog had synced it to its end" "$(rsyslog_synced "$MNT/log")" \
	"$(stat -c %s "$PLAIN/log")"

# --- a text, edited in random places ---

"$EDIT_TEXT" text "$SEED" "$size" >"$PLAIN/base"
"$EDIT_TEXT" script "$SEED" $edits "$size" >"$T/script"
ok "a text of $size bytes is copied in" cp "$PLAIN/base" "$MNT/base"
ok "and cloned" cp "$MNT/base" "$MNT/text"
ok "$edits edits" "$EDIT_TEXT" apply "$T/script" "$MNT/text" "$T/acks"
"$APPLY_EDITS" "$PLAIN/base" "$T/script" >"$PLAIN/text"
sum=$(sha256sum <"$PLAIN/text")
is "give what an independent program makes of it" "$(sha256sum <"$MNT/text")" "$sum"
rm "$PLAIN/text"
ok "the mount is renewed" fs_restart
is "the text is the same" "$(sha256sum <"$MNT/text")" "$sum"
ok "so is the bag" cmp "$MNT/robot.bag" "$PLAIN/robot.bag"
ok "so is the log" cmp "$MNT/log" "$PLAIN/log"
rm "$MNT/text"

# --- the daemon dies in the middle of all that ---

# More edits than are done before the kill, however late it comes.
"$EDIT_TEXT" script "$((SEED + 1))" 100000 "$size" >"$T/script"

acked() { tail -n 1 "$T/acks" 2>/dev/null || echo 0; }
far_enough() {	# EDITS: that many are durable, and the others at work
	(($(acked) >= $1 && $(rsyslog_synced "$MNT/dir/log") > 0)) && grep -q S "$T/journal"
}

record_all() {
	mkdir "$MNT/dir" && cp "$MNT/base" "$MNT/dir/text" && sync "$MNT/dir" || return 1
	rm -f "$T/acks" "$T/journal"
	rsyslog_start "$MNT/dir/log" || return 1
	tail_start "$MNT/dir/log" "$T/tailed"
	logger_start log_forever
	"$bag" record "$MNT/dir/bag" 100000000 "$T/journal" 2>/dev/null &
	bag_pid=$!
	"$EDIT_TEXT" apply "$T/script" "$MNT/dir/text" "$T/acks" 50 2>/dev/null &
	edit_pid=$!
}

for ((round = 1; round <= ${KILLS:-3}; round++)); do
	record_all
	result $? "$round: all three record at once"
	ok "$round: and have got somewhere" until_true 200 far_enough 1
	until_true 20 far_enough $((RANDOM % 6000 + 1000)) # where the disk is that quick
	running=("$rsyslog_pid" "$logger_pid" "$bag_pid" "$edit_pid" "$tail_pid")
	ok "$round: and are at it when the daemon is killed" alive "${running[@]}"
	ok "$round: it dies" fs_kill
	stop_all
	ok "$round: it mounts again" fs_start
	synced=$(rsyslog_synced "$MNT/dir/log") length=$(stat -c %s "$MNT/dir/log")
	make_lines 1 $((length / 20 + 1)) >"$PLAIN/lines"
	ok "$round: the log is the beginning of what was logged" \
		is_prefix "$MNT/dir/log" "$PLAIN/lines"
	((length >= synced && synced > 0))
	result $? "$round: with all that was synced" "$length bytes, $synced synced"
	ok "$round: so was what the reader saw" is_prefix "$T/tailed" "$PLAIN/lines"
	ok "$round: the bag is what its first writes made, with all that was synced" \
		"$bag" find "$MNT/dir/bag" "$T/journal"
	found=$("$APPLY_EDITS" "$PLAIN/base" "$T/script" "$MNT/dir/text" "$(acked)")
	result $? "$round: the text is what its first edits made, with all that were synced"
	echo "# log: $length bytes, $synced synced; text: $found edits, $(acked) synced"
	rm -r "$MNT/dir"
done
ok "the mount ends" fs_stop
ok "fsck finds the store whole" "$FSCK" --key-file "$KEY" "$STORE"
finish
