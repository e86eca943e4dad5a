#!/bin/bash
# .ropefs/events: what is told, and how a reader waits for more.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
events=$MNT/.ropefs/events
echo 0123456789 >f

now() { events_so_far; }
is "begins empty, and O_NONBLOCK does not wait" "$(now)" ""
cat f@bytes=x..2 2>/dev/null
cat f@bytes=5..50 2>/dev/null
is "says which part of a selector is wrong" "$(now | jq -r '.event, .name, .text' | head -3)" \
	"view
f@bytes=x..2
$(now | head -1 | jq -r .text)"
ok "in words" grep -q 'x..2.*is not a number' <(now)
ok "and which range is outside" grep -q 'beyond the file' <(now)
is "with the file" "$(now | head -1 | jq .ino)" "$(stat -c %i f)"

timeout 60 sed -u 4q "$events" >"$T/four" &
reader=$!
for i in {1..100}; do
	cat "f@bytes=y$i.." 2>/dev/null
	child_runs "$reader" || break
	sleep 0.05
done
wait $reader
is "a reader waits for more" "$? $(jq -r .event "$T/four" | sort | uniq -c | xargs)" "0 4 view"

is "a signal ends the wait; poll tells of a line" "$(timeout 60 python3 -c '
import os, select, signal, subprocess, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.set_blocking(fd, False)
try:
    while True:
        os.read(fd, 100000)
except BlockingIOError:
    pass
os.set_blocking(fd, True)
class Alarm(Exception):
    pass
def stop(*_):
    raise Alarm
signal.signal(signal.SIGALRM, stop)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    print("read", os.read(fd, 100))
except Alarm:
    print("interrupted")
p = select.poll()
p.register(fd, select.POLLIN)
print(p.poll(100))
subprocess.run(["cat", "f@bytes=z.."], stderr=subprocess.DEVNULL)
print([e for _, e in p.poll(30000)])
print(b"z.." in os.read(fd, 100000))
' "$events")" "interrupted
[]
[1]
True"
is "poll of an ordinary file says ready" "$(python3 -c '
import select, sys
p = select.poll()
f = open("f")
p.register(f, select.POLLIN | select.POLLOUT)
print([e for _, e in p.poll(1000)])')" "[5]"
fails "events can not be written" "" sh -c "echo x >$events"

for i in {1..1100}; do
	: <"f@bytes=k.."
done 2>/dev/null
is "the oldest are forgotten" "$(now | wc -l)" 1024
timeout 0.3 sleep 60 <"$events" &
wait
head -c 600000 /dev/urandom >big
cd /
ok "unmounts while nobody reads" fs_stop
pack=$(find "$STORE/packs" -name '*.pack' -size +500k)
printf rotten | dd of="$pack" bs=1 seek=300000 conv=notrunc status=none
fs_start || exit 1
fails "damaged bytes are not given out" "Input/output error" cat "$MNT/big"
is "which is told" "$(now | jq -r 'select(.event == "damage") | .ino' | sort -u)" \
	"$(stat -c %i "$MNT/big")"
ok "and stays in the status" grep -q "last_error.*can't be read whole" "$MNT/.ropefs/status"
ok "unmounts" fs_stop
finish
