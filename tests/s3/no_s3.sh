#!/bin/bash
# ropectl as a build with -Ds3=disabled makes it: nothing of libs3, libcurl and libxml2 is in it, a
# folder is a bucket all the same, and S3 is refused with a sentence.
#
# From the environment: ROPECTL and NO_S3, the one with S3 and the one without.
: "${ROPECTL:?the path of ropectl}" "${NO_S3:?that of one without S3}"
T=$(mktemp -d "${TMPDIR:-/tmp}/ropefs-test.XXXXXX")
trap 'rm -rf "$T"' EXIT
N=0 FAILED=0
result() {	# OK? DESCRIPTION
	N=$((N + 1))
	if [[ $1 == 0 ]]; then
		echo "ok $N - $2"
	else
		echo "not ok $N - $2"
		FAILED=1
	fi
}
parts() {	# PROGRAM: what of S3 is in it, or in what it loads
	{ nm "$1" && ldd "$1"; } | grep -cE ' [TtU] (S3_|curl_|xmlSAX)|libs3|libcurl|libxml2'
}

(($(parts "$ROPECTL") > 0))
result $? "with S3 it is seen"
(($(parts "$NO_S3") == 0))
result $? "without there is nothing of it"
mkdir "$T/bucket"
"$NO_S3" init "$T/store" --key-file "$T/key" >/dev/null &&
	"$NO_S3" remote add "$T/store" "file://$T/bucket" --key-file "$T/key" >/dev/null
result $? "a folder is a bucket"
"$NO_S3" remote show "$T/store" --key-file "$T/key" | grep -q "file://$T/bucket"
result $? "and is told"
said=$(AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y "$NO_S3" clone s3://bucket/prefix "$T/clone" \
	--endpoint http://127.0.0.1:1 --key-file "$T/key" 2>&1)
[[ $? != 0 && $said == *"built without S3"* ]]
result $? "s3:// is refused, and it says why"
echo "1..$N"
exit "$FAILED"
