# bucket.sh - the bucket of a test: a folder, or with BUCKET=rgw one of a Ceph gateway (rgw.sh).
# Source it after mount.sh. bucket_start sets URL and ENDPOINT, options for it.
# shellcheck shell=bash

HERE=$(cd "$(dirname "$0")" && pwd)
URL=file://$T/bucket
ENDPOINT=()

is_rgw() { [[ ${BUCKET-} == rgw ]]; }

bucket_start() {	# PREFIX [FUNCTION]: the function is called at the end, before all else goes
	mkdir "$T/bucket"
	AT_END=${2-:}
	trap 'bucket_end' EXIT
	is_rgw || return 0
	. "$HERE/rgw.sh"
	rgw_start
	URL=s3://robots/$1
	ENDPOINT=(--endpoint "$RGW_URL")
	"$HERE/make_bucket.py" "$RGW_URL" robots || exit 1
}

bucket_end() {
	"$AT_END"
	bucket_stop
	cleanup
}

bucket_stop() { ! is_rgw || rgw_stop; }
