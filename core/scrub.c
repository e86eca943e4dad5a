/* scrub.c - when a scrub reads, and how fast: asked for, at a rate; or by the clock, so that all
 * is read once in a period. Then it reads slices: each when its part of the period is over, so
 * a machine that was off for a while catches up, and one that is not sleeps between them. */
#include "core/scrub.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define SECOND_NS   ((uint64_t)1000000000)
#define CLOCK_RATE  (32 * MIB) /* bytes a second of a slice */
#define LOOK_NS	    (60 * SECOND_NS) /* at the clock, which may be set */
#define SAVE_NS	    (60 * SECOND_NS)
#define RETRY_NS    (60 * SECOND_NS)
#define BREATH_NS   ((uint64_t)200000) /* whoever waits for a lock gets it */
#define WAIT_MIN_NS (5 * SECOND_NS / 1000)

static void forget_pass_locked(struct scrub *s)
{
	scrub_report_release(&s->now);
	buf_release(&s->bad);
	s->bad = BUF_INIT;
	s->next_pack = 0;
	s->packs_done = s->unnamed = s->under_way = s->asked = false;
	s->bytes_per_s = 0;
	s->slice_left = 0;
}

static void begin_pass_locked(struct scrub *s)
{
	forget_pass_locked(s);
	s->under_way = true;
	s->now.began_ns = (int64_t)io_real_ns(s->fs->io);
}

static void end_pass_locked(struct scrub *s)
{
	struct packs_stats packs;

	packs_get_stats(s->fs->packs, &packs);
	s->now.remote_packs = packs.remote_packs;
	s->now.remote_bytes = packs.remote_bytes;
	s->now.ended_ns = (int64_t)io_real_ns(s->fs->io);
	scrub_report_release(&s->last);
	s->last = s->now;
	s->now = (struct scrub_report) { 0 };
	s->passes++;
	forget_pass_locked(s);
}

/* --- pace --- */

static uint64_t total_bytes(struct ropefs *fs)
{
	struct pagefile_stats pages;
	struct packs_stats packs;

	pagefile_get_stats(fs->pf, &pages);
	packs_get_stats(fs->packs, &packs);
	return pages.used * PAGE_BYTES + packs.file_bytes;
}

/* How long until what was read so far is due by the clock. */
static uint64_t ahead_ns_locked(struct scrub *s)
{
	uint64_t now = io_real_ns(s->fs->io);
	double part = s->total_bytes ? (double)s->now.bytes / (double)s->total_bytes : 1;
	uint64_t due = (uint64_t)s->now.began_ns +
		       (uint64_t)(MIN(part, 1.0) * (double)s->period_ns);

	if (now < (uint64_t)s->now.began_ns) /* it was set back */
		s->now.began_ns = (int64_t)now;
	return due > now ? MIN(due - now, s->period_ns) : 0;
}

static bool is_over_locked(const struct scrub *s)
{
	return s->stopping || s->turn != s->my_turn;
}

/* Once a slice was read: until the next one is due. */
static void sleep_locked(struct scrub *s)
{
	uint64_t ahead;

	while (!is_over_locked(s) && (ahead = ahead_ns_locked(s)) > 0)
		lock_wait(&s->fs->engine, &s->wake,
			  io_mono_ns(s->fs->io) + MIN(ahead, LOOK_NS));
	s->slice_left = SCRUB_SLICE_BYTES;
	s->next_ns = 0;
}

static void keep_rate_locked(struct scrub *s, uint64_t bytes)
{
	uint64_t rate = s->asked ? s->bytes_per_s : CLOCK_RATE;
	uint64_t now = io_mono_ns(s->fs->io);

	if (rate)
		s->next_ns = MAX(s->next_ns, now) +
			     (uint64_t)((double)bytes / (double)rate * 1e9);
	if (!rate)
		lock_wait(&s->fs->engine, &s->wake, now + BREATH_NS);
	while (rate && !is_over_locked(s) && s->next_ns > now + WAIT_MIN_NS) {
		lock_wait(&s->fs->engine, &s->wake, s->next_ns);
		now = io_mono_ns(s->fs->io);
	}
}

static bool slice_is_over_locked(struct scrub *s, uint64_t bytes)
{
	if (s->asked)
		return false;
	s->slice_left -= MIN(bytes, s->slice_left);
	return s->slice_left == 0 && ahead_ns_locked(s) > 0;
}

int scrub_pace(struct scrub *s, uint64_t bytes)
{
	struct ropefs *fs = s->fs;
	bool rest, over, unnamed;
	int r = 0;

	lock_take(&fs->engine);
	if (!is_over_locked(s))
		s->now.bytes += bytes;
	keep_rate_locked(s, bytes);
	rest = slice_is_over_locked(s, bytes);
	over = is_over_locked(s);
	unnamed = s->unnamed;
	lock_drop(&fs->engine);
	if (over)
		return -ECANCELED;
	if (rest && unnamed)
		r = scrub_name(s);
	if (r < 0)
		return r;
	if (rest || io_mono_ns(fs->io) - s->saved_ns > SAVE_NS)
		scrub_save(s);
	if (!rest)
		return 0;
	lock_take(&fs->engine);
	sleep_locked(s);
	over = is_over_locked(s);
	lock_drop(&fs->engine);
	return over ? -ECANCELED : 0;
}

/* --- the thread --- */

/* Programs come first: for the processor and, where the disk's scheduler cares, for the disk. Not
 * idle classes: who holds a lock must get on. */
static void be_modest(void)
{
	enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_BE_LOWEST = 2 << 13 | 7 };

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_BE_LOWEST);
}

