/* pagefile.c - the page file: space, reading and writing of sealed pages, commit.
 *
 * Where a page is between two commits, and the function on each edge:
 *
 *	free --alloc--> fresh --commit--> used --give_back--> given --commit--> free
 *	        fresh --abort--> free;  given --abort--> used
 *	        fresh --commit failed after the superblock was written--> limbo
 *	        limbo --next good commit--> free
 *
 * Invariants, beside those in pagefile.h:
 *  1. A page's bit in `used` is clear only when it is free; bits past the last page are set.
 *  2. The next superblock goes to the slot that does not hold the newest known durable one,
 *     so that one survives however often a commit fails.
 *  3. After a failed sync of a superblock nobody knows which of the two is durable: what
 *     either reaches is kept (limbo).
 *  4. A slot is written only while what the other one reaches is durable and whole, even if
 *     the write should garble its slot. So a commit ends with its state in both: whoever
 *     finds an older state in the other slot knows that nothing of that was reused.
 * Format: page_format.h. */
#include "core/page/pagefile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/page/bits.h"
#include "core/page/pagefile_priv.h"

#define PAGES_FIRST 64u /* of a new file */
#define GROW_MIN    64u /* pages */
#define GROW_MAX    256u

/* --- sealed pages --- */

static struct page_aad page_aad(const uint8_t *store_id, uint64_t page)
{
	struct page_aad aad = { .page = le64_put(page) };

	memcpy(aad.store, store_id, sizeof(aad.store));
	return aad;
}

int page_unseal(const struct pagefile *pf, const struct noderef *ref,
		const uint8_t sealed[PAGE_BYTES], uint8_t *out)
{
	struct page_aad aad = page_aad(pf->store_id, le64_get(ref->at));
	struct nonce nonce;

	memcpy(&nonce, sealed, sizeof(nonce));
	return aead_open(pf->aead, &nonce, span_of(&aad, sizeof(aad)),
			 sealed + sizeof(nonce), PAGE_PAYLOAD, ref->tag, out);
}

static int first_page(struct pagefile *pf, const struct noderef *ref, uint8_t *out)
{
	uint64_t page = le64_get(ref->at);
	uint8_t sealed[PAGE_BYTES];
	int r;

	if (page < SUPER_SLOTS || page >= PAGES_MAX)
		return err_set(E_CORRUPT,
			       "a reference in the page file points outside of it "
			       "(page %" PRIu64 "): run ropefs-fsck",
			       page);
	r = io_pread_all(pf->file, sealed, sizeof(sealed), page * PAGE_BYTES);
	if (r == -ENODATA)
		return err_set(E_CORRUPT,
			       "the page file ends before page %" PRIu64
			       ": run ropefs-fsck",
			       page);
	if (r < 0)
		return r;
	atomic_fetch_add_explicit(&pf->read, 1, memory_order_relaxed);
	if (page_unseal(pf, ref, sealed, out) < 0)
		return err_set(E_CORRUPT,
			       "page %" PRIu64 " of the page file does not verify"
			       ": run ropefs-fsck",
			       page);
	return 0;
}

int pagefile_read(struct pagefile *pf, const struct noderef *ref, uint8_t *out)
{
	int r = first_page(pf, ref, out);

	if (r < 0 && pf->twin && twin_page(pf, ref, out) == 0)
		return 0;
	return r;
}

int pagefile_write(struct pagefile *pf, uint64_t page, const uint8_t *payload,
		   struct noderef *ref)
{
	struct page_aad aad = page_aad(pf->store_id, page);
	uint8_t sealed[PAGE_BYTES];
	uint8_t tag[AEAD_TAG_BYTES];
	struct nonce nonce;
	int r;

