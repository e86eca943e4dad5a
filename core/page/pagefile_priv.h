/* pagefile_priv.h - the page file, as its own files see it. Private to core/page. */
#ifndef ROPEFS_PAGE_PAGEFILE_PRIV_H
#define ROPEFS_PAGE_PAGEFILE_PRIV_H

#include <stdatomic.h>

#include "core/page/page_list.h"
#include "core/page/pagefile.h"
#include "core/page/superblock.h"

#define PAGES_MAX ((uint64_t)1 << 48)

struct pagefile {
	struct io *io;
	struct io_file *file;
	struct aead *aead;
	uint8_t store_id[STORE_ID_BYTES];
	bool twin; /* file is kept twice */
	struct medium { /* of file and of its copy, for checks; NULL: not opened yet */
		struct io_file *first, *copy;
	} medium;
	bool read_only;
	bool needs_sweep;

	struct super_state durable;
	uint64_t *used; /* a bit each page */
	size_t n_words;
	size_t cursor; /* word where the last free page was found */
	struct page_list fresh, given, limbo;
	struct page_list bitmap; /* pages of the durable bitmap */
	bool holding;
	struct page_list held; /* free but for the state that is held */
	uint64_t *changed; /* bits of pages written since the last hold, or NULL */

	/* Only these are touched by more than the checkpointer. */
	_Atomic uint64_t pages; /* in the file */
	_Atomic uint64_t n_used;
	_Atomic uint64_t written, read;
};

static inline struct super_env super_env(const struct pagefile *pf)
{
	return (struct super_env) { pf->io, pf->file, pf->aead, pf->store_id };
}

/* --- pagefile.c --- */
/* Opens the file alone, and reads nothing. */
int pagefile_new(struct io *io, const struct keys *keys, unsigned flags,
		 struct pagefile **ret);

static inline void pagefile_closep(struct pagefile **pf)
{
	*pf = pagefile_close(*pf);
}

/* Opens what was read of a page. -EBADMSG. */
int page_unseal(const struct pagefile *pf, const struct noderef *ref,
		const uint8_t sealed[PAGE_BYTES], uint8_t *out);

/* --- pagefile_twin.c --- */
/* Puts a twin in the place of pf->file. */
int pagefile_pair(struct pagefile *pf);
/* The newest superblock of both, for the one in *ret where that is newer. */
void twin_newest(struct pagefile *pf, int *r, struct super_state *ret);
/* Before anything is written: the copy is of the state that was opened, or made so. */
void twin_bring_up(struct pagefile *pf);
/* The same file, read from its medium; which is f when that can't be opened. */
struct io_file *medium_of_first(struct pagefile *pf);
/* NULL: there is none. */
struct io_file *medium_of_copy(struct pagefile *pf);
/* A page from the copy. */
int twin_page(struct pagefile *pf, const struct noderef *ref, uint8_t *out);

#endif
