/* pagefile_sweep.c - the page file's account of its space, held against the marks of who walked
 * all trees: a sweep takes them over, fsck compares. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/page/bits.h"
#include "core/page/pagefile_priv.h"
#include "core/page/twin.h"

/* Like `used`, with only those bits set that the file itself accounts for. NULL: -ENOMEM. */
static uint64_t *space_known(const struct pagefile *pf)
{
	uint64_t *words = calloc(pf->n_words, sizeof(*words));
	const struct page_list *lists[] = { &pf->fresh, &pf->limbo, &pf->bitmap,
					    &pf->held };

	if (!words)
		return NULL;
	for (unsigned slot = 0; slot < SUPER_SLOTS; slot++)
		bit_set(words, slot);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (size_t k = 0; k < lists[i]->n; k++)
			bit_set(words, lists[i]->pages[k]);
	for (uint64_t p = pf->pages; p < pf->n_words * 64; p++)
		bit_set(words, p);
	return words;
}

/* Adds marks to words; a marked page must be in use, and not by something else. */
static int space_add_marks(const struct pagefile *pf, uint64_t *words,
			   const uint8_t *marks, uint64_t n_bits)
{
	for (uint64_t p = 0; p < n_bits; p++) {
		if (!mark_get(marks, n_bits, p))
			continue;
		if (p >= pf->pages || !bit_get(pf->used, p))
			return err_set(E_CORRUPT,
				       "page %" PRIu64 " of the page file is in use but "
				       "the bitmap has it as free: run ropefs-fsck",
				       p);
		bit_set(words, p);
	}
	return 0;
}

/* What is in use by what is known, and by the marks. The caller's to free, also with an error. */
static int space_marked(const struct pagefile *pf, const uint8_t *marks, uint64_t n_bits,
			uint64_t **ret_words)
{
	*ret_words = space_known(pf);
	return *ret_words ? space_add_marks(pf, *ret_words, marks, n_bits) : -ENOMEM;
}

int pagefile_adopt(struct pagefile *pf, const uint8_t *marks, uint64_t n_bits)
{
	_cleanup_free_ uint64_t *words = NULL;
	size_t n = 0;
	int r;

	assert(!pf->read_only);
	r = space_marked(pf, marks, n_bits, &words);
	if (r < 0)
		return r;

	for (size_t i = 0; i < pf->given.n; i++)
		if (bit_get(words, pf->given.pages[i]))
			pf->given.pages[n++] = pf->given.pages[i];
	pf->given.n = n;
	free(pf->used);
	pf->used = words;
	words = NULL;
	pf->n_used = bits_count(pf->used, pf->pages);
	pf->needs_sweep = false;
	return 0;
}

bool pagefile_needs_sweep(struct pagefile *pf)
{
	return pf->needs_sweep;
}

int pagefile_check_bitmap(struct pagefile *pf, const uint8_t *marks, uint64_t n_bits,
			  uint64_t *ret_leaked)
{
	_cleanup_free_ uint64_t *words = NULL;
	int r = space_marked(pf, marks, n_bits, &words);

	if (r < 0)
		return r;
	*ret_leaked = pf->n_used - bits_count(words, pf->pages);
	return 0;
}

int pagefile_check_super(struct pagefile *pf, unsigned *ret_copies)
{
	unsigned slot = (unsigned)(pf->durable.super.generation % SUPER_SLOTS);
	struct super_env env = super_env(pf);
	unsigned more = 0;
	int r;

	env.file = medium_of_first(pf);
	r = superblock_damage(&env, slot, ret_copies);
	env.file = medium_of_copy(pf);
	if (r == 0 && env.file && superblock_damage(&env, slot, &more) == 0)
		*ret_copies += more;
	return r;
}
