/* remote_priv.h - the bucket of a store: what goes up, what was evicted, what comes back.
 *
 * One thread, the uploader, owns all below without another note. A cycle:
 *
 *	packs that the bucket lacks ─▶ hold a committed state ─▶ its last packs ─▶ changed pages
 *	    ─▶ manifest n + 1, created with a condition ─▶ noted here ─▶ old objects removed
 *	    ─▶ packs evicted
 *
 * Names of packs and segments have a hash of their bytes, so that putting one twice, or by
 * two writers, changes nothing. All of a cycle can be broken off anywhere: only the manifest
 * makes it count. */
#ifndef ROPEFS_REMOTE_PRIV_H
#define ROPEFS_REMOTE_PRIV_H

#include "core/store_priv.h"
#include "core/tier/manifest.h"
#include "core/tier/object.h"
#include "core/tier/object_file.h"

#define SEGMENT_PAGES	 1024u
#define TAIL_PAGES	 32u
#define REMOTE_FOLDER	 "remote"
#define LOCAL_CACHE_PART 4u /* of the local limit: for fetched bytes */
#define WRONG_TRIES	 3u /* more, when bytes come that don't verify */

/* How the bucket is reached, and by whom: the sealed file remote/config. */
struct remote_config {
	char *url, *endpoint, *region, *access_key, *secret_key, *session_token, *ca_file;
	char *upload_hours; /* NULL: always */
	bool virtual_host, signature_v2;
	bool drop_oldest; /* else new bytes are refused when nothing may leave */
	bool reader; /* a copy of a store that another folder writes */
	bool creates; /* the bucket's conditional put was found to be atomic */
	bool versions; /* the bucket was found to keep what is removed */
	/* Between uploads while somebody looks on, 0: that changes nothing; and between looks
	 * for whoever does. Of a follower live_s of 0: it does not say that it reads. */
	uint64_t live_s, look_s;
	uint64_t interval_s, interval_most_s, keep_s, local_bytes, min_free_bytes,
		bytes_per_s;
	uint64_t epoch;
	uint8_t writer[16];
};

/* A way to the bucket. */
struct remote_way {
	struct object_store *os; /* NULL: not opened yet */
	struct object_store *meter, *hedge; /* within it; hedge may be NULL */
	struct remote_way
		*before; /* of readers: with other settings, kept for open packs */
};

/* Where a page's bytes are in the bucket. */
struct page_at {
	uint64_t segment; /* 0: nowhere */
	uint64_t version; /* the first bytes of its nonce */
};

struct page_map {
	struct page_at *at;
	uint64_t n;
};

struct follow;

/* An object that was put, and that the bucket does not have any more as it was. */
struct harmed {
	char kind; /* 'p' or 's'; others mean nothing to the uploader */
	uint64_t number;
	uint8_t id[HASH_ID_BYTES];
};

/* An object that the bucket is to have, and its length. */
struct wanted_object {
	struct harmed is; /* if it is not there */
	uint64_t bytes;
};

/* How far the round over all objects is (remote_look.c). */
struct remote_looked {
	bool known; /* its file was read */
	char kind; /* of the last object that was asked for */
	uint64_t number, began_ns, left;
};

struct remote {
	struct ropefs *fs;
	struct remote_config cfg;
	char instance[INSTANCE_BYTES];
	atomic_bool cancel, up_cancel, verify_cancel; /* of all ways, and of one's */
	struct object_room room; /* for bytes fetched ahead */
	/* Of fetched bytes, on the disk; or NULL. Set once, by whoever opens the first pack. */
	struct range_cache *_Atomic cache;
	atomic_bool cache_tried;
	atomic_bool reads_fail; /* read_error says why */
	_Atomic int64_t
		skew_s; /* of the bucket's clock to ours, once it said that ours is wrong */
	/* remote_watch.c. Of a writer: somebody looks on until then; of a follower: it was
	 * read. */
	_Atomic uint64_t watched_ns, used_ns;
	struct remote
		*gone; /* the one before, forgotten: somebody may still look at it */

