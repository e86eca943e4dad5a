#include "fs/bucket.h"

#include "fs/daemon.h"
#include "fs/notify.h"

#include <stdlib.h>
#include <string.h>

bool bucket_is(const char *store)
{
	return strncmp(store, "s3://", 5) == 0 || strncmp(store, "file://", 7) == 0;
}

int bucket_open(const struct options *o, const struct ropefs_opts *opts,
		struct ropefs **ret)
{
	struct ropefs_credentials c = { 0 };
	struct ropefs_bucket b = {
		.remote = {
			.url = o->store,
			.endpoint = o->endpoint,
			.region = o->region ? o->region : getenv("AWS_REGION"),
			.ca_file = o->ca_file,
			.virtual_host = o->virtual_host,
			.signature_v2 = o->signature_v2,
			.interval_s = o->interval_s,
		},
		.cache = o->cache,
	};
	int r = ropefs_credentials_find(
		&(struct ropefs_credentials_source) { .file = o->credentials }, &c);

	if (r < 0)
		return r;
	b.remote.access_key = c.access_key;
	b.remote.secret_key = c.secret_key;
	b.remote.session_token = c.session_token;
	r = ropefs_open_bucket(&b, opts, ret);
	ropefs_credentials_release(&c);
	return r;
}

void bucket_refreshed(void *arg, uint64_t ino)
{
	struct daemon *d = arg;

	/* Until then the kernel has nothing of it. */
	if (atomic_load(&d->attached))
		inode_drop(d, ino);
}
