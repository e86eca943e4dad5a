#!/usr/bin/env bash
# What people get wrong: each mistake gives one line that names the thing and the remedy, the
# exit status that the man pages promise, and costs nothing.
# shellcheck source-path=SCRIPTDIR disable=SC2317
. "$(dirname "$0")/../lib/mount.sh"

: "${FSCK:?the path of ropefs-fsck}" "${DUMP:?the path of ropefs-dump}"
umask 077

# DESCRIPTION STATUS WORDS... -- COMMAND...: it ends with that status, with one line on stderr
# that has all the words, and nothing on stdout.
says() {
	says_lines 1 "$@"
}

# The same for wrong usage, where a second line says how to get help.
usage() {
	local what=$1
	shift
	says_lines 2 "$what" 2 "--help" "$@"
}

says_lines() {
	local lines=$1 what=$2 want=$3 words=() word status good=0
	shift 3
	while [[ $1 != -- ]]; do
		words+=("$1")
		shift
	done
	shift
	timeout 100 "$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	[[ $status == "$want" && $(wc -l <"$T/err") == "$lines" && ! -s $T/out ]] || good=1
	for word in "${words[@]}"; do
		grep -qF -- "$word" "$T/err" || good=1
	done
	result $good "$what" "status $status, wanted $want with: ${words[*]}
$(cat "$T/err" "$T/out")"
}

# DESCRIPTION STATUS STORE KEY WORDS...: the same from every program that opens a store.
all_say() {
	local what=$1 status=$2 store=$3 key=$4
	shift 4
	says "ropefs: $what" "$status" "$@" -- "$ROPEFS" --key-file "$key" "$store" "$MNT"
	says "ropefs-fsck: $what" "$status" "$@" -- "$FSCK" -k "$key" "$store"
	says "ropefs-dump: $what" "$status" "$@" -- "$DUMP" -k "$key" "$store" pages
	says "ropectl status: $what" "$status" "$@" -- "$ROPECTL" status -k "$key" "$store"
}

state_of() {	# FOLDER: a sum of all it holds
	(cd "$1" && find . -type f ! -name lock -print0 | sort -z | xargs -0 sha256sum)
}

# --- stores ---

seed_files() {
	fs_start || return 1
	head -c 100000 /dev/urandom >"$PLAIN/data"
	cp "$PLAIN/data" "$MNT/data" && mkdir "$MNT/dir" && fs_stop
}
ok "a store with a file" seed_files
before=$(state_of "$STORE")

says "ropefs: a store that isn't there" 1 "$T/none" "ropectl init" -- \
	"$ROPEFS" --key-file "$KEY" "$T/none" "$MNT"
says "ropefs-fsck: a store that isn't there" 6 "$T/none" "ropectl init" -- \
	"$FSCK" -k "$KEY" "$T/none"
says "ropefs-dump: a store that isn't there" 6 "$T/none" "ropectl init" -- "$DUMP" "$T/none"
says "ropectl status: a store that isn't there" 6 "$T/none" "ropectl init" -- \
	"$ROPECTL" status "$T/none"

mkdir "$T/empty"
all_say "an empty folder" 6 "$T/empty" "$KEY" "$T/empty" "ropectl init"
is "nothing was made in it" "$(ls -A "$T/empty")" ""
echo words >"$T/file"
all_say "a file for a store" 6 "$T/file" "$KEY" "$T/file" "ropectl init"
mkdir "$T/other"
head -c 9000 /dev/urandom >"$T/other/ropefs"
all_say "a folder with another file of that name" 6 "$T/other" "$KEY" "$T/other" "not the header"

# The header of a version to come: both copies, with their checksums.
cp -r "$STORE" "$T/newer"
python3 - "$T/newer/ropefs" <<'PY'
import struct, sys
path = sys.argv[1]
b = bytearray(open(path, 'rb').read())
def crc32c(data):
    c = 0xffffffff
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = c >> 1 ^ (0x82f63b78 if c & 1 else 0)
    return c ^ 0xffffffff
for at in (0, 4096):
    b[at + 8:at + 12] = struct.pack('<I', 77)
    b[at + 4092:at + 4096] = struct.pack('<I', crc32c(bytes(b[at:at + 4092])))
open(path, 'wb').write(b)
PY
newer=$(state_of "$T/newer")
all_say "a newer format" 7 "$T/newer" "$KEY" "$T/newer" "format 77" "newer ropefs"
is "it was left as it is" "$(state_of "$T/newer")" "$newer"

