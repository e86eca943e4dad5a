#!/bin/bash
# A bucket given to a mount, shown, and taken away again; where credentials come from. The
# bucket is a folder.
. "$(dirname "$0")/../lib/mount.sh"
URL=file://$T/bucket
mkdir "$T/bucket"
remote() { timeout 60 "$ROPECTL" remote "$@"; }
settled() { timeout 100 "$ROPECTL" sync --remote "$MNT"; }

fs_start || exit 1
fails "a mount without a bucket says so" "no bucket" remote show "$MNT"
echo before >"$MNT/a"
fails "the folder is not there" "can't be opened" remote add "$STORE" "file://$T/none"
ok "a mount gets a bucket" remote add "$MNT" "$URL" --interval 1h
fails "once" "has a bucket already" remote add "$MNT" "$URL"
ok "what was there before goes up" settled
ok "show tells of it" grep -q "^bucket .*$URL" <(remote show "$MNT")
documented() {	# the metrics of METRICS.md, with their types
	sed -n 's/^| `\([a-z_]*\)` | \([a-z]*\) |.*/\1 \2/p' \
		"$(dirname "$0")/../../docs/METRICS.md"
}
is "METRICS.md has every metric" \
	"$(diff <(sed -n 's/^# TYPE //p' "$MNT/.ropefs/metrics" | sort) <(documented | sort))" ""
is "as JSON, too" "$(remote show --json "$MNT" | jq -r .url)" "$URL"
chmod 755 "$T" "$MNT"
if type setpriv >/dev/null 2>&1; then
	fs_restart -o allow_other || exit 1
	others=$(for_others "$ROPECTL")
	fails "others may not take it away" "only root" \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$others" remote rm "$MNT"
	fs_restart || exit 1
fi
ok "the bucket stays over a restart" grep -q "^bucket .*$URL" <(remote show "$STORE")
ok "it is taken away" remote rm "$MNT"
fails "and is gone" "no bucket" remote show "$MNT"
fails "its objects are another writer's now" "take-over" remote add "$MNT" "$URL"
ok "unless that has ended" remote add "$MNT" "$URL" --take-over --local 1G
mkdir "$MNT/scratch"
fails "a policy that is none" "first, normal, last or never" \
	"$ROPECTL" policy set "$MNT/scratch" upload=soon
ok "what never goes up" "$ROPECTL" policy set "$MNT/scratch" upload=never
is "is known" "$("$ROPECTL" policy get "$MNT/scratch" upload)" never
head -c 300K /dev/urandom >"$MNT/scratch/c"
echo after >"$MNT/b"
ok "uploads go on" settled
ok "status has the bucket" grep -q "^bucket .*$URL" <("$ROPECTL" status "$MNT")

