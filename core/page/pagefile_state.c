/* pagefile_state.c - a committed state of the page file that leaves it, for the bucket, and one
 * that comes from there and becomes a page file.
 *
 * While a state is held no page that it reaches is used again; it is told which pages were
 * written since the last one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/page/bits.h"
#include "core/page/pagefile_priv.h"

void page_state_release(struct page_state *st)
{
	free(st->used);
	free(st->changed);
	*st = (struct page_state) { 0 };
}

int pagefile_hold(struct pagefile *pf, struct page_state *ret)
{
	uint64_t *used, *none_changed;

	assert(!pf->holding && pf->fresh.n == 0);
	used = reallocarray(NULL, pf->n_words, sizeof(*used));
	none_changed = calloc(pf->n_words, sizeof(*none_changed));
	if (!used || !none_changed) {
		free(used);
		free(none_changed);
		return -ENOMEM;
	}
	memcpy(used, pf->used, pf->n_words * sizeof(*used));
	*ret = (struct page_state) {
		.lsn = pf->durable.super.lsn,
		.pages = pf->durable.pages,
		.used = used,
		.changed = pf->changed,
	};
	static_assert(sizeof(ret->id) == sizeof(pf->durable.bitmap), "each commit's own");
	memcpy(ret->id, &pf->durable.bitmap, sizeof(ret->id));
	superblock_body_put(&pf->durable, ret->super);
	pf->changed = none_changed;
	pf->holding = true;
	return 0;
}

void pagefile_unhold(struct pagefile *pf)
{
	assert(pf->holding);
	bits_clear_list(pf->used, &pf->held);
	pf->n_used -= pf->held.n;
	pf->held.n = 0;
	pf->holding = false;
}

int pagefile_read_sealed(struct pagefile *pf, uint64_t page, uint8_t *out)
{
	return io_pread_all(pf->file, out, PAGE_BYTES, page * PAGE_BYTES);
}

int pagefile_restore_begin(struct io *io, const struct keys *keys,
			   const uint8_t super[SUPER_BODY_BYTES], struct pagefile **ret)
{
	_cleanup_(pagefile_closep) struct pagefile *pf = NULL;
	int r;

	r = pagefile_new(io, keys, IO_CREATE | IO_WRITE | IO_EXCL, &pf);
	if (r < 0)
		return r;
	superblock_body_get(super, &pf->durable);
	if (pf->durable.pages < SUPER_SLOTS || pf->durable.pages > PAGES_MAX)
		return err_set(E_CORRUPT,
			       "the state to restore speaks of %" PRIu64 " pages",
			       pf->durable.pages);
	r = pf->file->ops->allocate(pf->file, pf->durable.pages * PAGE_BYTES);
	if (r < 0)
		return r;
	*ret = pf;
	pf = NULL;
	return 0;
}

int pagefile_restore_page(struct pagefile *pf, uint64_t page, const uint8_t *sealed)
{
	if (page < SUPER_SLOTS || page >= pf->durable.pages)
		return err_set(E_CORRUPT,
			       "page %" PRIu64 " is outside of the state to restore",
			       page);
	return io_pwrite(pf->file, sealed, PAGE_BYTES, page * PAGE_BYTES);
}

int pagefile_restore_end(struct pagefile *pf)
{
	struct super_env env = super_env(pf);
	int r = 0;

	pf->durable.super.clean = true;
	for (unsigned slot = 0; r == 0 && slot < SUPER_SLOTS; slot++) {
		pf->durable.super.generation++;
		r = superblock_write(&env, &pf->durable);
	}
	return r < 0 ? r : io_sync(pf->file);
}