	assert(page >= SUPER_SLOTS && page < pf->pages);
	assert(bit_get(pf->used, page));
	io_random(pf->io, &nonce, sizeof(nonce));
	memcpy(sealed, &nonce, sizeof(nonce));
	aead_seal(pf->aead, &nonce, span_of(&aad, sizeof(aad)), payload, PAGE_PAYLOAD,
		  sealed + sizeof(nonce), tag);
	r = io_pwrite(pf->file, sealed, sizeof(sealed), page * PAGE_BYTES);
	if (r < 0)
		return r;
	atomic_fetch_add_explicit(&pf->written, 1, memory_order_relaxed);
	if (pf->changed)
		bit_set(pf->changed, page);
	ref->at = le64_put(page);
	memcpy(ref->tag, tag, sizeof(ref->tag));
	return 0;
}

/* --- space --- */

/* Makes `used` speak of the first `pages` pages; new ones are free. */
static int space_extend(struct pagefile *pf, uint64_t pages)
{
	size_t n = words_of(pages);

	assert(pages >= pf->pages);
	if (n > pf->n_words) {
		uint64_t *words = reallocarray(pf->used, n, sizeof(*words));

		if (!words)
			return -ENOMEM;
		memset(words + pf->n_words, 0xff, (n - pf->n_words) * sizeof(*words));
		pf->used = words;
		if (pf->changed) {
			words = reallocarray(pf->changed, n, sizeof(*words));
			if (!words)
				return -ENOMEM;
			memset(words + pf->n_words, 0,
			       (n - pf->n_words) * sizeof(*words));
			pf->changed = words;
		}
		pf->n_words = n;
	}
	for (uint64_t p = pf->pages; p < pages; p++)
		bit_clear(pf->used, p);
	pf->pages = pages;
	return 0;
}

static int space_grow(struct pagefile *pf)
{
	uint64_t step = MIN(MAX(pf->pages / 8, GROW_MIN), GROW_MAX);
	int r;

	/* The last pages of a full disk are worth having. */
	do {
		r = pf->file->ops->allocate(pf->file, (pf->pages + step) * PAGE_BYTES);
		if (r == 0)
			return space_extend(pf, pf->pages + step);
		step /= 2;
	} while (r == -ENOSPC && step > 0);
	return r;
}

static bool space_find(struct pagefile *pf, uint64_t *ret_page)
{
	if (pf->n_used == pf->pages)
		return false;
	for (size_t i = 0; i < pf->n_words; i++) {
		size_t w = pf->cursor + i;

		if (w >= pf->n_words)
			w -= pf->n_words;
		if (~pf->used[w] == 0)
			continue;
		pf->cursor = w;
		*ret_page = w * 64 + (uint64_t)__builtin_ctzll(~pf->used[w]);
		return true;
	}
	return false;
}

int pagefile_alloc(struct pagefile *pf, uint64_t *ret_page)
{
	uint64_t page;
	int r;

	assert(!pf->read_only);
	r = page_list_reserve(&pf->fresh, 1);
	if (r < 0)
		return r;
	if (!space_find(pf, &page)) {
		r = space_grow(pf);
		if (r < 0)
			return r;
		if (!space_find(pf, &page))
			return -ENOSPC;
	}
	assert(page >= SUPER_SLOTS && page < pf->pages);
	bit_set(pf->used, page);
	pf->n_used++;
	pf->fresh.pages[pf->fresh.n++] = page;
	*ret_page = page;
	return 0;
}

void pagefile_give_back(struct pagefile *pf, uint64_t page)
{
	/* The number comes from a page: one that can't be, or that is free, is not used. */
	if (page < SUPER_SLOTS || page >= pf->pages || !bit_get(pf->used, page)) {
		pf->needs_sweep = true;
		return;
	}
	/* Without memory to note it the page leaks, and a sweep finds it. */
	(void)page_list_add(&pf->given, page);
}

void pagefile_abort(struct pagefile *pf)
{
	bits_clear_list(pf->used, &pf->fresh);
	pf->n_used -= pf->fresh.n;
	pf->fresh.n = 0;
	pf->given.n = 0;
}

/* --- the bitmap on disk --- */