/* Until when nothing is to be done; 0: for ever. */
static uint64_t rest_until_locked(struct scrub *s)
{
	uint64_t now = io_real_ns(s->fs->io), next;

	if (!s->period_ns)
		return 0;
	next = (uint64_t)s->last.began_ns + s->period_ns;
	if ((uint64_t)s->last.began_ns > now) /* the clock was set back */
		next = 0;
	if (!s->last.ended_ns || next <= now) {
		begin_pass_locked(s);
		return 0;
	}
	return io_mono_ns(s->fs->io) + MIN(next - now, LOOK_NS);
}

static void tell_end(struct ropefs *fs, const struct scrub_report *rep)
{
	if (rep->problems + rep->files)
		event_raise(fs, "scrub", 0,
			    "all was read and some of it does not verify: %llu places, "
			    "of %llu files; ropectl status names them",
			    (unsigned long long)rep->problems,
			    (unsigned long long)rep->files);
	else
		event_raise(fs, "scrub", 0, "all was read and is whole: %llu bytes",
			    (unsigned long long)rep->bytes);
}

/* Who asks wants all that was written to be looked at, not what is in memory. Where that can't be
 * written (a full disk), what is there is looked at all the same: last_error has the reason. */
static void begin(struct scrub *s)
{
	struct ropefs *fs = s->fs;
	bool fresh;

	lock_take(&fs->engine);
	fresh = s->asked && s->now.bytes == 0 && !fs->read_only;
	lock_drop(&fs->engine);
	if (fresh)
		checkpoint_run(fs, false);
}

static void run_pass_locked(struct scrub *s)
{
	struct ropefs *fs = s->fs;
	struct scrub_report ended = { 0 };
	int r;

	s->my_turn = s->turn;
	s->slice_left = SCRUB_SLICE_BYTES;
	lock_drop(&fs->engine);
	begin(s);
	lock_take(&fs->engine);
	s->total_bytes = total_bytes(fs);
	lock_drop(&fs->engine);
	r = scrub_pass(s);
	lock_take(&fs->engine);
	if (s->turn == s->my_turn && r >= 0) {
		end_pass_locked(s);
		ended = s->last;
	} else if (r < 0 && r != -ECANCELED) {
		snprintf(fs->last_error, sizeof(fs->last_error), "scrub: %s",
			 err_words(r));
	}
	lock_drop(&fs->engine);
	scrub_save(s);
	if (ended.ended_ns)
		tell_end(fs, &ended);
	lock_take(&fs->engine);
	if (r < 0 && !is_over_locked(s))
		lock_wait(&fs->engine, &s->wake, io_mono_ns(fs->io) + RETRY_NS);
}

static void *scrub_main(void *arg)
{
	struct scrub *s = arg;
	uint64_t until;

	pthread_setname_np(pthread_self(), "ropefs-scrub");
	be_modest();
	lock_take(&s->fs->engine);
	while (!s->stopping) {
		if (s->under_way) {
			run_pass_locked(s);
			continue;
		}
		until = rest_until_locked(s);
		if (!s->under_way)
			lock_wait(&s->fs->engine, &s->wake, until);
	}
	lock_drop(&s->fs->engine);
	return NULL;
}

static int start_thread(struct scrub *s)
{
	sigset_t all, old;
	int r = 0;

	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!s->started)
		r = pthread_create(&s->thread, NULL, scrub_main, s);
	s->started |= r == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int scrub_open(struct ropefs *fs)
{
	struct scrub *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->fs = fs;
	s->period_ns = fs->opts.scrub_s * SECOND_NS;
	lock_cond_init(&s->wake);
	fs->scrub = s;
	r = scrub_load(s);
	if (r < 0 || (!s->under_way && !s->period_ns))
		return r;
	lock_take(&fs->engine); /* others may find by now that it can only be read */
	if (fs->read_only)
		r = 0;
	else if (!s->asked && !s->period_ns) /* nobody wants it any more */
		forget_pass_locked(s);
	else
		r = start_thread(s);
	lock_drop(&fs->engine);
	return r;
}

struct scrub *scrub_close(struct scrub *s)
{
	struct ropefs *fs;

	if (!s)
		return NULL;
	fs = s->fs;
	lock_take(&fs->engine);
	s->stopping = true;
	pthread_cond_broadcast(&s->wake);
	lock_drop(&fs->engine);
	if (s->started)
		pthread_join(s->thread, NULL);
	scrub_report_release(&s->now);
	scrub_report_release(&s->last);
	buf_release(&s->bad);
	pthread_cond_destroy(&s->wake);
	free(s);
	return NULL;
}

/* --- the public functions --- */

/* NULL: the store has none. */
static struct scrub *scrub_of(struct ropefs *fs)
{
	struct remote *rm = fs->remote;

	err_clear();
	if (fs->scrub && !(rm && remote_is_reader(rm)))
		return fs->scrub;
	err_set(EROFS, "what is read from a bucket is verified as it comes; there is "
		       "nothing to scrub");
	return NULL;
}

int ropefs_scrub_start(struct ropefs *fs, uint64_t bytes_per_s)
{
	struct scrub *s = scrub_of(fs);
	int r;

	if (!s)
		return -EROFS;
	lock_take(&fs->engine);
	r = start_thread(s);
	if (r >= 0) {
		begin_pass_locked(s);
		s->asked = true;
		s->bytes_per_s = bytes_per_s;
		s->turn++;
		pthread_cond_broadcast(&s->wake);
	}
	lock_drop(&fs->engine);
	return r;
}

int ropefs_scrub_stop(struct ropefs *fs)
{
	struct scrub *s = scrub_of(fs);

	if (!s)
		return -EROFS;
	lock_take(&fs->engine);
	if (s->under_way) {
		forget_pass_locked(s);
		s->turn++;
		pthread_cond_broadcast(&s->wake);
	}
	lock_drop(&fs->engine);
	return 0;
}