	/* The uploader's. */
	struct remote_way up;
	struct manifest man; /* the last that was committed; number 0: none */
	uint8_t man_hash[32];
	struct page_map map; /* of the segments in man */
	unsigned tail_pages; /* so many go with a manifest */
	bool map_trusted; /* pages that did not change since open need no second look */
	struct follow *follow; /* remote_follow.c, whose thread then is the only one */
	struct htab
		done; /* struct remote_done by pack: in the bucket, in no manifest yet */
	bool attempted; /* the file remote/next may have a manifest that is, or will be, there */
	uint64_t checked_ns; /* when nobody else had written, 0: not looked yet */
	uint64_t
		covered_ns; /* what was written until then is in the bucket; 0: not known */
	uint64_t retry_ns; /* after a failure: when to try again, whatever a look says */
	bool unreachable; /* it did not even answer when the last try had failed */
	uint64_t oldest, oldest_due_ns; /* the next manifest to remove, and when */
	unsigned fails;
	uint64_t
		look_ns; /* when to look for who looks on; a follower: to say that it does */
	/* Orphans are to be looked for, not before then; and when the first may be removed. */
	bool orphans_wanted;
	uint64_t orphans_look_ns, orphans_due_ns;
	bool unanswered; /* a pack's put may have come to something, or not */
	bool strays; /* segments were put that no manifest may come to name */
	struct remote_looked looked;
	bool retry_refused; /* somebody asks for what the bucket refused */

	struct lock lock; /* RANK_REMOTE; guards all below */
	struct remote_way down; /* for readers; its store is set once and stays */
	pthread_t thread;
	bool started, stopping, kicked, evict_wanted, retry_wanted;
	bool looking; /* a follower, at its bucket */
	/* Of a follower: reads under way, and that none begins while another history comes. */
	unsigned reading;
	bool changing;
	uint64_t shown; /* how many states it has shown */
	bool announced; /* the writer may know that somebody reads */
	char announce_error[256]; /* why not */
	/* Of a verify that is under way, in bytes; total of 0: none is. */
	uint64_t verify_done, verify_total;
	pthread_cond_t wake, done_cond;
	STAILQ_HEAD(, sync_waiter) waiters; /* for the bucket */
	uint64_t wanted_lsn, committed_lsn, committed_ns, number;
	int ended; /* why nothing goes up any more, or 0 */
	bool fenced;
	/* At the local limit, in bytes: the largest change that waits for room; and one for
	 * which there was none when the uploader had done what it can. */
	uint64_t short_of, full_for;
	int64_t disk_room; /* free bytes and those of packs, less min_free_bytes */
	uint64_t room_taken; /* by packs that are being fetched */
	STAILQ_HEAD(, thin) thin; /* remote_thin.c */
	struct buf harmed; /* struct harmed: told to the uploader */
	bool mending; /* it took some, and was not through with a cycle since */
	unsigned mend_waits; /* who wait for that */
	uint64_t packs_left, bytes_left, evicted, cycles, cycle_errors;
	uint64_t refused, dropped, dropped_bytes;
	bool resting; /* it is not the hour */
	struct object_counts up_before; /* of ways that were closed */
	char last_error[256];
	char read_error[256]; /* of the last read that asked the bucket, if it failed */
	char refused_why[256]; /* of the last one */
};

/* --- remote.c --- */
/* Reads what the store knows of its bucket; fs->remote stays NULL when there is none. */
int remote_load(struct ropefs *fs);
/* What is asked needs a bucket, and the store has none: the error that says so. */
int remote_none(void);
/* Tells the pack layer of the packs that are there only. */
int remote_note_packs(struct ropefs *fs);
struct pack_info remote_pack_info(const struct manifest_pack *p);
int remote_start(struct ropefs *fs);
static inline bool remote_is_reader(const struct remote *rm)
{
	return rm->cfg.reader;
}
/* A read that asked the bucket failed, or (NULL) did not. */
void remote_note_read(struct remote *rm, const char *why);
/* A thread is there that uploads. */
bool remote_uploads(struct remote *rm);
/* Whether the bucket lacks changes up to lsn. */
bool remote_is_behind(struct remote *rm, uint64_t lsn);
int remote_wait(struct remote *rm, uint64_t lsn);
int remote_new(struct ropefs *fs, struct remote **ret);
/* How a cycle, or a look, ended: for status and events. */
void remote_note_cycle(struct remote *rm, int r);
void remote_stop(struct ropefs *fs);
void remote_stop_uploader(struct remote *rm);
struct remote *remote_free(struct remote *rm);
/* For struct packs_opts; arg: the ropefs. */
int remote_open_pack(void *arg, const struct pack_info *info, struct io_file **ret);
/* A checkpoint is done. */
void remote_kick(struct ropefs *fs);
/* After so long what changed is packed, if no upload had it packed before; 0: nothing goes up. */
unsigned remote_pace_s(struct remote *rm);
/* Hands over waiters whose changes, up to lsn, are in the log on the disk. */
void remote_await(struct remote *rm, struct sync_waiter *w);
/* The last try failed, or packs are refused: what is over the limit may have to be dropped. */
bool remote_is_stuck(struct remote *rm);
/* Whether an upload under way may go on with the next pack. -ECANCELED. */
int remote_may_go_on(struct remote *rm);
enum way_for { WAY_UP, WAY_DOWN, WAY_VERIFY };
int remote_way_open(struct remote *rm, enum way_for what, struct remote_way *way);
void remote_way_close(struct remote_way *way);

