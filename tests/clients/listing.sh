# listing.sh - what a tree is, in lines that can be compared; source it after mount.sh.
# shellcheck shell=bash

# All that a copy must keep. Of folders no size and no links, which each filesystem counts in a
# way of its own; inode numbers are told as the first name that has them.
listing() {	# FOLDER [without-times]
	(
		cd "$1" || exit 1
		find . -printf '%i %y %P\n' | sort -k 3 | awk '
			$2 != "d" && first[$1] == "" { first[$1] = $3 }
			$2 != "d" && first[$1] != $3 { print "link", $3, first[$1] }'
		find . ! -type d -printf "%P %y %m %U:%G %s %n ${2:-%T@} %l\n" | sort
		find . -type d -printf "%P %y %m %U:%G ${2:-%T@}\n" | sort
		find . -type f -exec sha256sum {} + | sort
		find . ! -type l -print0 | sort -z >"$T/names0"
		xargs -0 getfattr -d -m '^(user|trusted)\.' <"$T/names0" 2>/dev/null
		xargs -0 getfacl --numeric --skip-base <"$T/names0" 2>/dev/null
	)
}

same_tree() {	# FOLDER FOLDER [without-times]
	listing "$1" "${3-}" >"$T/listing1"
	listing "$2" "${3-}" | diff "$T/listing1" -
}
