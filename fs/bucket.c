#include "fs/bucket.h"

#include "fs/daemon.h"
#include "fs/notify.h"

#include <stdlib.h>
#include <string.h>

bool bucket_is(const char *store)
{
	return strncmp(store, "s3://", 5) == 0 || strncmp(store, "file://", 7) == 0;
}

int bucket_opts(const struct options *o, struct ropefs_credentials *c,
		struct ropefs_remote_opts *ret)
{
	const struct ropefs_credentials_source from = { .file = o->credentials };
	int r = ropefs_credentials_find(&from, c);

	if (r < 0)
		return r;
	*ret = (struct ropefs_remote_opts) {
		.url = o->store,
		.endpoint = o->endpoint,
		.region = o->region ? o->region : getenv("AWS_REGION"),
		.ca_file = o->ca_file,
		.virtual_host = o->virtual_host,
		.signature_v2 = o->signature_v2,
		.interval_s = o->interval_s,
		.live_s = o->quiet ? ROPEFS_LIVE_OFF : 0,
		.access_key = c->access_key,
		.secret_key = c->secret_key,
		.session_token = c->session_token,
	};
	return 0;
}

int bucket_open(const struct options *o, const struct ropefs_opts *opts,
		struct ropefs **ret)
{
	struct ropefs_credentials c = { 0 };
	struct ropefs_bucket b = { .cache = o->cache, .instance = o->instance };
	int r = bucket_opts(o, &c, &b.remote);

	if (r == 0)
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