# Nothing is mounted where the bucket should be.
fs_stop
mkdir "$T/gone"
mv "$T/bucket"/* "$T/gone"
fs_start || exit 1
echo more >"$MNT/more"
timeout 400 "$ROPECTL" sync --remote "$MNT" >"$T/sync" 2>&1 &
syncing=$!
status_says() {	# WORDS
	timeout 60 "$ROPECTL" status "$MNT" >"$T/status" && grep -q "$1" "$T/status"
}
ok "status says that something is wrong with it" until_true 120 status_says \
	"^state .*BUCKET needs a look"
ok "and what" until_true 60 status_says "^bucket .*the last that was put, is not in"
is "and so for programs" "$("$ROPECTL" status --json "$MNT" | jq -r .remote.url)" "$URL"
ok "who waits for it is told why" until_true 60 \
	grep -q "^ropectl: waiting: .*is not in" "$T/sync"
mv "$T/gone"/* "$T/bucket"
signal_child TERM "$syncing"
wait "$syncing"
ok "and all goes on when it is there again" settled
ok "settings change while it is mounted" remote set "$MNT" --local 2G --rate 50M --hours 22:00-06:00
fails "those that make no sense don't" "no hours" remote set "$MNT" --hours 7-8
fails "nor none" "nothing to change" remote set "$MNT"
ok "what is waited for doesn't wait for the hour" settled
ok "what was refused can be tried again" remote retry "$MNT"
is "nothing was dropped" "$(remote dropped "$MNT")" ""

# An object goes, another one rots. So many names that their pages are a segment.
mkdir "$MNT/many"
for ((i = 0; i < 1000; i++)); do : >"$MNT/many/$(printf %0200d $i)"; done
ok "many files go up" settled
objects() { find "$T/bucket" -path "*/$1/*" -type f | sort; }
verify() { timeout 100 "$ROPECTL" verify "$@"; }
ok "the bucket has all" verify "$MNT" --data --rate 100M
is "as JSON, too" "$(verify --json "$MNT" | python3 -c '
import json, sys; print(json.load(sys.stdin)["whole"])')" True
fails "a rate is a size" "no rate" verify "$MNT" --rate fast
segment=$(objects s | tail -n1) pack=$(objects p | head -n1)
rm "$segment"
flip "$pack" 100
fails "what is gone is named" "${segment##*/}: it is gone" verify "$MNT"
fails "and what is damaged, by --data" "${pack##*/}: it is damaged" verify --data "$MNT"
ok "what is still here is put again" verify --data --repair "$MNT"
ok "and all is there again" verify --data "$MNT"
# One that takes long shows how far it is, and ends with who asked, or with the mount.
far() { grep -q "\"verify_total\":[[:space:]]*$1" "$MNT/.ropefs/remote"; }
until_far() { until_true 120 far "$1"; }
"$ROPECTL" verify --data --rate 1K "$MNT" >/dev/null 2>&1 &
verifying=$!
ok "a verify tells how far it is" until_far '[1-9]'
signal_child TERM "$verifying"
wait "$verifying"
ok "and ends with who asked" until_far 0
ok "so that settings can change" remote set "$MNT" --local 3G
"$ROPECTL" verify --data --rate 1K "$MNT" >/dev/null 2>&1 &
verifying=$! daemon=$(fs_pid)
ok "another one" until_far '[1-9]'
kill -TERM "$daemon"
ok "ends with its mount" wait_gone "$daemon" 60
signal_child TERM "$verifying"
wait "$verifying"
pack=$(objects p | head -n1)
rm "$pack"
fails "unmounted too" "${pack##*/}: it is gone" verify "$STORE" --key-file "$KEY"
is "as JSON, too" "$(verify --json "$STORE" --key-file "$KEY" 2>/dev/null | python3 -c '
import json, sys; got = json.load(sys.stdin)
print(got["whole"], [line for line in got["lines"] if "is gone" in line][0].split("/")[-1])')" \
	"False ${pack##*/}: it is gone"
ok "it is put again" verify --repair "$STORE" --key-file "$KEY"
ok "so that all is there" verify --data "$STORE" --key-file "$KEY"
timeout 100 "$ROPECTL" clone "$URL" "$T/clone" --key-file "$KEY" >/dev/null
STORE=$T/clone
fs_start
ok "a clone says what it is" \
	grep -q "^state .*read-only: it is a copy .*clone --take-over" <("$ROPECTL" status "$MNT")
is "all is there" "$(cat "$MNT/a" "$MNT/b")" "before
after"
fails "but for that" "Input/output error" cat "$MNT/scratch/c"
events_so_far >"$T/events"
grep -q 'was not uploaded by' "$T/events"
result $? "and events say why"
fs_stop

# An fsync waits for a bucket that is away, until a signal ends that.
STORE=$T/store
fs_start -o durability=remote || exit 1
mv "$T/bucket" "$T/away"
echo waits >"$MNT/w"
interrupted() { timeout 60 bash -c 'timeout -s INT 2 sync "$0"; echo $?' "$MNT/w"; }
is "an fsync that waits for the bucket can be interrupted" "$(interrupted)" 124
# So does whatever else waits for it. What was written is there, and the mount goes on.
cat >"$T/waits.py" <<'END'
"""waits.py SIGNAL HOW FILE TEXT: writes it and waits; the signal comes after a second."""
import os, signal, sys, time
number, how, name, text = sys.argv[1:]
flags = {"view": os.O_RDWR, "fsync": os.O_WRONLY | os.O_APPEND,
         "dsync": os.O_WRONLY | os.O_APPEND | os.O_DSYNC}
