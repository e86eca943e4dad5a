/* test_remote_room.c - who waits for room under a local limit, while the bucket takes uploads: is
 * refused when nothing leaves, and not before. The bucket stands still where a test wants it to. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/lib/object_fault.h"
#include "tests/lib/suite.h"
#include "tests/unit/remote_fixture.h"

#define LIMIT	   (2 * MIB) /* a sixteenth of it is not for packs */
#define WRITE	   MIB /* what is asked room for at once */
#define PINNED	   (800 * KIB) /* so that a write has room when all else has left */
#define PINNED_ALL (1400 * KIB)

/* The uploader waits at a request until the test lets it go on. */
struct gate {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	const char *what, *key; /* the request, and what its key has in it; NULL: none */
	unsigned skip; /* so many of those pass before */
	bool here;
};

static int at_gate(void *arg, const char *what, const char *key, bool done)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->mutex);
	if (!done && g->what && !strcmp(what, g->what) && strstr(key, g->key) &&
	    !g->skip--) {
		g->what = NULL;
		g->here = true;
		pthread_cond_broadcast(&g->cond);
		while (g->here)
			pthread_cond_wait(&g->cond, &g->mutex);
	}
	pthread_mutex_unlock(&g->mutex);
	return 0;
}

static void gate_wait(struct gate *g)
{
	pthread_mutex_lock(&g->mutex);
	while (!g->here)
		pthread_cond_wait(&g->cond, &g->mutex);
	pthread_mutex_unlock(&g->mutex);
}

/* It goes on, to there. */
static void gate_open(struct gate *g, const char *what, const char *key, unsigned skip)
{
	pthread_mutex_lock(&g->mutex);
	g->what = what;
	g->key = key;
	g->skip = skip;
	g->here = false;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->mutex);
}

/* A store under the limit; so many bytes never leave, and are in the bucket. Its uploader meets
 * the gate from now on. */
static struct ropefs *open_gated(const struct place *p, size_t pinned, struct gate *g)
{
	struct ropefs *fs = open_at(p, p->store);
	const struct object_fault fault = { .fails = at_gate, .arg = g };
	struct ropefs_remote_opts opts = bucket_of(p);
	struct remote *rm;

	opts.local_bytes = LIMIT;
	ck_ok(ropefs_remote_add(fs, &opts));
	ck_ok(ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.pin", "on", 2, 0));
	put_file(fs, "pinned", 1, pinned);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_removexattr(fs, ROPEFS_ROOT_INO, "user.ropefs.pin"));
	rm = fs->remote;
	remote_stop_uploader(rm);
	rm->up.os = object_fault_new(&fault, rm->up.os);
	atomic_store(&rm->up_cancel, false);
	ck_ok(remote_start(fs));
	return fs;
}

/* One that writes a file, and has to wait for room. */
struct writer {
	pthread_t thread;
	struct ropefs *fs;
	uint64_t ino;
	ssize_t r;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	_cleanup_free_ uint8_t *bytes = malloc(WRITE);
	struct rng rng = rng_seeded(7);

	rng_fill(&rng, bytes, WRITE);
	w->r = ropefs_write(w->fs, w->ino, 0, bytes, WRITE, 0, NULL);
	return NULL;
}

static void begin_writer(struct writer *w, struct ropefs *fs)
{
	*w = (struct writer) { .fs = fs, .ino = put_file(fs, "waits", 0, 1) };
	ck_ok(-pthread_create(&w->thread, NULL, writer_main, w));
}

static void wait_short(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	bool waits = false;

	while (!waits) {
		usleep(1000);
		lock_take(&rm->lock);
		waits = rm->short_of > 0;
		lock_drop(&rm->lock);
	}
}

static void ck_wrote(struct writer *w)
{
	pthread_join(w->thread, NULL);
	ck_assert_int_eq(w->r, (ssize_t)WRITE);
	ck_assert(!status_of(w->fs).full);
	ck_ok(read_file(w->fs, "waits", 7, WRITE));
}

/* What leaves at the end of that upload is too little for him, and what else would came too late
 * for it. */
START_TEST(who_begins_to_wait_during_an_upload_is_not_refused_at_its_end)
{
	struct gate g = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "put",
			  "/m/" };
	struct place p = place_new();
	struct ropefs *fs = open_gated(&p, PINNED, &g);
	struct writer w;
	uint64_t lsn;

	put_file(fs, "goes", 2, (200 * KIB));
	ck_ok(ropefs_remote_kick(fs, &lsn));
	gate_wait(&g);
	put_file(fs, "late", 3, (500 * KIB));
	begin_writer(&w, fs);
	wait_short(fs);
	gate_open(&g, NULL, NULL, 0);
	ck_wrote(&w);
	ck_ok(read_file(fs, "late", 3, (500 * KIB)));
	ck_ok(ropefs_close(fs));
}
END_TEST

/* Two packs leave for him at the end of an upload that began after him. When one has, another
 * writer takes that room. */
START_TEST(whose_room_was_taken_by_another_is_not_refused)
{
	struct gate g = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "put",
			  "/m/" };
	struct place p = place_new();
	struct ropefs *fs = open_gated(&p, PINNED, &g);
	struct writer w;
	uint64_t lsn;

	put_file(fs, "small", 2, 1000);
	ck_ok(ropefs_remote_kick(fs, &lsn));
	gate_wait(&g);
	put_file(fs, "a", 3, (300 * KIB));
	ck_ok(ropefs_checkpoint(fs));
	put_file(fs, "b", 4, (300 * KIB));
	ck_ok(ropefs_checkpoint(fs));
	begin_writer(&w, fs);
	wait_short(fs);
	gate_open(&g, "put", "/m/", 0);
	gate_wait(&g);
	gate_open(&g, "head", "/p/", 1); /* each pack is asked for before it leaves */
	gate_wait(&g);
	put_file(fs, "takes", 5, (500 * KIB));
	gate_open(&g, NULL, NULL, 0);
	ck_wrote(&w);
	ck_ok(read_file(fs, "takes", 5, (500 * KIB)));
	ck_ok(ropefs_close(fs));
}
END_TEST

START_TEST(who_waits_is_refused_when_the_bucket_takes_all_and_nothing_may_leave)
{
	struct gate g = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
	struct place p = place_new();
	struct ropefs *fs = open_gated(&p, PINNED_ALL, &g);
	struct writer w;

	begin_writer(&w, fs);
	pthread_join(w.thread, NULL);
	ck_assert_int_eq(w.r, -ENOSPC);
	ck_assert(status_of(fs).full);
	ck_assert_str_eq(status_of(fs).last_error, "");
	ck_ok(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name("pinned")));
	ck_ok(ropefs_collect(fs));
	put_file(fs, "fits", 3, WRITE);
	ck_assert(!status_of(fs).full);
	ck_ok(ropefs_close(fs));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote_room");
	TCase *t = remote_tcase("remote_room");

	tcase_add_test(t, who_begins_to_wait_during_an_upload_is_not_refused_at_its_end);
	tcase_add_test(t, whose_room_was_taken_by_another_is_not_refused);
	tcase_add_test(
		t, who_waits_is_refused_when_the_bucket_takes_all_and_nothing_may_leave);
	suite_add_tcase(s, t);
	return suite_main(s);
}