cp -r "$STORE" "$T/rotten"
flip "$T/rotten/ropefs" 100
flip "$T/rotten/ropefs" 4196
says "ropefs: both copies of the header damaged" 5 "$T/rotten" "backup" -- \
	"$ROPEFS" --key-file "$KEY" "$T/rotten" "$MNT"
says "ropectl status: both copies of the header damaged" 5 "$T/rotten" "backup" -- \
	"$ROPECTL" status "$T/rotten"
fails "ropefs-fsck: both copies of the header damaged" "put what is damaged back" \
	"$FSCK" -k "$KEY" "$T/rotten"
cp -r "$STORE" "$T/nohead" && rm "$T/nohead/ropefs"
says "ropefs: a store without its header" 6 "$T/nohead" "put the file back" -- \
	"$ROPEFS" --key-file "$KEY" "$T/nohead" "$MNT"
says "ropefs: times with a letter that is none" 2 "5x" "interval is seconds (5, 5s)" -- \
	"$ROPEFS" --interval 5x --key-file "$KEY" "$STORE" "$MNT"
cp -r "$STORE" "$T/nopages" && rm "$T/nopages/pages"
says "ropefs: no file pages" 5 "$T/nopages" '"pages" is missing' -- \
	"$ROPEFS" --key-file "$KEY" "$T/nopages" "$MNT"
fails "ropefs-fsck: no file pages" '"pages" is missing' "$FSCK" -k "$KEY" "$T/nopages"

# Something else where a file or folder of the store belongs: it is named, and nobody waits for it.
in_place() {	# KIND NAME: in a copy of the store, whose folder is printed
	local odd=$T/odd-$1-${2//\//-}
	cp -r "$STORE" "$odd" && rm -r "${odd:?}/$2" || return 1
	case $1 in
	fifo) mkfifo "$odd/$2" ;;
	folder) mkdir "$odd/$2" ;;
	link) ln -s /etc/passwd "$odd/$2" ;;
	file) : >"$odd/$2" ;;
	esac
	echo "$odd"
}
for kind in fifo folder link; do
	odd=$(in_place $kind lock)
	says "a $kind for the lock" 1 "$odd" '"lock" in the store' "where a file belongs" -- \
		"$ROPEFS" --key-file "$KEY" "$odd" "$MNT"
	odd=$(in_place $kind pages)
	says "a $kind for pages" 5 "$odd" '"pages" in the store' "--rebuild" -- \
		"$ROPEFS" --key-file "$KEY" "$odd" "$MNT"
	odd=$(in_place $kind packs/0000000001.pack)
	fails "a $kind for a pack" '"packs/0000000001.pack" in the store' "$FSCK" -k "$KEY" "$odd"
done
for kind in fifo folder link; do
	cp -r "$STORE" "$T/whole-$kind" && cp "$T/whole-$kind/pages" "$T/whole-$kind/pages.copy"
	odd=$T/whole-$kind
	rm "$odd/pages.copy"
	case $kind in
	fifo) mkfifo "$odd/pages.copy" ;;
	folder) mkdir "$odd/pages.copy" && : >"$odd/pages.copy/what" ;;
	link) ln -s /etc/passwd "$odd/pages.copy" ;;
	esac
	fails "a $kind for pages.copy" 'pages is kept once only: "pages.copy" in the store' \
		"$FSCK" -k "$KEY" "$odd"
	ok "which a repair moves away" "$FSCK" --repair --yes -k "$KEY" "$odd"
	is "and keeps" "$(compgen -G "$odd/damaged-*/pages.copy" | wc -l)" 1
	ok "then nothing is found" "$FSCK" -q -k "$KEY" "$odd"
done
for folder in wal packs; do
	odd=$(in_place file $folder)
	says "a file for the folder $folder" 1 "$odd" "\"$folder\" in the store" \
		"where a folder belongs" -- "$FSCK" -k "$KEY" "$odd"
done
cp -r "$STORE" "$T/emptied" && truncate -s 0 "$T/emptied/pages"
is "ropefs-fsck: pages cut to nothing is damage" \
	"$("$FSCK" -q -k "$KEY" "$T/emptied" >/dev/null; echo $?)" 5

