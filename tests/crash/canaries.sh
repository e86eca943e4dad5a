#!/usr/bin/env bash
# No key, none that is made of another either, is in a real core of the daemon (which leaves none,
# unless a test makes it), in what it says, in the store or in a bucket; and no bytes of files are
# in the latter two.
# shellcheck source-path=SCRIPTDIR disable=SC2317
. "$(dirname "$0")/../lib/mount.sh"
: "${ALLOW_CORE_SO:?the path of allow_core.so}"
here=$(cd "$(dirname "$0")" && pwd)
words='canary-in-a-file-4711,canary-in-a-name-4712,canary-in-an-xattr-4713'

find_key() {	# FILE...
	STORE=$STORE python3 "$here/find_key.py" "$KEY" 0 "$@"
}

mkdir "$T/bucket" "$T/cores"
"$ROPECTL" remote add "$STORE" "file://$T/bucket" --key-file "$KEY" --interval 1s \
	>"$T/words" 2>&1
cd "$T/cores" || exit 1
export LD_PRELOAD=$ALLOW_CORE_SO
# A bucket's keys that come by the environment.
export AWS_ACCESS_KEY_ID=canary-access-4714 AWS_SECRET_ACCESS_KEY=canary-secret-4715 \
	AWS_SESSION_TOKEN=canary-token-4716
given=canary-access-4714,canary-secret-4715,canary-token-4716
shown() {	# PID...: none of them is in their environments
	local pid
	for pid; do
		tr '\0' '\n' <"/proc/$pid/environ" >"$T/environ" && grep -q '^PATH=' "$T/environ" ||
			return
		CANARIES=$given find_key "$T/environ" || return
	done
}
"$ROPEFS" -f --memory 32M --key-file "$KEY" "$STORE" "$MNT" 2>>"$T/words" &
daemon=$!
unset LD_PRELOAD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
until_true 120 grep -q " $MNT fuse" /proc/self/mounts
yes canary-in-a-file-4711 | head -n 3000 >"$MNT/canary-in-a-name-4712"
setfattr -n user.a -v canary-in-an-xattr-4713 "$MNT/canary-in-a-name-4712"
ok "a bucket has it" timeout 100 "$ROPECTL" sync --remote "$MNT"
cat "$MNT/.ropefs/status" "$MNT/.ropefs/metrics" "$MNT/.ropefs/remote" >>"$T/words"
"$ROPECTL" status "$MNT" >>"$T/words"
ok "what it was given by the environment is not there" shown "$daemon"
fails "it would be found" "has the key" env CANARIES="$given" STORE="$STORE" \
	python3 "$here/find_key.py" "$KEY" 0 <(echo AWS_SECRET_ACCESS_KEY=canary-secret-4715)
signal_child SEGV "$daemon"
wait "$daemon" 2>/dev/null
umount -l "$MNT"
cd "$T" || exit 1

core=$(find "$T/cores" -type f -name 'core*' | head -n 1)
if [[ $(cat /proc/sys/kernel/core_pattern) == core* ]]; then
	ok "it left a core" test -s "$core"
	ok "no key is in it" find_key "$core"
	core_has_given() { CANARIES=$given find_key "$core"; }
	ok "nor what the environment had" core_has_given
	has_words() { CANARIES=$words find_key "$core"; }
	fails "what is in it is found" "has the key" has_words
else
	echo "# cores of this machine are not files in the working folder"
fi
ok "no key is in what the daemon and ropectl said" find_key "$T/words"
fails "it would be found" "has the key" find_key "$KEY"
no_words() { CANARIES=$words find_key "$@"; }
ok "no key, no name and no bytes are in the store" no_words "$STORE"
ok "nor in the bucket" no_words "$T/bucket"

# Supervisor and worker, and the worker after it. The first one's memory is what a core would have:
# that of the other is its copy.
export AWS_ACCESS_KEY_ID=canary-access-4714 AWS_SECRET_ACCESS_KEY=canary-secret-4715 \
	AWS_SESSION_TOKEN=canary-token-4716
ok "it opens again, supervised" fs_start -o supervise=on
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
both() {
	worker=$(fs_pid)
	supervisor=$(awk '/^PPid:/ { print $2 }' "/proc/$worker/status")
	shown "$worker" "$supervisor"
}
none_of_both() {
	both && CANARIES=$given STORE=$STORE python3 "$here/find_key.py" "$KEY" "$worker" &&
		CANARIES=$given STORE=$STORE python3 "$here/find_key.py" "$KEY" "$supervisor"
}
ok "neither of the two shows what it was given" both
before=$(fs_pid)
kill -KILL "$before"
ok "another takes over" timeout 100 stat -f "$MNT"
[[ $(fs_pid) != "$before" ]]
result $? "which is another"
ok "nor does that; and no key is in what a core of either would have" none_of_both
ok "end" fs_stop
finish
