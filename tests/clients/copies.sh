#!/bin/bash
# Programs that copy trees: rsync in its ways and both directions, tar, cpio, cp. TEST_SECONDS
# takes all of /usr/include; else its first files.
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/listing.sh"
needs rsync tar cpio getfattr getfacl setfacl
fs_start || exit 1

# --- a tree with everything in it ---

files=1500
[[ -z ${TEST_SECONDS-} ]] || files=1000000
make_tree() {	# FOLDER
	local i
	mkdir -p "$1/a/b/c" "$1/empty" "$1/names" && cd "$1" || return 1
	for i in {1..300}; do echo "file $i" >"a/b/f$i"; done
	touch -d '1999-12-31 23:59:59.123456789' a/b/f1
	chmod 4755 a/b/f2 && chmod 0 a/b/f3 && chmod 1777 a/b/c && chown 12:34 a/b/f4
	ln a/b/f5 a/hard && ln a/b/f5 a/b/c/hard2 && ln -s ../b/f6 a/soft &&
		ln -s /nowhere a/dangling
	mkfifo a/fifo && mknod a/null c 1 3
	setfattr -n user.note -v 'of f7' a/b/f7 && setfattr -n user.empty a/b/f8
	setfattr -n trusted.t -v 0x00ff00 a/b
	printf 'x' >"names/with space"; printf 'y' >$'names/with\nnewline'; : >"names/-dash"
	: >$'names/\xff\xfe'; : >"names/$(printf 'n%.0s' {1..255})"
	seq 100000 >a/numbers && truncate -s 3M a/hole && echo end >>a/hole
	touch -h -d '2005-06-07 08:09:10.5' a/soft && touch -d '2011-11-11' a/b/c a empty
}
(make_tree "$PLAIN/tree")
result $? "a tree with everything in it"
if touch "$PLAIN/p" && setfacl -m u:12:r "$PLAIN/p" 2>/dev/null; then
	setfacl -m u:12:rw,g:34:r "$PLAIN/tree/a/b/f9" &&
		setfacl -d -m u:12:rwx "$PLAIN/tree/a/b/c"
	result $? "with access lists"
else
	result 0 "with access lists # SKIP the plain filesystem has none"
fi
change_tree() {
	(cd "$1" && rm -r a/b/f1? && echo other >a/b/f20 && mv a/numbers a/moved &&
		rm a/soft && mkdir a/soft && chmod 600 a/b/f21 && rm -r names && ln a/b/f22 a/hard3)
}

# --- rsync ---

# rsync takes times of one second for the same unless told otherwise.
rs=(rsync -aHAX --delete --modify-window=-1)
ok "rsync -aHAX to the mount" "${rs[@]}" "$PLAIN/tree/" "$MNT/tree/"
ok "copies all" same_tree "$PLAIN/tree" "$MNT/tree"
is "and has nothing to do then" "$("${rs[@]}" -c -i "$PLAIN/tree/" "$MNT/tree/")" ""
ok "rsync from the mount" "${rs[@]}" "$MNT/tree/" "$PLAIN/back/"
ok "brings all back" same_tree "$PLAIN/tree" "$PLAIN/back"
change_tree "$PLAIN/tree"
ok "changes, and --delete" "${rs[@]}" "$PLAIN/tree/" "$MNT/tree/"
ok "are followed" same_tree "$PLAIN/tree" "$MNT/tree"
change_tree_again() {
	(cd "$1" && mv a/b b && seq 3 >b/f30 && rm a/fifo && rm -r empty)
}
change_tree_again "$MNT/tree"
ok "changes on the mount" "${rs[@]}" "$MNT/tree/" "$PLAIN/tree/"
ok "are followed, too" same_tree "$MNT/tree" "$PLAIN/tree"

# Blocks in the middle of a file that stays in its place.
edit() {	# FILE
	printf 'changed' | dd of="$1" bs=1 seek=123456 conv=notrunc status=none &&
		printf 'changed' | dd of="$1" bs=1 seek=3000000 conv=notrunc status=none &&
		seq 1000 >>"$1"
}
seq 600000 >"$PLAIN/data"
for pair in "$PLAIN/data $MNT/data" "$MNT/data $PLAIN/data2"; do
	read -r from to <<<"$pair"
	rsync -a "$from" "$to"
	inode=$(stat -c %i "$to")
	edit "$from"
	ok "rsync --inplace" rsync -a --inplace --no-whole-file "$from" "$to"
	ok "gives the same bytes" cmp "$from" "$to"
	is "in the same file" "$(stat -c %i "$to")" "$inode"
	seq 50000 >>"$from"
	ok "rsync --append-verify" rsync -a --append-verify --no-whole-file "$from" "$to"
	ok "gives the same bytes" cmp "$from" "$to"
	truncate -s 1000000 "$to" &&
		printf 'wrong' | dd of="$to" bs=1 seek=5000 conv=notrunc status=none
	ok "rsync --append-verify to a wrong beginning" rsync -a --append-verify "$from" "$to"
	ok "makes it right" cmp "$from" "$to"