# What others may change is not believed.
cp -r "$STORE" "$T/opened" && chmod 770 "$T/opened"
says "ropefs: a folder that others may write to" 1 "$T/opened" "chmod 700" -- \
	"$ROPEFS" --key-file "$KEY" "$T/opened" "$MNT"
says "init in a folder that others may write to" 1 "$T/wide" "chmod 700" -- \
	sh -c 'mkdir -m 777 "$2" && exec "$1" init "$2" --key-file "$2.key"' sh "$ROPECTL" "$T/wide"
chmod 700 "$T/opened" && chown 65534 "$T/opened"
says "ropefs-fsck: a folder of another user" 1 "$T/opened" "another user" "chown" -- \
	"$FSCK" -k "$KEY" "$T/opened"
mkdir -m 755 "$T/readable"
"$ROPECTL" init "$T/readable" --key-file "$T/key6" >/dev/null
is "nobody else looks into a new store" "$(stat -c %a "$T/readable")" 700

# --- keys ---

# A checker of memory has no locked pages.
if ! ldd "$ROPEFS" | grep -q 'lib[atu]*san'; then
	cp -r "$STORE" "$T/theirs" && cp "$KEY" "$T/theirs.key" &&
		chown -R 65534 "$T/theirs" "$T/theirs.key"
	says "memory that may not be locked" 1 "locked" "ulimit -l" "LimitMEMLOCK" -- \
		prlimit --memlock=65536 setpriv --reuid 65534 --clear-groups \
		"$(for_others "$FSCK")" -k "$T/theirs.key" "$T/theirs"
fi
all_say "a key file that isn't there" 3 "$STORE" "$T/nokey" "$T/nokey" "does not exist"
"$ROPECTL" init "$T/store2" --key-file "$T/key2" >/dev/null
all_say "another store's key" 3 "$STORE" "$T/key2" "give the key file of this store"
cp "$KEY" "$T/open" && chmod 644 "$T/open"
all_say "a key file that others may read" 3 "$STORE" "$T/open" "$T/open" "chmod 600"
all_say "a folder for a key file" 3 "$STORE" "$T/empty" "$T/empty" "not a regular file"
head -c 40 "$KEY" >"$T/cut"
all_say "a key file cut short" 3 "$STORE" "$T/cut" "$T/cut" "bring it back"
sed 'y/abcdefghijklmnopqrstuvwxyz/bcdefghijklmnopqrstuvwxyza/' "$KEY" >"$T/wrong"
all_say "a key file of other words" 3 "$STORE" "$T/wrong" "$T/wrong" "bring it back"
# The right store, the wrong key.
python3 - "$KEY" "$T/false" <<'PY'
import sys
text = open(sys.argv[1]).read().rstrip('\n')
at = len(text) - 12
open(sys.argv[2], 'w').write(text[:at] + ('A' if text[at] != 'A' else 'B') + text[at + 1:] + '\n')
PY
chmod 600 "$T/false"
all_say "the right store, a wrong key" 3 "$STORE" "$T/false" "$STORE" "key"
is "the store is as it was" "$(state_of "$STORE")" "$before"

# --- making ---

says "init in a folder with files" 1 "$STORE" "empty folder" -- "$ROPECTL" init "$STORE"
says "init with a key file that is there" 1 "$KEY" "another place" -- \
	"$ROPECTL" init "$T/store3" --key-file "$KEY"
says "init with the key inside" 1 "$T/store4/key" "elsewhere" -- \
	"$ROPECTL" init "$T/store4" --key-file "$T/store4/key"
says "init below a folder that isn't there" 1 "$T/none/store" -- "$ROPECTL" init "$T/none/store"
usage "init with an unknown cipher" "rot13" "aes256-gcm" -- \
	"$ROPECTL" init "$T/store5" --cipher rot13 --key-file "$T/key5"
is "what could not be made left nothing" "$(cd "$T" && ls -d store[345] key5 2>/dev/null)" ""
says "dump of a file that isn't there" 1 "packs/none" -- "$DUMP" "$STORE" packs/none
says "dump of a file outside" 1 "$STORE" -- "$DUMP" "$STORE" ../key
is "the store is as it was" "$(state_of "$STORE")" "$before"

# --- mounting ---

says "a mount point that isn't there" 1 "$T/none" "mkdir" -- \
	"$ROPEFS" --key-file "$KEY" "$STORE" "$T/none"
