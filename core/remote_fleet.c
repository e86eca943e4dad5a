/* remote_fleet.c - which stores a bucket has: the first words of its keys, and of each the store id
 * that its header tells without a key. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/keys/key_file.h"
#include "core/remote_priv.h"

struct ropefs_fleet {
	struct ropefs fs; /* what the remote functions look at; nothing is opened */
	struct remote *rm;
	struct buf told; /* instances, INSTANCE_BYTES each */
};

int ropefs_fleet_open(const struct ropefs_remote_opts *opts, struct ropefs_fleet **ret)
{
	struct ropefs_fleet *f;
	int r;

	err_clear();
	r = keys_init_library();
	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	r = io_posix_new("/", &f->fs.io);
	if (r >= 0)
		r = remote_new(&f->fs, &f->rm);
	if (r >= 0)
		r = remote_config_fill(&f->rm->cfg, opts);
	if (r >= 0)
		r = remote_way_open(f->rm, WAY_DOWN, &f->rm->up);
	if (r < 0) {
		ropefs_fleet_close(f);
		return r;
	}
	*ret = f;
	return 0;
}

static bool is_told(const struct ropefs_fleet *f, const char *instance)
{
	for (size_t at = 0; at < f->told.n; at += INSTANCE_BYTES)
		if (!memcmp(f->told.p + at, instance, INSTANCE_BYTES))
			return true;
	return false;
}

int ropefs_fleet_look(struct ropefs_fleet *f,
		      int (*each)(void *arg, const struct ropefs_instance *in), void *arg)
{
	_cleanup_(buf_release) struct buf words = BUF_INIT, header = BUF_INIT;
	int r;

	err_clear();
	r = remote_list_instances(f->rm->up.os, &words);
	for (size_t at = 0; r == 0 && at < words.n; at += INSTANCE_BYTES) {
		struct ropefs_instance in;

		memcpy(in.instance, words.p + at, INSTANCE_BYTES);
		if (is_told(f, in.instance))
			continue;
		r = remote_get_header(f->rm->up.os, in.instance, &header);
		if (r == -ENOENT) { /* not yet */
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		hex_put(header.p + 16, STORE_ID_BYTES, in.store_id);
		r = buf_append(&f->told, in.instance, INSTANCE_BYTES);
		if (r == 0)
			r = each(arg, &in);
	}
	return r;
}

void ropefs_fleet_close(struct ropefs_fleet *f)
{
	remote_free(f->rm);
	io_free(f->fs.io);
	buf_release(&f->told);
	free(f);
}

int ropefs_key_store_id(const char *key_file, char ret_store_id[33])
{
	struct key_file *kf;
	int r;

	err_clear();
	r = keys_init_library();
	if (r >= 0)
		r = key_file_read(key_file, &kf);
	if (r < 0)
		return r;
	hex_put(kf->store_id, STORE_ID_BYTES, ret_store_id);
	key_file_free(kf);
	return 0;
}
