#!/bin/bash
# Parts of queues by id, time and cursor; followers; retention.
. "$(dirname "$0")/../lib/mount.sh"
fs_start || exit 1
cd "$MNT" || exit 1
mkdir q w
"$ROPECTL" policy set q kind=queue || exit 1
"$ROPECTL" policy set w kind=queue framing=write || exit 1
seq -f 'line %g' 0 99 >"$T/all"
cp "$T/all" q/a

is "records by id" "$(cat q/a@records=3..5 | xargs)" "line 3 line 4"
is "lines are records" "$(cat q/a@lines=..2 | xargs)" "line 0 line 1"
is "counted from the end" "$(cat q/a@records=-2.. | xargs)" "line 98 line 99"
is "the last ones" "$(cat q/a@last=3 | xargs)" "line 97 line 98 line 99"
is "each tenth" "$(cat q/a@records=5..36,every=10 | xargs)" "line 5 line 15 line 25 line 35"
is "the size of a part" "$(stat -c %s q/a@records=3..5)" 14
is "a part is read at any place" "$(tail -c 7 q/a@records=3..5)" "line 4"
is "as hex" "$(cat q/a@records=3..4,as=hex)" \
	"$(printf 'line 3\n' | od -An -tx1 | tr -d ' ')"
is "as json" "$(cat q/a@last=2,as=json | jq -r '[.id, .payload] | @csv')" '98,"line 98"
99,"line 99"'
is "all as json is all" \
	"$(cat q/a@records=..,as=json | jq -r .payload | cmp - "$T/all" && echo same)" same
printf '\xff\x00\x01' >w/b; printf 'text' >>w/b
is "bytes that are no text are base64" \
	"$(cat w/b@last=2,as=json | jq -r '.payload_base64, .payload' | xargs)" \
	"/wAB null null text"
middle=$(cat q/a@records=50..51,as=json | jq -r .time)
sleep 0.01; echo late >>q/a
is "since a time" "$(cat "q/a@since=$middle,as=json" | jq -r .id | tail -1)" 100
is "in the last hour, and before" \
	"$(cat q/a@time=-1h.. | wc -l) $(cat q/a@time=..-1h | wc -l)" "101 0"
is "by seconds" "$(cat "q/a@time=0..$(($(date +%s) + 9)),last=1")" late
fails "records that are not there yet" "Numerical result out of range" cat q/a@records=0..500
fails "nor from one on" "Numerical result out of range" cat q/a@records=5000..
ok "which is not called reversed" grep -q 'record 5000 is not there yet' <(events_so_far)
fails "a bad time" "Invalid argument" cat q/a@since=yesterday
fails "what does not go together" "Invalid argument" cat q/a@lines=1..2,records=1..2
fails "times that are reversed" "Numerical result out of range" cat q/a@time=2026-01-02..2026-01-01
fails "following to an end" "Invalid argument" cat q/a@records=1..2,follow
echo plain >f
fails "records of an ordinary file" "Invalid argument" cat f@records=0..1
events_so_far >"$T/events"
ok "the events say why" grep -q 'is for queues' "$T/events"
is "which part is wrong, once" "$(grep -c 'since=.*\\"yesterday\\" is no time' "$T/events")" 1
printf 'a\nb\nc' >f
is "lines of an ordinary file" "$(cat f@lines=1..2 | xargs) $(cat f@lines=-1..)" "b c"

# Followers.
has_lines() { (($(wc -l <"$1") >= $2)); }
read_lines() { until_true 120 has_lines "$@"; }	# FILE N: until it has so many
timeout 100 sed -u 110q q/a@follow >"$T/followed" &
follower=$!
timeout 100 sed -u 12q 'q/a@last=3,follow' >"$T/tail" &
tailer=$!
read_lines "$T/tail" 3
for i in {1..9}; do echo "more $i" >>q/a; done
wait $follower; wait $tailer
is "a follower gets what is there and what comes" \
	"$(cmp "$T/followed" <(head -n 110 q/a) && echo same)" same
is "also from the last three on" "$(tail -n 10 "$T/tail" | head -2 | xargs)" "late more 1"
: >f2
timeout 100 sed -u 2q f2@follow >"$T/rope" &
follower=$!
echo one >>f2; read_lines "$T/rope" 1; echo two >>f2
wait $follower
is "an ordinary file is followed" "$(xargs <"$T/rope")" "one two"
: >q/turn
timeout 100 sed -u 4q q/turn@follow >"$T/turned" &
follower=$!
echo 1 >>q/turn; echo 2 >>q/turn; read_lines "$T/turned" 2;
mv q/turn q/turn.1; echo 3 >>q/turn; echo 4 >>q/turn
wait $follower
is "over to the file that took the name" "$(xargs <"$T/turned")" "1 2 3 4"
is "O_NONBLOCK, poll and signals" "$(timeout 60 python3 -c '
import os, select, signal
fd = os.open("q/a@last=1,follow", os.O_RDONLY | os.O_NONBLOCK)
print(os.read(fd, 100))
try:
    os.read(fd, 100)
except BlockingIOError:
    print("again")
p = select.poll()
p.register(fd, select.POLLIN)
print(p.poll(50))
os.system("echo new >>q/a")
print([e for _, e in p.poll(30000)], os.read(fd, 100))
os.set_blocking(fd, True)
signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    os.read(fd, 100)
except ZeroDivisionError:
    print("interrupted")