done
# It allocates a byte too much for an odd size, and cuts that off if blocks tell of it.
head -c 1000001 "$PLAIN/data" >"$PLAIN/odd"
ok "rsync --sparse --preallocate" rsync -aS --preallocate "$PLAIN/odd" "$MNT/odd"
ok "gives the same bytes" cmp "$PLAIN/odd" "$MNT/odd"
ok "rsync --sparse" rsync -aS "$PLAIN/tree/a/hole" "$MNT/hole"
ok "gives the same bytes" cmp "$PLAIN/tree/a/hole" "$MNT/hole"

# --- tar, cpio ---

find /usr/include -xdev ! -type d -printf '%P\n' | sort | head -n $files >"$T/names"
mkdir "$MNT/tar" "$PLAIN/tar" "$MNT/cpio" "$PLAIN/cpio"
includes=(tar -C /usr/include -cf "$T/include.tar" --no-recursion -T "$T/names")
ok "$(wc -l <"$T/names") files of /usr/include" "${includes[@]}"
unpacks() { tar -C tar -xpf "$T/include.tar" && find tar | wc -l; }
both_do "tar unpacks them" unpacks
ok "they are the same" same_tree "$PLAIN/tar" "$MNT/tar" 0
both_do "tar packs them again, to the same bytes" eval \
	'tar -C tar --sort=name --mtime=@0 --numeric-owner -cf - . | sha256sum'
ok "cpio copies them to the mount" eval \
	'cd "$PLAIN/tar" && find . | cpio -pdm --quiet "$MNT/cpio"'
ok "they are the same" same_tree "$PLAIN/tar" "$MNT/cpio" 0
ok "a cpio archive from the mount" eval \
	'cd "$MNT/cpio" && find . | sort | cpio -o -H newc --quiet >"$MNT/archive"'
ok "is unpacked elsewhere" eval 'cd "$PLAIN/cpio" && cpio -idm --quiet <"$MNT/archive"'
ok "and has all" same_tree "$PLAIN/cpio" "$MNT/cpio" 0
ok "tar with xattrs, holes and links" eval 'mkdir "$MNT/t2" && tar -C "$PLAIN/tree" \
	--xattrs --xattrs-include=* --acls -S -cf - . | tar -C "$MNT/t2" --xattrs \
	--xattrs-include=* --acls -xpf -'
ok "keeps all of them" same_tree "$PLAIN/tree" "$MNT/t2"

# --- cp ---

ok "cp -a to the mount" cp -a "$PLAIN/tree" "$MNT/cp"
ok "keeps all" same_tree "$PLAIN/tree" "$MNT/cp"
ok "cp -a from the mount" cp -a "$MNT/cp" "$PLAIN/cp"
ok "keeps all" same_tree "$PLAIN/tree" "$PLAIN/cp"
ok "cp --reflink=auto on the mount" cp -a --reflink=auto "$MNT/cp" "$MNT/clone"
ok "keeps all" same_tree "$PLAIN/tree" "$MNT/clone"
edit "$MNT/clone/a/moved"
ok "and the original when the copy changes" cmp "$PLAIN/tree/a/moved" "$MNT/cp/a/moved"
sparse() {
	rm -f holes dense && truncate -s 8M holes && echo middle | dd of=holes bs=1 seek=4M \
		conv=notrunc status=none &&
		cp --sparse=always holes s1 && cp --sparse=never s1 dense &&
		cp --sparse=always dense s2 && cmp holes s2 && cmp dense s2 &&
		(($(stat -c %b s1) < 200 && $(stat -c %b s2) < 200)) && sha256sum s1 s2
}
both_do "cp --sparse=always makes holes" sparse
ok "the mount is renewed" fs_restart
ok "and the trees are the same" same_tree "$PLAIN/tree" "$MNT/cp"
finish