/* Allocates the pages that the next bitmap will need. */
static int bitmap_alloc(struct pagefile *pf, struct page_list *pages)
{
	uint64_t page;
	int r;

	/* Allocating may grow the file and with it the bitmap. */
	while (pages->n * BITMAP_WORDS < words_of(pf->pages)) {
		r = pagefile_alloc(pf, &page);
		if (r == 0)
			r = page_list_add(pages, page);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Writes words as a chain, from its end. */
static int bitmap_write(struct pagefile *pf, const struct page_list *pages,
			const uint64_t *words, struct noderef *ret_first)
{
	size_t n_words = words_of(pf->pages);
	struct noderef next = NODEREF_NONE;
	struct bitmap_page bp;

	for (size_t i = pages->n; i-- > 0;) {
		size_t first = i * BITMAP_WORDS;
		size_t n = MIN(n_words - first, (size_t)BITMAP_WORDS);
		int r;

		assert(first < n_words);
		bp = (struct bitmap_page) {
			.next = next,
			.first_word = le64_put(first),
			.n_words = le32_put((uint32_t)n),
		};
		for (size_t w = 0; w < n; w++)
			bp.words[w] = le64_put(words[first + w]);
		r = pagefile_write(pf, pages->pages[i], (const uint8_t *)&bp, &next);
		if (r < 0)
			return r;
	}
	*ret_first = next;
	return 0;
}

static bool bitmap_has_itself(const struct pagefile *pf)
{
	bool has = true;

	for (uint64_t page = 0; page < SUPER_SLOTS; page++)
		has &= bit_get(pf->used, page);
	for (size_t i = 0; i < pf->bitmap.n; i++)
		has &= pf->bitmap.pages[i] < pf->durable.pages &&
		       bit_get(pf->used, pf->bitmap.pages[i]);
	return has;
}

/* Reads the durable bitmap into `used`, whose words are there already. */
static int bitmap_read(struct pagefile *pf)
{
	size_t n_words = words_of(pf->durable.pages);
	struct noderef at = pf->durable.bitmap;
	struct bitmap_page bp;

	for (size_t first = 0; first < n_words;) {
		uint32_t n;
		int r;

		r = pagefile_read(pf, &at, (uint8_t *)&bp);
		if (r == 0)
			r = page_list_add(&pf->bitmap, le64_get(at.at));
		if (r < 0)
			return r;
		n = le32_get(bp.n_words);
		if (le64_get(bp.first_word) != first || n == 0 || n > BITMAP_WORDS ||
		    n > n_words - first)
			return err_set(E_CORRUPT,
				       "page %" PRIu64 " of the page file is not the "
				       "piece of the bitmap expected: run ropefs-fsck",
				       le64_get(at.at));
		for (uint32_t w = 0; w < n; w++)
			pf->used[first + w] = le64_get(bp.words[w]);
		first += n;
		at = bp.next;
	}
	return bitmap_has_itself(pf)
		       ? 0
		       : err_set(E_CORRUPT, "the bitmap of the page file calls itself "
					    "free: run ropefs-fsck");
}

/* --- open, create, close --- */

static int pagefile_new_of(struct io *io, const struct keys *keys, const char *name,
			   unsigned flags, struct pagefile **ret)
{
	struct pagefile *pf = calloc(1, sizeof(*pf));
	int r;

	if (!pf)
		return -ENOMEM;
	pf->io = io;
	memcpy(pf->store_id, keys_store_id(keys), sizeof(pf->store_id));
	r = keys_aead(keys, KEY_PAGE, NULL, &pf->aead);
	if (r == 0)
		r = io_open(io, name, flags, &pf->file);
	if (r == -ENOENT)
		r = err_set(E_CORRUPT,
			    "the store's file \"%s\" is missing: ropefs-fsck --rebuild "
			    "makes it anew",
			    name);
	else if (io_is_no_file(r))
		r = err_set(E_CORRUPT, "%s; ropefs-fsck --rebuild makes it anew",
			    err_detail());
	if (r < 0) {
		pagefile_close(pf);
		return r;
	}
	*ret = pf;
	return 0;
}

int pagefile_new(struct io *io, const struct keys *keys, unsigned flags,
		 struct pagefile **ret)
{
	return pagefile_new_of(io, keys, PAGEFILE_NAME, flags, ret);
}

struct pagefile *pagefile_close(struct pagefile *pf)
{
	if (!pf)
		return NULL;
	io_closep(&pf->file);
	io_closep(&pf->medium.first);
	io_closep(&pf->medium.copy);
	pf->aead = aead_free(pf->aead);
	free(pf->used);
	free(pf->changed);
	page_list_release(&pf->held);
	page_list_release(&pf->fresh);
	page_list_release(&pf->given);
	page_list_release(&pf->limbo);
	page_list_release(&pf->bitmap);
	free(pf);
	return NULL;
}

static int create_pages(struct pagefile *pf, const struct super *first)
{
	_cleanup_(page_list_release) struct page_list pages = { 0 };
	struct super_state s = { .super = *first };
	struct super_env env = super_env(pf);
	int r;

	r = pf->file->ops->allocate(pf->file, PAGES_FIRST * PAGE_BYTES);
	if (r == 0)
		r = space_extend(pf, PAGES_FIRST);
	if (r < 0)
		return r;
	for (unsigned slot = 0; slot < SUPER_SLOTS; slot++)
		bit_set(pf->used, slot);
	pf->n_used = SUPER_SLOTS;
	r = bitmap_alloc(pf, &pages);
	if (r == 0)
		r = bitmap_write(pf, &pages, pf->used, &s.bitmap);
	s.pages = pf->pages;
	for (unsigned slot = 0; r == 0 && slot < SUPER_SLOTS; slot++) {
		s.super.generation = slot;
		r = superblock_write(&env, &s);
	}
	return r;
}

int pagefile_create(struct io *io, const struct keys *keys, const struct super *first)
{
	_cleanup_(pagefile_closep) struct pagefile *pf = NULL;
	int r;

	assert(noderef_is_none(&first->catalog));
	r = pagefile_new(io, keys, IO_CREATE | IO_WRITE | IO_EXCL, &pf);
	if (r < 0)
		return r;
	r = create_pages(pf, first);
	if (r == 0)
		r = io_sync(pf->file);
	if (r == 0)
		r = io->ops->sync_dir(io, "");
	if (r < 0)
		io->ops->unlink(io, PAGEFILE_NAME); /* r is the better news */
	return r;
}

/* Nothing below the file's end may be reused: `used` is all set, but what is in use is not
 * known. */
static void bitmap_lost(struct pagefile *pf)
{
	memset(pf->used, 0xff, pf->n_words * sizeof(*pf->used));
	pf->bitmap.n = 0;
	pf->needs_sweep = true;
}

static int open_space(struct pagefile *pf)
{
	uint64_t bytes;
	int r;

	r = io_size(pf->file, &bytes);
	if (r < 0)
		return r;
	if (pf->durable.pages < SUPER_SLOTS || pf->durable.pages > PAGES_MAX)
		return err_set(E_CORRUPT,
			       "the superblock of the page file speaks of %" PRIu64
			       " pages: restore the store from a copy",
			       pf->durable.pages);
	r = space_extend(pf, MAX(bytes / PAGE_BYTES, pf->durable.pages));
	if (r < 0)
		return r;
	pf->needs_sweep = pf->durable.sweep;
	r = bitmap_read(pf);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		bitmap_lost(pf);
	} else {
		/* The last word may have room for pages that the file got since. */
		for (uint64_t p = pf->durable.pages; p % 64 && p < pf->pages; p++)
			bit_clear(pf->used, p);
	}
	pf->n_used = bits_count(pf->used, pf->pages);
	return 0;
}

static int super_put(struct pagefile *pf, const struct super_state *s)
{
	struct super_env env = super_env(pf);
	int r = superblock_write(&env, s);

	return r < 0 ? r : io_sync(pf->file);
}

static bool other_verifies(struct pagefile *pf)
{
	struct super_env env = super_env(pf);
	struct super_state s;

	return superblock_read(&env, (pf->durable.super.generation + 1) % SUPER_SLOTS,
			       &s) == 0;
}

/* The superblock that was read may be in the cache of the system only: its writer was
 * killed, or its sync failed and a second one would report success. Pages of the state
 * before it are reused as soon as it is relied upon, so it is written again first. What it
 * reaches was synced before it was written. Its own slot may be written if the other one
 * verifies (invariant 4); where that was garbled by a cut, or rotted, this one was durable
 * before, and the other is written. */
static int open_durably(struct pagefile *pf)
{
	if (!other_verifies(pf))
		pf->durable.super.generation++;
	return super_put(pf, &pf->durable);
}

int pagefile_mark_open(struct pagefile *pf)
{
	struct super_state s = pf->durable;
	int r;

	assert(!pf->read_only);
	s.super.clean = false;
	s.super.generation++;
	r = super_put(pf, &s);
	if (r < 0)
		return r;
	pf->durable = s;
	return 0;
}

int pagefile_open(struct io *io, const struct keys *keys, unsigned flags,
		  struct super *ret, struct pagefile **ret_pf)
{
	_cleanup_(pagefile_closep) struct pagefile *pf = NULL;
	bool read_only = flags & PAGEFILE_READ_ONLY;
	struct super_env env;
	int r;

	r = pagefile_new(io, keys, read_only ? IO_READ : IO_WRITE, &pf);
	if (r == -E_CORRUPT && flags & PAGEFILE_FROM_COPY)
		r = pagefile_new_of(io, keys, PAGEFILE_COPY_NAME, IO_READ, &pf);
	if (r < 0)
		return r;
	pf->read_only = read_only;
	if (flags & PAGEFILE_TWIN)
		r = pagefile_pair(pf);
	if (r < 0)
		return r;
	env = super_env(pf);
	r = superblock_newest(&env, &pf->durable);
	if (pf->twin)
		twin_newest(pf, &r, &pf->durable);
	if (r == 0)
		r = open_space(pf);
	if (r == 0 && pf->twin && !read_only)
		twin_bring_up(pf);
	if (r == 0 && !read_only)
		r = open_durably(pf);
	if (r < 0)
		return r;

	*ret = pf->durable.super;
	*ret_pf = pf;
	pf = NULL;
	return 0;
}

void pagefile_restate(struct pagefile *pf, const uint8_t super[SUPER_BODY_BYTES],
		      struct super *ret)
{
	assert(pf->read_only);
	superblock_body_get(super, &pf->durable);
	pf->bitmap.n = 0;
	/* Only figures for the status come from it; without it all counts as in use. */
	if (open_space(pf) < 0)
		bitmap_lost(pf);
	*ret = pf->durable.super;
}

/* --- commit --- */

/* What `used` will be once the commit is durable. */
static uint64_t *space_after(const struct pagefile *pf)
{
	uint64_t *words = reallocarray(NULL, pf->n_words, sizeof(*words));

	if (!words)
		return NULL;
	memcpy(words, pf->used, pf->n_words * sizeof(*words));
	bits_clear_list(words, &pf->held);
	bits_clear_list(words, &pf->given);
	bits_clear_list(words, &pf->limbo);
	bits_clear_list(words, &pf->bitmap);
	return words;
}

static int commit_pages(struct pagefile *pf, struct page_list *bitmap,
			uint64_t **ret_words, struct noderef *ret_first)
{
	_cleanup_free_ uint64_t *words = NULL;
	int r;

	r = bitmap_alloc(pf, bitmap);
	if (r < 0)
		return r;
	/* All memory that is needed later, while failing is cheap. */
	r = page_list_reserve(&pf->limbo, pf->fresh.n);
	if (r == 0 && pf->holding)
		r = page_list_reserve(&pf->held, pf->given.n + pf->bitmap.n);
	if (r < 0)
		return r;
	words = space_after(pf);
	if (!words)
		return -ENOMEM;
	r = bitmap_write(pf, bitmap, words, ret_first);
	if (r == 0 && !MUTANT(SUPER_EARLY))
		r = io_sync(pf->file);
	if (r < 0)
		return r;
	*ret_words = words;
	words = NULL;
	return 0;
}

static int commit_super(struct pagefile *pf, const struct super_state *s)
{
	int r;

	assert(s->super.generation == pf->durable.super.generation + 1);
	r = super_put(pf, s);
	if (r < 0) {
		/* Room was reserved. */
		(void)page_list_move(&pf->limbo, &pf->fresh);
		pf->given.n = 0;
	}
	return r;
}

/* The other slot too (invariant 4). A disk that refuses costs the next opening this safety
 * and no more: the state is durable. */
static void commit_again(struct pagefile *pf)
{
	struct super_state s = pf->durable;

	s.super.generation++;
	if (super_put(pf, &s) == 0)
		pf->durable = s;
}

/* What this commit freed, and those before it, stays out of use while a state is held. The
 * bitmap on disk has it as free: after a crash nobody holds anything. */
static void hold_freed(struct pagefile *pf)
{
	if (!pf->holding)
		return;
	/* Room was reserved. */
	(void)page_list_move(&pf->held, &pf->given);
	for (size_t i = 0; i < pf->bitmap.n; i++)
		(void)page_list_add(&pf->held, pf->bitmap.pages[i]);
	for (size_t i = 0; i < pf->held.n; i++)
		bit_set(pf->used, pf->held.pages[i]);
}

int pagefile_commit(struct pagefile *pf, struct super *sb)
{
	_cleanup_(page_list_release) struct page_list bitmap = { 0 };
	struct super_state s = { .super = *sb, .sweep = pf->needs_sweep };
	uint64_t *words;
	int r;

	if (pf->read_only)
		return err_set(E_READ_ONLY, "the page file was opened read-only");
	r = commit_pages(pf, &bitmap, &words, &s.bitmap);
	if (r < 0) {
		pagefile_abort(pf);
		return r;
	}
	s.pages = pf->pages;
	s.super.generation = pf->durable.super.generation + 1;
	r = commit_super(pf, &s);
	if (r < 0) {
		free(words);
		return r;
	}

	free(pf->used);
	pf->used = words;
	hold_freed(pf);
	pf->n_used = bits_count(words, pf->pages);
	pf->durable = s;
	pf->fresh.n = 0;
	pf->given.n = 0;
	pf->limbo.n = 0;
	page_list_release(&pf->bitmap);
	pf->bitmap = bitmap;
	bitmap = (struct page_list) { 0 };
	commit_again(pf);
	sb->generation = pf->durable.super.generation;
	return 0;
}

/* --- what it tells of itself --- */

bool pagefile_in_doubt(const struct pagefile *pf)
{
	return pf->limbo.n > 0;
}

void pagefile_get_stats(struct pagefile *pf, struct pagefile_stats *ret)
{
	*ret = (struct pagefile_stats) {
		.pages = pf->pages,
		.used = pf->n_used,
		.written = pf->written,
		.read = pf->read,
	};
}

int pagefile_inspect(struct io *io, const struct keys *keys,
		     void (*print)(void *arg, const char *line), void *arg)
{
	_cleanup_(pagefile_closep) struct pagefile *pf = NULL;
	struct super_state s;
	struct super_env env;
	unsigned n_bad = 0;
	int r;

	r = pagefile_new(io, keys, IO_READ, &pf);
	if (r < 0)
		return r;
	env = super_env(pf);
	for (unsigned slot = 0; slot < SUPER_SLOTS; slot++) {
		char line[512], words[480];

		r = superblock_read(&env, slot, &s);
		if (r == 0)
			super_state_to_text(&s, words, sizeof(words));
		else
			snprintf(words, sizeof(words), "%s", err_text(r));
		snprintf(line, sizeof(line), "superblock %u: %s", slot, words);
		print(arg, line);
		if (r < 0)
			n_bad++;
	}
	/* One that does not verify is what a power cut leaves. */
	return n_bad < SUPER_SLOTS ? 0 : r;
}