')" "b'more 9\\n'
again
[]
[1] b'new\\n'
interrupted"
is "epoll by edges" "$(timeout 100 python3 - q/a <<'END'
import os, select, sys
def put(text):
    with open(sys.argv[1], "a") as f:
        f.write(text)
fd = os.open(sys.argv[1] + "@last=1,follow", os.O_RDONLY | os.O_NONBLOCK)
ep = select.epoll()
ep.register(fd, select.EPOLLIN | select.EPOLLET)
def edge():
    return [e for _, e in ep.poll(60)]
print(edge(), ep.poll(0.05))
os.read(fd, 10000)
for text in ("edge 1\n", "edge 2\n"): # is told of each, read or not
    put(text)
    print(edge())
print(os.read(fd, 10000))
put("edge 3\n")
print(edge(), os.read(fd, 10000))
END
)" "[1] []
[1]
[1]
b'edge 1\\nedge 2\\n'
[1] b'edge 3\\n'"
mkdir many
: >>q/fan
for i in {1..64}; do
	timeout 150 head -n 300 q/fan@follow >many/$i 2>/dev/null &
done
pids=$(jobs -p)
for i in {1..300}; do echo "record $i"; done | while read -r line; do echo "$line" >>q/fan; done
for pid in $pids; do wait "$pid"; done
same=0
for i in {1..64}; do cmp -s many/$i q/fan && same=$((same + 1)); done
is "64 followers get every byte" "$same" 64

# Cursors.
is "a cursor that is new begins at the beginning" "$(cat q/a@cursor=work | head -1)" "line 0"
ok "is moved" "$ROPECTL" cursor commit q/a work 42
ok "another, too" "$ROPECTL" cursor commit q/a other 7
is "reads on from there" "$(cat q/a@cursor=work | head -1)" "line 42"
is "is listed" "$("$ROPECTL" cursor ls q/a | cut -f 1,2 | xargs)" "other 7 work 42"
is "as JSON, too" "$("$ROPECTL" cursor ls --json q/a | jq -c '.[1] | [.name, .id, .behind > 0]')" \
	'["work",42,true]'
fails "not beyond the end" "no such record" "$ROPECTL" cursor commit q/a work 100000
fails "an ordinary file has none" "f is an ordinary file, and only queues have cursors" \
	"$ROPECTL" cursor ls f
fails "nor has what is no file of a mount" "is not a queue" "$ROPECTL" cursor ls /proc/version
fails "names are checked" "'a=b' is no name of a cursor" "$ROPECTL" cursor commit q/a a=b 1
ok "is dropped" "$ROPECTL" cursor rm q/a other
fails "once" "has no cursor" "$ROPECTL" cursor rm q/a other
ok "is durable" "$ROPECTL" sync q/a
cd /
fs_kill; fs_start || exit 1
cd "$MNT" || exit 1
is "after kill -9" "$("$ROPECTL" cursor ls q/a | cut -f 1,2 | xargs)" "work 42"

# Trimming.
ok "rm trims the head" rm q/a@records=..40
is "ids stay" "$(cat q/a@records=40..41) $(cat q/a | head -1)" "line 40 line 40"
fails "what is gone" "Numerical result out of range" cat q/a@records=10..20
is "and an event says so" "$(dd if=.ropefs/events iflag=nonblock bs=1M count=1 status=none |
	tail -n 1 | jq -r .text)" "records 10..20 were trimmed; the first left is 40"
ok "what is gone is removed" rm q/a@records=..20
ok "by time, too" rm q/a@time=..2020-01-01
fails "and read it is an error" "Numerical result out of range" cat q/a@time=..2020-01-01
is "and nothing else went" "$(cat q/a | head -1)" "line 40"
is "of what is partly gone, the rest" "$(cat q/a@records=38..42 | xargs)" "line 40 line 41"
fails "nothing but the head" "Operation not permitted" rm q/a@records=50..60
seq 1 5000 >q/long
ok "retention by count" "$ROPECTL" policy set q/long 'retain=100 records'
few_left() { (($(wc -l <q/long) < 500)); }
until_true 100 few_left
is "trims in the background, at blocks" "$(tail -n 1 q/long) $(($(wc -l <q/long) >= 100)) \
$(($(wc -l <q/long) < 500))" "5000 1 1"
mkdir q/shared
for i in 1 2 3; do seq 1 2000 >q/shared/$i; done
ok "retention of a folder" "$ROPECTL" policy set q/shared 'retain=2500 records'
shared() { cat q/shared/* | wc -l; }
few_shared() { (($(shared) < 3400)); }
until_true 100 few_shared
is "is of its queues together, the oldest first" "$(($(shared) >= 2500)) $(($(shared) < 3400)) \
$(wc -l <q/shared/3)" "1 1 2000"
ok "status tells" grep -q '"queue_trimmed_records":	*[1-9]' .ropefs/status
ok "and metrics" grep -q '^ropefs_queue_seeks_total [1-9]' .ropefs/metrics

cd /
fs_stop
ok "fsck finds nothing" "$FSCK" --key-file "$KEY" "$STORE"
finish
