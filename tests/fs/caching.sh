#!/bin/bash
# What the kernel has once been told it does not ask again, by the count of requests in
# .ropefs/metrics; and what changed is never served from before.
. "$(dirname "$0")/../lib/mount.sh"
fs_start -o allow_other || exit 1
chmod 755 "$T"
cd "$MNT" || exit 1

# RELEASE and FORGET come when the kernel has time, so they are not counted.
requests() {
	awk -F'[ "]' '/^ropefs_requests_total/ && !/release|forget/ { n += $NF } END { print n }' \
		.ropefs/metrics
}
requests >/dev/null
cost() {	# COMMAND...: its requests, without what it costs to count
	local first second
	first=$(requests)
	second=$(requests)
	"$@" >/dev/null 2>&1
	echo $(($(requests) - second - (second - first)))
}
# After the first time the kernel asks for what it took to have changed (access times, and with
# them ACLs: docs/POSIX.md), and then no more. Short of memory it may forget what it had: hence
# more than one try.
costs() {	# DESCRIPTION REQUESTS COMMAND...
	local what=$1 wanted=$2 got
	shift 2
	for _ in {1..5}; do
		for _ in 1 2 3; do "$@" >/dev/null 2>&1; done
		got=$(cost "$@")
		[[ $got == "$wanted" ]] && break
	done
	is "$what" "$got" "$wanted"
}
second() {	# DESCRIPTION REQUESTS COMMAND...: the second time, its object's attributes known
	local what=$1 wanted=$2 got
	shift 2
	for _ in {1..5}; do
		"$@" >/dev/null 2>&1
		stat "${@: -1}" >/dev/null
		got=$(cost "$@")
		[[ $got == "$wanted" ]] && break
	done
	is "$what" "$got" "$wanted"
}

mkdir -p tree/a/b tree/c
for i in {1..50}; do echo "$i" | tee "tree/f$i" "tree/a/f$i" >"tree/a/b/f$i"; done
ln -s f1 tree/link
setfacl -m u:1234:r tree/f1
setfattr -n user.x -v 1 tree/f2
head -c 3000000 /dev/urandom >big
second "a second stat" 0 stat tree/f1
second "a second cat: OPEN and no READ" 1 cat big
second "a second ls" 0 ls tree
costs "a name that is absent" 0 stat tree/none
costs "readlink" 0 readlink tree/link
costs "ls -lR asks once whether there is SELinux" 1 ls -lR tree
costs "ls -R" 0 ls -R tree
costs "find asks once what filesystem it is" 1 find tree -newer tree/f1 -size 1
costs "du" 1 du -a tree
costs "getfacl" 0 getfacl -R tree
costs "cat of 50 files: OPEN each" 50 sh -c 'cat tree/a/f*'
costs "cd and pwd" 0 sh -c 'cd tree/a/b && pwd'
as() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }
chmod 701 .	# no ACL is asked of a root that has no bits for the group (docs/POSIX.md)
costs "who may what" 0 as 1234 test -r tree/f1

# --- never stale ---

is "a new name is listed at once" "$(ls tree | wc -l; touch tree/z; ls tree | wc -l)" "53
54"
is "a removed one no more" \
	"$(rm tree/z; ls tree | wc -l; stat tree/z 2>&1 | grep -c 'No such')" "53
1"
is "an absent one that came" "$(echo here >tree/none; cat tree/none)" here
is "a link that leads elsewhere" \
	"$(cat tree/link; ln -sfn f2 tree/link; readlink tree/link; cat tree/link)" "1
f2
2"
is "a renamed directory" \
	"$(mv tree/a tree/q; ls tree/q | wc -l; ls -d tree/a 2>&1 | grep -c 'No such')" "51
1"
printf '0123456789' >v
stat v >/dev/null; cat v >/dev/null
is "an edit by a view: bytes and size" "$(printf abc >v@bytes=2..4; cat v; stat -c ' %s' v)" \
	"01abc456789 11"
is "the view itself" "$(cat v@bytes=0..4; rm v@bytes=0..1; cat v@bytes=0..4)" 01ab1abc
is "a view of a file that came later" \
	"$(cat w@bytes=0..2 2>&1 | grep -c 'No such'; echo word >w; cat w@bytes=0..2)" \
	"1
wo"
is "the file is gone, and so is its view" "$(rm w; cat w@bytes=0..2 2>&1 | grep -c 'No such')" 1
is "a mode that a write changed" \
	"$(chmod 4777 v; stat -c %a v; as 1234 sh -c 'echo >>v'; stat -c %a v)" "4777
777"
is "an ACL that chmod changed" \
	"$(setfacl -m u:5:rw v; getfacl -c v | grep mask; chmod 705 v; getfacl -c v | grep mask)" \
	"mask::rwx
mask::---"
is "who may what, after chmod" "$(chmod 600 v; as 5 cat v 2>&1 | grep -c denied
	chmod 604 v; as 1236 cat v | wc -c)" "1
11"

# --- du: what is stored after compression (docs/POSIX.md) ---

cd /
fs_restart -o allow_other,memory=32M || exit 1	# checkpoints come often
cd "$MNT" || exit 1
yes 'a line of a log, as they come' | head -c 20000000 >lines
head -c 4000000 /dev/urandom >noise
stat lines noise >/dev/null	# the kernel knows their blocks of now
for _ in {1..900}; do
	(($(stat -c %b lines) < 20000)) && break
	sleep 0.1
done
blocks=$(stat -c %b lines)
is "a file's blocks fall once it is packed, and the kernel learns it" \
	"$((blocks > 0 && blocks < 20000))" 1
cp --reflink=auto lines copy
as_many() {	# once all of it is packed
	local blocks
	blocks=$(stat -c %b lines)
	((($(stat -c %b copy) - blocks) * 10 / blocks == 0))
}
ok "a copy has as many" until_true 90 as_many
cd / && fs_restart -o allow_other || exit 1
cd "$MNT" || exit 1
is "du: text takes less than a tenth, noise all of its bytes" \
	"$(($(du -k lines | cut -f1) < 1950)) $(($(du -k noise | cut -f1) > 3800)) \
$(($(du -k noise | cut -f1) <= 3907))" "1 1 1"
ok "cp copies what has fewer blocks than bytes" sh -c \
	"cp --reflink=never lines '$PLAIN/lines' && cmp lines '$PLAIN/lines'"
ok "so does tar --sparse" sh -c "tar -S -cf - lines | tar -xO | cmp - lines"
finish
