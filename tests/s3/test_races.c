/* test_races.c - two devices that both think they are the writer: a store's folder copied, key,
 * log, writer id and all. Exactly one of them puts the next manifest, in each of 200 races; the
 * other turns read-only with all it had. The bucket is a folder, or the one that OBJECT_URL and
 * OBJECT_ENDPOINT name; RACES says how many. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/util.h"
#include "core/ropefs.h"
#include "tests/lib/suite.h"

#define RACES	    200 /* with TEST_SECONDS, else */
#define RACES_SHORT 25
#define INTERVAL_S  3600
#define NAME_LENGTH 32
#define MEMORY	    "/dev/shm"

static char base[2048], key[4096], url[4200];

static struct ropefs_remote_opts bucket(void)
{
	struct ropefs_remote_opts o = { .url = url, .interval_s = INTERVAL_S };

	if (!getenv("OBJECT_URL"))
		return o;
	o.endpoint = getenv("OBJECT_ENDPOINT");
	o.access_key = getenv("AWS_ACCESS_KEY_ID");
	o.secret_key = getenv("AWS_SECRET_ACCESS_KEY");
	return o;
}

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char command[16384];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	ck_assert_int_eq(system(command), 0);
}

struct writer {
	char folder[4200], name[NAME_LENGTH];
	struct ropefs *fs;
	pthread_t thread;
	pthread_barrier_t *start;
	bool wrote;
	int r;
};

/* Opening uploads what closing left; a change and a sync follow. */
static int write_and_sync(struct writer *w)
{
	const struct ropefs_opts opts = { .key_file = key, .memory_bytes = 32 << 20 };
	const struct ropefs_new what = { .mode = S_IFREG | 0600 };
	struct ropefs_attr a;
	int r = ropefs_open(w->folder, &opts, &w->fs);

	if (r < 0)
		return r;
	r = ropefs_create(w->fs, ROPEFS_ROOT_INO, ropefs_name(w->name), &what, &a);
	if (r == 0)
		r = (int)ropefs_write(w->fs, a.ino, 0, w->name, strlen(w->name), 0, NULL);
	w->wrote = r > 0;
	r = ropefs_remote_sync(w->fs);
	/* Fenced before it could even ask for an upload. */
	return r == -E_REMOTE && !w->wrote ? -E_FENCED : r;
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	pthread_barrier_wait(w->start);
	w->r = write_and_sync(w);
	return NULL;
}

static bool has(struct ropefs *fs, const char *name)
{
	char got[NAME_LENGTH] = "";
	struct ropefs_attr a;

	return ropefs_lookup(fs, ROPEFS_ROOT_INO, ropefs_name(name), &a) == 0 &&
	       ropefs_read(fs, a.ino, 0, got, sizeof(got), 0) > 0 && !strcmp(got, name);
}

/* The loser is as the issue has it; the winner's folder is the next race's. */
static void judge(struct writer w[2], unsigned race)
{
	unsigned lost = w[0].r < 0 ? 0 : 1;
	struct ropefs_remote_status st;
	struct ropefs_status all;

	ck_assert_msg((w[0].r == 0) + (w[1].r == 0) == 1, "race %u: %d and %d", race,
		      w[0].r, w[1].r);
	ck_assert_int_eq(w[lost].r, -E_FENCED);
	ck_ok(ropefs_remote_status(w[lost].fs, &st));
	ropefs_get_status(w[lost].fs, &all);
	ck_assert(st.fenced && all.read_only);
	ck_assert_ptr_nonnull(strstr(all.read_only_why, "another writer"));
	ck_assert_int_eq(has(w[lost].fs, w[lost].name), w[lost].wrote);
	ck_assert(has(w[!lost].fs, w[!lost].name));
	ropefs_close(w[lost].fs);
	ck_ok(ropefs_close(w[!lost].fs));
	run("rm -r '%s'", w[lost].folder);
	if (!lost)
		run("mv '%s' '%s'", w[1].folder, w[0].folder);
}

static void race(unsigned n)
{
	struct writer w[2] = { 0 };
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, 2);
	snprintf(w[0].folder, sizeof(w[0].folder), "%s/a", base);
	snprintf(w[1].folder, sizeof(w[1].folder), "%s/b", base);
	run("cp -r --sparse=always '%s' '%s'", w[0].folder, w[1].folder);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(w[i].name, sizeof(w[i].name), "%c%u", "ab"[i], n);
		w[i].start = &start;
	}
	for (unsigned i = 0; i < 2; i++)
		ck_ok(-pthread_create(&w[i].thread, NULL, writer_main, &w[i]));
	for (unsigned i = 0; i < 2; i++)
		pthread_join(w[i].thread, NULL);
	pthread_barrier_destroy(&start);
	judge(w, n);
}

START_TEST(of_two_devices_that_think_they_are_the_writer_one_wins_each_race)
{
	unsigned races = getenv("RACES")    ? (unsigned)atoi(getenv("RACES"))
			 : suite_seconds(0) ? RACES
					    : RACES_SHORT;
	const struct ropefs_init_opts init = { .key_file = key };
	struct ropefs_remote_opts opts;
	char store[4200];
	struct ropefs *fs;

	if (access(MEMORY, W_OK) == 0) /* not a test of the disk */
		setenv("TMPDIR", MEMORY, 0);
	snprintf(base, sizeof(base), "%s", suite_tmpdir());
	snprintf(key, sizeof(key), "%s/key", base);
	snprintf(store, sizeof(store), "%s/a", base);
	snprintf(url, sizeof(url), "file://%s/bucket", base);
	if (getenv("OBJECT_URL"))
		snprintf(url, sizeof(url), "%s", getenv("OBJECT_URL"));
	else
		run("mkdir '%s/bucket'", base);
	ck_ok(ropefs_init(store, &init, NULL));
	ck_ok(ropefs_open(store, &(struct ropefs_opts) { .key_file = key }, &fs));
	opts = bucket();
	ck_ok(ropefs_remote_add(fs, &opts));
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	for (unsigned i = 0; i < races; i++)
		race(i);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("races");
	TCase *t = tcase_create("races");

	tcase_set_timeout(t, 600);
	tcase_add_test(t,
		       of_two_devices_that_think_they_are_the_writer_one_wins_each_race);
	suite_add_tcase(s, t);
	return suite_main(s);
}