/* --- remote_pace.c (uploader) --- */
/* When the turn after one that ended now comes, if nobody asks for one before. */
uint64_t remote_next_turn(struct remote *rm);
/* A turn by time has come: true when it is not worth one yet, with the time of the next look. */
bool remote_puts_off(struct remote *rm, uint64_t *ret_next);
/* Packs that wait are an upload by themselves: what is in memory may go with the next one. */
bool remote_is_worth_one(struct remote *rm);
/* A try failed with r. */
void remote_note_failure(struct remote *rm, int r);

/* --- remote_watch.c --- */
/* Of a writer: somebody looks on. */
bool remote_is_watched(const struct remote *rm);
/* When the uploader looks next; UINT64_MAX: never. */
uint64_t remote_next_look(const struct remote *rm);
/* It does: true when somebody looks on who did not before. */
bool remote_look_for_watch(struct remote *rm);
/* A time between uploads, as it is by now. */
uint64_t remote_interval_ns(const struct remote *rm, uint64_t seconds);
/* Of a follower: it is read, or was just now. */
bool remote_is_used(struct remote *rm);
/* Somebody reads; any thread. Does nothing for stores that don't follow a bucket. */
void remote_note_use(struct ropefs *fs);
/* After a look that went well: tells the writer that somebody reads, if it is so, and time. */
void remote_announce(struct remote *rm);

/* --- remote_cache.c --- */
void remote_room_open(struct remote *rm);
/* Where it can't be, there is none. */
void remote_cache_open(struct remote *rm);
/* When the store is opened: goes on with what the last life saved. */
void remote_cache_resume(struct remote *rm);
/* For the next life, when all readers are gone. */
void remote_cache_save(struct remote *rm);
struct range_cache_stats remote_cache_stats(struct remote *rm);
/* After limits changed, and whenever packs left. */
void remote_cache_fit(struct remote *rm);

/* --- remote_clone.c --- */
/* As ropefs_clone(), with the library of keys ready. */
int remote_clone_to(const char *folder, struct ropefs_clone *c);
/* Appends the words, INSTANCE_BYTES each, that may be instances. */
int remote_list_instances(struct object_store *os, struct buf *ret);
/* -ENOENT: there is no whole one. */
int remote_get_header(struct object_store *os, const char *instance, struct buf *ret);

/* --- remote_follow.c --- */
struct follow *follow_free(struct follow *f);
/* Which state is shown, counted from 1; 0: the store follows no bucket. */
uint64_t remote_shown(struct ropefs *fs);
/* A read of a store that follows is whole within one history. -EAGAIN: it is just changing, and
 * the caller can't wait. */
int remote_read_begin(struct ropefs *fs, bool nowait);
void remote_read_end(struct ropefs *fs);
/* A read of that state failed: whether a newer one is shown by now, or after a look. The sentence
 * of the failure stays. */
bool remote_renewed(struct ropefs *fs, uint64_t shown);

/* --- remote_admin.c --- */
/* Whether the bucket's conditional put is atomic, by trying. */
int remote_probe_creates(struct remote *rm, bool *ret);

/* --- remote_config.c --- */
int remote_config_read(struct io *io, const struct keys *keys, struct remote_config *ret);
int remote_config_write(struct io *io, const struct keys *keys,
			const struct remote_config *c);
void remote_config_release(struct remote_config *c);
int remote_config_fill(struct remote_config *c, const struct ropefs_remote_opts *opts);
int remote_config_change(struct remote_config *c, char *lines);
static inline int remote_file_read(struct io *io, const char *name, struct buf *ret)
{
	return io_read_file(io, name, OBJECT_BYTES_MAX, ret);
}

