/* scrub.h - all that is stored here is read and verified while the store is in use.
 *
 * A pass reads, in this order, the two small copies (header, superblock), what is durable of the
 * log, each pack of the folder, and each page of the committed tree in both files; from the
 * medium, past the system's cache (IO_MEDIUM). What fsck finds out in the same places is
 * found out by the same functions (packs_verify(), pagefile_check_page(), damage.h); a scrub
 * besides goes on in small steps, and says at the end which files what it found belongs to.
 *
 *	idle ── asked, or the period is over ──▶ packs ──▶ pages ──▶ idle
 *	                 ▲ goes on after an opening: the sealed file "scrub"
 *
 * One thread does it, at low priority; it holds `checkpoint` for PAGES_SLICE pages at a time, so
 * that none of them is reused, and no lock while a pack is read. Nothing is given up by a scrub;
 * it writes only what another whole copy is there of. */
#ifndef ROPEFS_SCRUB_H
#define ROPEFS_SCRUB_H

#include <cjson/cJSON.h>

#include "core/damage.h"
#include "core/store_priv.h"

#define FINDINGS_MAX	  256u /* kept with their words */
#define OTHERS_MAX	  65536u /* known to be counted */
#define SCRUB_BAD_MAX	  4096u /* chunks of a pass */
#define SCRUB_SLICE_BYTES (8 * MIB) /* of a pass by the clock, at one go */

/* Something that does not verify. */
struct finding {
	char *path; /* of the file it belongs to; NULL: what is damaged, not whose it is */
	char *what;
};

struct scrub_report {
	int64_t began_ns, ended_ns; /* since 1970; ended 0: not yet */
	uint64_t bytes; /* read */
	uint64_t mended; /* written anew from a whole copy */
	uint64_t problems, files; /* findings without and with a path */
	uint64_t remote_packs, remote_bytes; /* in the bucket only: not read */
	bool keep_mounted; /* what the log has lost is in memory only */
	struct finding *found; /* the first FINDINGS_MAX */
	size_t n_found;
	struct htab others; /* hashes of the next OTHERS_MAX */
};

struct bad_chunk {
	uint64_t pack;
	uint32_t index; /* or PACK_ALL_CHUNKS */
};

/* Guarded by the engine lock but for what is the thread's. */
struct scrub {
	struct ropefs *fs;
	pthread_t thread;
	bool started, stopping;
	pthread_cond_t wake;
	uint64_t period_ns; /* 0: only when asked */

	bool under_way;
	bool asked; /* the pass under way was; else the clock began it */
	uint64_t bytes_per_s; /* of one that was asked; 0: no limit */
	uint64_t turn; /* rises when a pass is asked for or stopped */
	uint64_t passes; /* ended since the opening */
	uint64_t total_bytes; /* of the pass, about */
	struct scrub_report now, last;

	/* Where the pass is. */
	uint64_t next_pack; /* packs below it are read */
	bool packs_done;
	struct buf bad; /* struct bad_chunk */
	bool unnamed; /* some of them since files were looked for */
	uint64_t slice_left; /* bytes */

	/* The thread's. */
	uint64_t my_turn; /* turn, when the pass began */
	uint64_t next_ns; /* monotonic: not before that goes it on */
	uint64_t saved_ns; /* monotonic, of the last save */
};

/* --- scrub.c --- */
/* Opened with the store, last; begins or goes on by itself where that is wanted. */
int scrub_open(struct ropefs *fs);
/* Ends the thread; what it knows is saved. NULL is fine; returns NULL. */
struct scrub *scrub_close(struct scrub *s);
/* So many bytes were read: waits as the rate asks for. -ECANCELED: the pass is over, or
 * the store is being closed. Without locks. */
int scrub_pace(struct scrub *s, uint64_t bytes);

/* --- scrub_pass.c (the thread) --- */
/* From where it is to its end. -ECANCELED; or why it can't go on now. */
int scrub_pass(struct scrub *s);
/* Which files what was found so far belongs to. */
int scrub_name(struct scrub *s);

/* --- scrub_report.c --- */
void scrub_report_release(struct scrub_report *rep);
/* Adds what is not among the findings yet, and tells of it; path NULL: of no file. */
void scrub_found(struct scrub *s, const char *path, const char *what);
void scrub_found_locked(struct scrub *s, const char *path, const char *what);
/* Writes the file "scrub". Best effort: without it a pass begins again. Takes the engine lock. */
void scrub_save(struct scrub *s);
/* What that file says; none, or one that does not verify: nothing. */
int scrub_load(struct scrub *s);
/* "scrub" of the status; NULL without memory. Engine lock held. */
cJSON *scrub_to_json(const struct ropefs *fs, bool names);

/* --- status.c --- */
/* Bytes of any kind as a text of JSON. */
void status_add_text(cJSON *o, const char *name, const char *text);

#endif
