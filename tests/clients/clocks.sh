#!/bin/bash
# The daemon's wall clock is set forward and back, by seconds and by days, while records are
# appended: ids and order stay, times never go back, true times are those that the clock showed,
# and all selectors agree with a list (selected.py). Then over restarts, a kill among them.
((${TEST_SECONDS:-0} >= 60)) && TEST_LIMIT_S=900
. "$(dirname "$0")/../lib/mount.sh"
needs python3 faketime
here=$(cd "$(dirname "$0")" && pwd) || exit 1
lib=$(faketime now printenv LD_PRELOAD) || exit 1
lib=${lib/libfaketime.so/libfaketimeMT.so}
rounds=2
((${TEST_SECONDS:-0} >= 60)) && rounds=8
seed=${SEED:-$RANDOM}
echo "# SEED=$seed"

# Only the daemon sees the other clock; what it waits for goes by the monotonic one, as it does
# when somebody sets a clock.
real=$ROPEFS
ROPEFS=$T/ropefs
cat >"$ROPEFS" <<-END
	#!/bin/sh
	export LD_PRELOAD='$lib' FAKETIME_TIMESTAMP_FILE='$T/clock' FAKETIME_NO_CACHE=1
	export FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1
	exec '$real' "\$@"
END
chmod +x "$ROPEFS"
set_clock() {	# SECONDS: from the true time
	printf '%+d\n' "$1" >"$T/clock.new" && mv "$T/clock.new" "$T/clock"
}
field() { jq -r ".$1" <<<"$2"; }
seconds() { date -d "$1" +%s; }
near() {	# TIME SECONDS: within what a machine may stop for; steps are longer
	local off=$(($(seconds "$1") - $2))
	((off > -600 && off < 600)) && echo yes || echo "$1 is $off s off"
}

set_clock 0
export ROPEFS MNT STORE KEY
fs_start || exit 1
mkdir "$MNT/random"
ok "as the list says" python3 "$here/selected.py" "$MNT/random" $rounds "$seed" "$T/clock"

cd "$MNT" || exit 1
mkdir q; "$ROPECTL" policy set q kind=queue || exit 1
set_clock 0; echo before >>q/log
set_clock 86400; echo 'a day later' >>q/log
set_clock -3600; echo 'an hour early' >>q/log
set_clock 0; echo right >>q/log
now=$(date +%s)
mapfile -t all < <(cat q/log@as=json)
is "ids and payloads in order" "$(cat q/log@as=json | jq -r '"\(.id) \(.payload)"')" "0 before
1 a day later
2 an hour early
3 right"
is "forward: times jump along" "$(near "$(field time "${all[1]}")" $((now + 86400)))" yes
is "and are true" "$(field true_time "${all[1]}")" null
is "back: times go on" "$(near "$(field time "${all[2]}")" $((now + 86400)))" yes
is "the true time is what the clock showed" \
	"$(near "$(field true_time "${all[2]}")" $((now - 3600)))" yes
is "the same when it is right again" "$(near "$(field true_time "${all[3]}")" $now)" yes
is "times never go back" "$(cat q/log@as=json | jq -r .time | sort -c && echo sorted)" sorted
dd if=.ropefs/events of="$T/events" iflag=nonblock bs=1M count=1 status=none
ok "events tell of the steps" grep -q 'wall clock was set by +86[34][0-9][0-9]' "$T/events"
cd /

# What was known of time before a restart holds after it.
fs_stop; set_clock -7200; fs_start || exit 1
echo 'two hours early, anew' >>"$MNT/q/log"
sync "$MNT/q/log"
fs_kill; set_clock 0; fs_start || exit 1
echo 'after a kill' >>"$MNT/q/log"
is "older records keep their times" "$(head -n 4 "$MNT/q/log@as=json")" \
	"$(printf '%s\n' "${all[@]}")"
last=$(cat "$MNT/q/log@last=1,as=json")
is "ids go on" "$(field id "$last") $(field payload "$last")" "5 after a kill"
is "and true times" "$(near "$(field true_time "$last")" "$(date +%s)")" yes
is "of the life before, too" "$(near "$(cat "$MNT/q/log@records=4..5,as=json" |
	jq -r .true_time)" $(($(date +%s) - 7200)))" yes
is "times never went back" "$(cat "$MNT/q/log@as=json" | jq -r .time | sort -c &&
	echo sorted)" sorted
fs_stop
ok "fsck finds nothing" "$FSCK" --key-file "$KEY" "$STORE"
finish