says "a file for a mount point" 1 "$T/file" "directory" -- \
	"$ROPEFS" --key-file "$KEY" "$STORE" "$T/file"
says "a mount point above the store" 1 "$T" "beside" -- \
	"$ROPEFS" --key-file "$KEY" "$STORE" "$T"
ok "mount" fs_start
pid=$(fs_pid)
says "a mount point that is busy" 1 "$MNT" "unmount it first" -- \
	"$ROPEFS" --key-file "$T/key2" "$T/store2" "$MNT"
mkdir "$T/mnt2"
says "ropefs: a store in use" 4 "$STORE" "$pid" "unmount" -- \
	"$ROPEFS" --key-file "$KEY" "$STORE" "$T/mnt2"
says "ropefs-fsck: a store in use" 4 "$STORE" "$pid" "unmount" -- "$FSCK" -k "$KEY" "$STORE"
says "unmounting what is no mount" 1 "$T/mnt2" -- "$ROPECTL" umount "$T/mnt2"
ok "the mount goes on" cmp "$PLAIN/data" "$MNT/data"

# --- names ---

cd "$MNT" || exit 1
long=$(printf 'n%.0s' {1..255})
ok "a name of 255 bytes" touch "$long"
fails "a name of 256 bytes" "File name too long" touch "${long}x"
ok "it is listed" test -e "$long"
ok "255 bytes of UTF-8" touch "$(printf 'é%.0s' {1..127})e"
fails "a target beyond 4095 bytes" "File name too long" ln -s "$(printf 't%.0s' {1..4200})" link
odd=$'new\nline\ttab \x01\xff\xfe\\ "quote" \x80'
ok "newlines and bytes that are not UTF-8" touch "$odd"
is "they come back as they were" "$(find . -maxdepth 1 -name 'new*' -printf '%f' | od -An -tx1)" \
	"$(printf '%s' "$odd" | od -An -tx1)"
ok "and go" rm -- "$odd"
ok "a name of a blank" touch ' '
ok "a name that looks like an option" touch -- --help
ok "a trailing @ is no view" touch "file@"
ok "an unknown selector is a name" touch "file@nonsense=3"

# --- selectors ---

printf '0123456789' >ten
bad_view() {	# SELECTOR MESSAGE
	fails "read ten@$1" "$2" cat "ten@$1"
	fails "replace ten@$1" "$2" sh -c 'printf x >"ten@$1"' sh "$1"
	fails "remove ten@$1" "$2" rm "ten@$1"
}
bad_view bytes=5..3 "out of range"
bad_view bytes=5..11 "out of range"
bad_view bytes=11..11 "out of range"
bad_view bytes=a..b "Invalid argument"
bad_view bytes= "Invalid argument"
bad_view bytes=1 "Invalid argument"
bad_view bytes=1...2 "Invalid argument"
bad_view bytes=99999999999999999999..1 "Invalid argument"
bad_view bytes=0x1..2 "Invalid argument"
is "a count back beyond the start stops there" "$(cat ten@bytes=-11..-8)" 01
is "the file is as it was" "$(cat ten)" 0123456789
says "insert past the end" 1 ten -- "$ROPECTL" insert ten 11
for at in abc "" 3..4 5-3 1,2 0x10; do
	usage "insert at \"$at\"" "'$at'" "one number" -- "$ROPECTL" insert ten "$at"
done
says "cut past the end" 1 ten -- "$ROPECTL" cut ten 5..11
says "cut reversed" 1 ten 5..3 reversed -- "$ROPECTL" cut ten 5..3
for range in abc "" x.. 3..4..5 5 1..x ..1,follow; do
	usage "cut of \"$range\"" "'$range'" "FROM..TO" -- "$ROPECTL" cut ten "$range"
done
says "insert into a folder" 1 dir -- "$ROPECTL" insert dir 0
says "insert into a file that isn't there" 1 none -- "$ROPECTL" insert none 0
says "insert into a file outside" 1 "$T/file" -- "$ROPECTL" insert "$T/file" 0
says "sync of no mount" 1 "$T/empty" -- "$ROPECTL" sync "$T/empty"
is "the file is as it was still" "$(cat ten)" 0123456789
is "the file outside too" "$(cat "$T/file")" words
cd / || exit 1

ok "unmount" fs_stop
ok "fsck finds nothing" "$FSCK" -q -k "$KEY" "$STORE"
finish