/* --- remote_upload.c (uploader) --- */
int remote_cycle(struct remote *rm);
/* The uploader's way. Closed, its counts stay. */
int remote_open_up(struct remote *rm);
void remote_close_up(struct remote *rm);
bool remote_is_folder(const struct remote *rm);
/* Finds the last manifest of the bucket that comes after number `after` (0: of all) and reads
 * it. -ENOENT: there is none. */
int remote_find_last(struct object_store *os, const char *instance, uint64_t after,
		     uint64_t *ret_number);
int remote_get_manifest(struct object_store *os, const char *instance, uint64_t number,
			const struct keys *keys, struct buf *ret_bytes,
			struct manifest *ret);
int remote_put_bytes(struct object_store *os, const char *key, struct span bytes,
		     unsigned flags);
/* A manifest that comes after our own last one: its number, or -ENOENT. Without a LIST unless our
 * own is gone. */
int remote_find_newer(struct remote *rm, uint64_t *ret_number);
/* Puts the store's header where another one is, or none, and looks at what is there then. */
int remote_put_header(struct remote *rm, struct object_store *os);

/* --- remote_packs.c (uploader) --- */
struct pack_list {
	struct pack_info *p;
	size_t n, cap;
};
int pack_list_add(void *arg, const struct pack_info *info); /* for packs_each() */
/* The last manifest names the pack as being there. */
bool remote_has_pack(const struct remote *rm, const struct pack_info *info);
/* It is still to go up. */
bool remote_pack_waits(const struct remote *rm, const struct pack_info *info);
/* What a manifest put now says of the pack's bytes. */
enum pack_lost remote_pack_lost(const struct remote *rm, const struct pack_info *info);
/* Puts those up to the rank that wait, one rank after the other. Returns how many. */
int remote_put_packs(struct remote *rm, const struct pack_list *l, unsigned rank);
/* Some are still to go up; bytes of all that are. */
bool remote_waits(const struct remote *rm, const struct pack_list *l);
uint64_t remote_bytes_waiting(struct remote *rm);
/* All that may go up is there: none waits, none is refused. */
bool remote_is_whole(const struct remote *rm, const struct pack_list *l);
void remote_retry_refused(struct remote *rm);
/* Packs were put that no manifest names. */
bool remote_has_strays(const struct remote *rm);
/* A manifest was committed: what it names needs no note of its own. */
void remote_forget_done(struct remote *rm);

/* What was put of the pack is none any more: it is put again. -ENOMEM. */
int remote_forget_put(struct remote *rm, const struct harmed *h);

/* --- remote_mend.c --- */
/* Tells the uploader of what the bucket lost (struct harmed, one after another). -ENOMEM. */
int remote_note_harmed(struct remote *rm, struct span harmed);
/* The same, and waits until all that is still here was put again. */
int remote_mend(struct remote *rm, struct span harmed);
/* The uploader's, before it puts, and after. */
int remote_take_harmed(struct remote *rm);
void remote_mended(struct remote *rm);

/* --- remote_passed.c --- */
/* A manifest, not the last, that is gone (a hash of zeros) or no more what was put: a repair has
 * looked at it, and nobody needs it. Rows of it are the sealed file remote/passed. */
struct passed {
	le64 number;
	uint8_t hash[32]; /* of the bytes that are there */
};
/* None where the file is not there, or does not verify. */
void remote_passed_read(struct remote *rm, struct buf *ret);
bool remote_passed_has(const struct buf *rows, const struct passed *p);
/* Those before manifest `oldest` are left out. */
int remote_passed_write(struct remote *rm, const struct buf *rows, uint64_t oldest);

/* --- remote_orphans.c (uploader) --- */
/* After a good cycle: notes, and later removes, what an upload left that was broken off. */
int remote_orphans(struct remote *rm);
/* The uploader's thread begins: whether the life before left something that nothing names is known
 * by its last word, which goes. And ends: leaves that word, if it is true. */
void remote_orphans_begin(struct remote *rm);
void remote_orphans_end(struct remote *rm);
/* Objects (struct harmed) are gone, or have another length: an event, and they are mended. */
int remote_tell_harmed(struct remote *rm, struct span harmed);

/* --- remote_look.c (uploader) --- */
/* What the last manifest names and the bucket is to have: packs by number, then segments. The
 * caller frees *ret. */
int remote_wanted_objects(const struct remote *rm, struct wanted_object **ret,
			  size_t *ret_n);