signal.signal(signal.SIGINT, signal.SIG_DFL)
f = os.open(name, flags[how])
if not os.fork():
    time.sleep(1)
    os.kill(os.getppid(), int(number))
    os._exit(0)
os.write(f, text.encode())
os.fsync(f)
END
waits() {	# FILE ARGUMENT...: into FILE what comes of it
	timeout 60 bash -c 'python3 "$@"; echo $?' waits "$T/waits.py" "${@:2}" \
		>"$T/ended.$1" 2>/dev/null
}
mkdir "$MNT/q"
"$ROPECTL" policy set "$MNT/q" kind=queue framing=line
touch "$MNT/q/lines"
for i in {1..10}; do waits "$i" 2 fsync "$MNT/q/lines" "part $i" & done
ok "ten that wait for a queue keep no worker" timeout 100 python3 -c '
import os, sys
os.posix_fallocate(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), 0, 1 << 20)' "$MNT/allocated"
waits killed 9 fsync "$MNT/q/lines" "part 11" &
waits queue 2 dsync "$MNT/q/lines" "part 12" &
waits dsync 9 dsync "$MNT/w" part &
waits view 2 view "$MNT/w@bytes=0..4" wait &
wait
is "each is let go by its signal" "$(cat "$T"/ended.* | sort | uniq -c | xargs)" "12 130 2 137"
mv "$T/away" "$T/bucket"
ok "and waits no longer when that is back" timeout 100 sync "$MNT/w"
is "no record of a queue is there twice" \
	"$(grep -o "part [0-9]*" "$MNT/q/lines" | sort | uniq -d)" ""
fs_stop

# A bucket without room is no refusal of the one pack that met it.
STORE=$T/roomless
"$ROPECTL" init "$STORE" --key-file "$T/roomless.key" >/dev/null
mkdir "$T/small"
mount -t tmpfs -o size=2M none "$T/small"
KEY=$T/roomless.key fs_start || exit 1
ok "a small bucket" remote add "$MNT" "file://$T/small" --interval 1s
head -c 8M /dev/urandom >"$MNT/random"
timeout 400 "$ROPECTL" sync --remote "$MNT" 2>"$T/sync" &
syncing=$!
ok "status says that it is full" until_true 120 status_says "No space left"
failed_often() { (($(jq .cycle_errors "$MNT/.ropefs/remote") >= 4)); }
until_true 120 failed_often
mount -o remount,size=64M "$T/small"
wait "$syncing"
result $? "with room all goes on by itself"
is "no pack was given up" "$(jq .refused "$MNT/.ropefs/remote")" 0
fs_stop

# Credentials, as far as the bucket's answer: nobody listens on that port.
STORE=$T/other
"$ROPECTL" init "$STORE" --key-file "$T/other.key" >/dev/null
add() { # VARIABLE=VALUE... -- OPTION...
	local env=(-u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_PROFILE "HOME=$T")
	while [[ $1 != -- ]]; do env+=("$1"); shift; done
	shift
	timeout 60 env "${env[@]}" "$ROPECTL" remote add "$STORE" s3://b/p --endpoint \
		http://127.0.0.1:1 --key-file "$T/other.key" "$@" </dev/null
}
fails "no credentials anywhere" "needs credentials" add --
mkdir "$T/.aws"
printf '%s\n' '[default]' 'aws_access_key_id = A' '[robot]' 'aws_access_key_id = B' \
	'aws_secret_access_key = C' >"$T/.aws/credentials"
fails "half of them in a profile" "profile default has no" add --
fails "a profile that is not there" "profile nobody has no" add -- --profile nobody
if [[ ${WITH_S3-} == yes ]]; then
	fails "those of a profile" "can't be used" add AWS_PROFILE=robot --
	fails "those of the environment" "can't be used" \
		add AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y --
fi
finish
