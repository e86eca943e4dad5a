#!/bin/bash
# Each option that a verb's --help names is in the manual page's section on that verb, and in the
# completions; these offer no other. $ROPECTL is the program, $MAN the page, $COMPLETIONS the file;
# $ROPEFS, $FSCK and $DUMP are the programs that have pages of their own.
set -u
: "${ROPECTL:?}" "${MAN:?}" "${COMPLETIONS:?}" "${ROPEFS:?}" "${FSCK:?}" "${DUMP:?}"
n=0
failed=0
same() {	# DESCRIPTION GOT WANTED: lists of words in order
	n=$((n + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $n - $1"
		return
	fi
	failed=1
	echo "not ok $n - $1"
	diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") | sed 's/^/# /'
}
lacks() {	# WORDS WORDS: those of the first list that are not in the second
	comm -23 <(printf '%s\n' "$1") <(printf '%s\n' "$2")
}
long_options() {
	grep -oE -e '--[a-z][a-z0-9-]*' | sort -u
}
# Of the lines that begin with one.
help_options() {
	"$ROPECTL" "$1" --help | grep -E '^ {2,6}-' | long_options
}
man_options() {
	sed -n "/^\.SS $1\$/,/^\.S[SH] /p" "$MAN" | sed 's/\\-/-/g' | long_options
}
# shellcheck disable=SC1090
. "$COMPLETIONS"
compopt() { :; }	# there is no completion under way
completed() {	# WORD...: what is offered for the last
	COMP_WORDS=(ropectl "$@")
	COMP_CWORD=$#
	_ropectl
	printf '%s\n' "${COMPREPLY[@]}" | sort -u
}

verbs=$("$ROPECTL" --help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' | sort -u)
same "verbs are completed" "$(completed '' | grep -v '^-')" "$verbs"
same "and each has a section" \
	"$(sed -n 's/^\.SS //p' "$MAN" | sort -u)" "$verbs"
for verb in $verbs; do
	options=$(help_options "$verb")
	same "$verb: the manual has all options" "$(lacks "$options" "$(man_options "$verb")")" ""
	word=()
	[ "$verb" != remote ] || word=(add)
	offered=$(completed "$verb" "${word[@]}" -- | grep -v '^--help$')
	same "$verb: and so have the completions" "$offered" "$options"
done

wide=$({ "$ROPECTL" --help; "$ROPEFS" --help; "$FSCK" --help; "$DUMP" --help
	for verb in $verbs; do "$ROPECTL" "$verb" --help; done; } | grep -E '^.{81}')
same "no line of a help text is wider than a terminal" "$wide" ""

# The programs that have no verbs, and what -o takes.
for program in "$ROPEFS" "$FSCK" "$DUMP"; do
	name=${program##*/}
	options=$("$program" --help | long_options)
	MAN=$(dirname "$MAN")/$name.8
	same "$name: the manual has all options" \
		"$(lacks "$options" "$(sed 's/\\-/-/g' "$MAN" | long_options)")" ""
done
MAN=$(dirname "$MAN")/ropefs.8
COMP_WORDS=(ropectl mount -o '') COMP_CWORD=3
_ropectl
completed=$(printf '%s\n' "${COMPREPLY[@]}" | grep -oE '^[a-z_]+=' | sort -u)
same "mount: -o is completed with what --help has" "$completed" \
	"$("$ROPEFS" --help | sed -n '/(-o /,$p' | grep -oE '[a-z_]+=' | sort -u)"
for option in $completed; do
	same "ropefs.8 has $option" "$(grep -c "^\.BI\?R\? $option" "$MAN")" 1
done
echo "1..$n"
exit $failed