struct object_key remote_wanted_key(const struct remote *rm,
				    const struct wanted_object *o);
/* By a HEAD. 1: it is gone, or has another length. */
int remote_is_gone(struct remote *rm, const char *key, uint64_t bytes);
/* After a good cycle: asks for some of the objects that are to be there, a part of all each day. */
int remote_look_at_objects(struct remote *rm);

/* --- remote_thin.c --- */
/* A collection begins: what it finds takes the place of what was noted. */
void remote_thin_forget(struct remote *rm);
/* A pack that is only in the bucket, with a bit for each chunk that lives. -ENOMEM. */
int remote_thin_note(struct remote *rm, const struct pack_info *info,
		     const uint8_t *live);
/* The uploader's, after a good cycle: rewrites some of those. */
int remote_thin(struct remote *rm);

/* --- remote_hours.c --- */
int remote_hours_check(const char *text); /* -EINVAL with a sentence */
bool remote_hours_open(const char *text, uint64_t real_ns); /* NULL or "": always */

/* --- remote_dropped.c --- */
/* The pack is about to be dropped. */
int remote_dropped_add(struct ropefs *fs, const struct pack_info *info);
/* Tells the pack layer of those that were. */
int remote_dropped_note(struct ropefs *fs);
/* Calls each for those of the packs (u64 each) that files have bytes in; names: JSON strings, a
 * comma between them, of some of the files. */
int remote_files_in(struct ropefs *fs, struct span packs,
		    void (*each)(void *arg, uint64_t pack, uint64_t files,
				 const char *names),
		    void *arg);

/* --- remote_evict.c --- */
/* Bytes by which the packs here are more than is to be, or the disk below its least. */
uint64_t remote_over_limit(struct remote *rm);
/* With checkpoint held: whether the limits let a collection write so many bytes. */
bool remote_may_write(struct ropefs *fs, uint64_t bytes);
/* What a checkpoint may write beside new bytes. */
uint64_t remote_may_move(struct ropefs *fs);
/* With the engine lock: n more bytes? -ENOSPC when the limits forbid it; -EAGAIN when the
 * uploader makes room, and tells by fs->room. */
int remote_admit(struct ropefs *fs, uint64_t n);
/* For a pack that is fetched; false: the limit has no room for so many bytes. */
bool remote_take_room(struct remote *rm, uint64_t bytes);
void remote_give_room(struct remote *rm, uint64_t bytes);
/* The uploader's: what somebody waits for, and there is no room for; 0: nothing. */
uint64_t remote_short_of(struct remote *rm);
/* Who waits is refused if there is no room now; tried_all: the uploader could do no more. */
void remote_answer_short(struct remote *rm, bool tried_all);
/* The uploader can do more about a limit than to evict what the bucket has. */
bool remote_works_locked(const struct remote *rm);
/* The uploader's, after packs left: only an upload makes more room, or half of what may still be
 * written waits for one. So that manifests are few, but writers go on meanwhile. */
bool remote_wants_upload(struct remote *rm);
/* What the bucket has leaves, and when nothing goes up what may be dropped (uploader). */
int remote_evict(struct remote *rm);

/* --- remote_pages.c (uploader) --- */
/* Puts the changed pages of a held state as segments, or into *next, which gets its segments, and
 * what is dropped of the old ones. */
/* Right after a hold: pages written since the last one are nowhere in the bucket. */
void remote_note_changed(struct remote *rm, const struct page_state *st);
int remote_put_pages(struct remote *rm, const struct page_state *st,
		     struct manifest *next);
/* The map as a file, so that the next opening goes on with it. */
void remote_map_save(struct remote *rm);
void remote_map_load(struct remote *rm);
void remote_map_release(struct page_map *map);
int page_map_grow(struct page_map *map, uint64_t pages);
uint64_t remote_segment_bytes(const struct manifest_segment *s); /* of its object */
struct segment_pages {
	int (*each)(void *arg, uint64_t page, const uint8_t *sealed);
	void *arg;
};
/* The pages of a segment, got again when the bytes are not those that were put; scratch is the
 * caller's. -E_CORRUPT: it is gone, or another one. */
int remote_get_segment(struct remote *rm, const struct manifest_segment *s,
		       const struct segment_pages *to, struct buf *scratch);
/* Those that lie in the manifest: newer than any segment's. */
int remote_each_page(const struct manifest *m, const struct segment_pages *to);

#endif
