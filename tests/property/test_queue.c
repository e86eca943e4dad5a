/* test_queue.c - random changes of a queue, on the simulated disk, against a plain list of
 * records: appends of all framings, trims, emptying, cursors, checkpoints; the process killed or
 * the power going at any call. What is there afterwards is the queue as it was at some moment not
 * older than the last sync, with every record whole, and found by its id and by its time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/queue.h"
#include "tests/lib/suite.h"

#define RECORD_MAX 3000
#define STATES_MAX 4096
#define CURSORS	   3

struct list_record {
	uint8_t *p;
	size_t n;
	int64_t time; /* 0: not known yet */
};

/* What a moment of the queue is told by. */
struct state {
	uint64_t resets, first, next;
	uint64_t cursors[CURSORS]; /* UINT64_MAX: none */
};

struct world {
	struct io *io;
	struct key_file *kf;
	struct ropefs *fs;
	struct rng rng;
	uint64_t ino;
	struct ropefs_queue how;
	struct list_record *list; /* of the present time between two resets */
	size_t n, cap;
	struct list_record
		*before; /* of the time before the last reset, while it may return */
	size_t n_before;
	struct state states[STATES_MAX]; /* [0]: known to be durable */
	size_t n_states;
	uint64_t appends, trims, crashes, cuts, reads, longest;
};

static struct world w;

static struct state *now(void)
{
	return &w.states[w.n_states - 1];
}

static void push(const struct state *s)
{
	ck_assert_uint_lt(w.n_states, STATES_MAX);
	w.states[w.n_states++] = *s;
}

static void list_free(struct list_record *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].p);
	free(list);
}

static void durable(void)
{
	w.states[0] = *now();
	w.n_states = 1;
	list_free(w.before, w.n_before);
	w.before = NULL;
	w.n_before = 0;
}

static void list_add(const uint8_t *p, size_t n)
{
	if (w.n == w.cap) {
		w.cap = w.cap ? 2 * w.cap : 64;
		w.list = realloc(w.list, w.cap * sizeof(*w.list));
		ck_assert_ptr_nonnull(w.list);
	}
	w.list[w.n] = (struct list_record) { malloc(n + 1), n, 0 };
	memcpy(w.list[w.n++].p, p, n);
}

/* --- the store against the list --- */

static bool store_is(const struct state *s)
{
	struct ropefs_queue q;

	ck_ok(ropefs_queue_info(w.fs, w.ino, &q));
	if (q.resets != s->resets || q.first != s->first || q.next != s->next)
		return false;
	for (unsigned i = 0; i < CURSORS; i++) {
		char name[2] = { (char)('a' + (int)i), 0 };
		struct ropefs_cursor c;
		int r = ropefs_cursor_get(w.fs, w.ino, name, &c);

		if (s->cursors[i] == UINT64_MAX ? r != -ENOENT
						: r < 0 || c.id != s->cursors[i])
			return false;
	}
	return true;
}

static void check_record(const struct ropefs_record *rec, const uint8_t *p)
{
	struct list_record *want = &w.list[rec->id];

	ck_assert_uint_eq(rec->n, want->n);
	ck_assert(!memcmp(p, want->p, rec->n));
	if (want->time)
		ck_assert_int_eq(rec->time.ns, want->time);
	want->time = rec->time.ns;
	if (rec->id > now()->first && w.list[rec->id - 1].time)
		ck_assert_int_ge(rec->time.ns, w.list[rec->id - 1].time);
}

static void read_from(uint64_t id, uint64_t to)
{
	static uint8_t bytes[ROPEFS_WRITE_MAX];
	struct ropefs_record recs[64];
	struct ropefs_batch b = { .id = id, .records = recs, .p = bytes };

	while (b.id < to) {
		size_t at = 0;

		b.max = 1 + (unsigned)rng_below(&w.rng, 64);
		b.n = RECORD_MAX + rng_below(&w.rng, 20000);
		ck_ok(ropefs_queue_read(w.fs, w.ino, &b, 0));
		ck_assert_uint_gt(b.count, 0);
		for (unsigned i = 0; i < b.count; i++) {
			ck_assert_uint_eq(recs[i].id, id++);
			check_record(&recs[i], bytes + at);
			at += recs[i].n;
		}
		ck_assert_uint_eq(at, b.bytes);
		w.reads += b.count;
	}
}

static void check_bytes(void)
{
	struct ropefs_attr a;
	uint64_t at = 0;
	uint8_t *p;

	ck_ok(ropefs_getattr(w.fs, w.ino, &a));
	p = malloc(a.size + 1);
	ck_assert_int_eq(ropefs_read(w.fs, w.ino, 0, p, a.size + 1, 0), (ssize_t)a.size);
	for (uint64_t id = now()->first; id < now()->next; id++) {
		const struct list_record *rec = &w.list[id];

		ck_assert_uint_le(at + rec->n, a.size);
		ck_assert(!memcmp(p + at, rec->p, rec->n));
		at += rec->n;
	}
	ck_assert_uint_eq(at, a.size);
	free(p);
}

static void check_all(void)
{
	struct inode *in;

	ck_assert(store_is(now()));
	read_from(now()->first, now()->next);
	check_bytes();
	lock_take(&w.fs->engine);
	ck_ok(inode_get(w.fs, w.ino, &in));
	ck_assert_msg(queue_check(w.fs, in) == 0, "%s", err_detail());
	lock_drop(&w.fs->engine);
}

static void check_times(void)
{
	const struct state *s = now();
	uint64_t id, got, where;

	if (s->first == s->next)
		return;
	id = s->first + rng_below(&w.rng, s->next - s->first);
	read_from(id, id + 1);
	ck_ok(ropefs_queue_find_time(w.fs, w.ino,
				     (struct ropefs_time) { w.list[id].time }, &got));
	ck_assert_uint_le(got, id);
	if (got < id) {
		read_from(got, id);
		ck_assert_int_eq(w.list[got].time, w.list[id].time);
	}
	if (got > s->first) {
		read_from(got - 1, got);
		ck_assert_int_lt(w.list[got - 1].time, w.list[id].time);
	}
	ck_ok(ropefs_queue_offset(w.fs, w.ino, id, &where));
	ck_assert_int_eq(ropefs_queue_offset(w.fs, w.ino, s->next + 1, &where), -ERANGE);
}

/* --- changes --- */

static void step_append(void)
{
	static uint8_t bytes[RECORD_MAX * 40];
	struct state s = *now();
	size_t n = 0, count = 1;
	uint64_t id;

	if (w.how.framing != ROPEFS_WRITE && rng_below(&w.rng, 4) == 0)
		count = 1 + rng_below(&w.rng, 40);
	for (size_t i = 0; i < count; i++) {
		size_t len = rng_below(&w.rng, rng_below(&w.rng, 8) ? 40 : RECORD_MAX);
		uint8_t *p = bytes + n;

		if (w.how.framing == ROPEFS_LENGTH)
			len = w.how.length;
		rng_fill(&w.rng, p, len);
		if (w.how.framing == ROPEFS_LINE) {
			for (size_t k = 0; k < len; k++)
				p[k] = (uint8_t)('a' + p[k] % 26);
			p[len++] = '\n';
		}
		n += len;
		list_add(p, len);
	}
	s.next += count;
	push(&s);
	ck_assert_int_eq(ropefs_append(w.fs, w.ino, bytes, n, 0, &id), (ssize_t)n);
	ck_assert_uint_eq(id, s.next - count);
	w.appends += count;
}

static void step_trim(void)
{
	struct state s = *now();

	if (s.first == s.next)
		return;
	s.first += rng_below(&w.rng, s.next - s.first + 1);
	push(&s);
	ck_ok(ropefs_queue_trim(w.fs, w.ino, s.first));
	w.trims++;
}

static void step_reset(void)
{
	struct state s = *now();

	/* One time before the present one is all that is kept. */
	ck_ok(ropefs_sync(w.fs));
	durable();
	w.before = w.list;
	w.n_before = w.n;
	w.list = NULL;
	w.n = w.cap = 0;
	s.resets++;
	s.first = s.next = 0;
	for (unsigned i = 0; i < CURSORS; i++)
		if (s.cursors[i] != UINT64_MAX)
			s.cursors[i] = 0;
	push(&s);
	ck_ok(ropefs_truncate(w.fs, w.ino, 0));
}

static void step_cursor(void)
{
	unsigned i = (unsigned)rng_below(&w.rng, CURSORS);
	char name[2] = { (char)('a' + (int)i), 0 };
	struct state s = *now();

	if (s.cursors[i] != UINT64_MAX && rng_below(&w.rng, 4) == 0) {
		s.cursors[i] = UINT64_MAX;
		push(&s);
		ck_ok(ropefs_cursor_remove(w.fs, w.ino, name));
		return;
	}
	s.cursors[i] = s.first + rng_below(&w.rng, s.next - s.first + 1);
	push(&s);
	ck_ok(ropefs_cursor_commit(w.fs, w.ino, name, s.cursors[i]));
	ck_assert_int_eq(ropefs_cursor_commit(w.fs, w.ino, name, s.next + 1), -ERANGE);
}

static void refused_changes(void)
{
	struct ropefs_range here = { w.ino, 0, 0 };
	uint64_t size = 0;

	ropefs_queue_offset(w.fs, w.ino, now()->next, &size);
	if (!size)
		return;
	ck_assert_int_eq(ropefs_write(w.fs, w.ino, 0, "x", 1, 0, NULL), -EPERM);
	ck_assert_int_eq(ropefs_insert(w.fs, w.ino, 0, "x", 1, 0), -EPERM);
	ck_assert_int_eq(ropefs_cut(w.fs, w.ino, 0, 1), -EPERM);
	ck_assert_int_eq(ropefs_truncate(w.fs, w.ino, size + 1), -EPERM);
	ck_assert_int_eq(ropefs_punch(w.fs, w.ino, 0, 1, true), -EPERM);
	ck_assert_int_eq(ropefs_replace(w.fs, here, here), -EPERM);
}

/* --- lives --- */

static void open_store(void)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };
	struct ropefs_attr a;

	o.pub.memory_bytes = 32 * MIB;
	ck_ok(store_open(w.io, w.kf, &o, &w.fs));
	w.fs->hot_soft = 256 * KIB;
	nodes_set_budget(w.fs->nodes, 64 * KIB);
	ck_ok(ropefs_lookup(w.fs, ROPEFS_ROOT_INO, ropefs_name("q"), &a));
	ck_assert(a.is_queue);
	w.ino = a.ino;
}

/* The list as it was at a state that is older. */
static void go_back(const struct state *s)
{
	if (s->resets != now()->resets) {
		list_free(w.list, w.n);
		w.list = w.before;
		w.n = w.cap = w.n_before;
		w.before = NULL;
		w.n_before = 0;
	}
	while (w.n > s->next)
		free(w.list[--w.n].p);
	w.states[0] = *s;
	w.n_states = 1;
}

static void world_crash(bool power)
{
	size_t i;

	store_abandon(w.fs, true);
	if (power)
		io_sim_power_cut(w.io);
	else
		io_sim_kill(w.io);
	w.crashes++;
	open_store();
	for (i = w.n_states; i > 0 && !store_is(&w.states[i - 1]); i--)
		;
	ck_assert_msg(i > 0, "the queue is none of %zu states", w.n_states);
	w.cuts += i < w.n_states;
	struct state s = w.states[i - 1];

	go_back(&s);
	ck_ok(ropefs_sync(w.fs));
	check_all();
}

static void world_reopen(void)
{
	struct io *io = w.io;

	ck_ok(checkpoint_run(w.fs, true));
	durable();
	w.io = store_abandon(w.fs, true);
	ck_assert_ptr_eq(io, w.io);
	io_sim_kill(w.io);
	open_store();
	check_all();
}

static void step(void)
{
	unsigned dice = (unsigned)rng_below(&w.rng, 1000);

	if (w.n_states > STATES_MAX - 8)
		dice = 990;
	if (dice < 800)
		step_append();
	else if (dice < 830)
		step_trim();
	else if (dice < 832)
		step_reset();
	else if (dice < 870)
		step_cursor();
	else if (dice < 920)
		check_times();
	else if (dice < 930)
		refused_changes();
	else if (dice < 950)
		ck_ok(checkpoint_run(w.fs, false));
	else if (dice < 955)
		check_all();
	else if (dice < 960)
		world_crash(true);
	else if (dice < 964)
		world_crash(false);
	else if (dice < 967)
		world_reopen();
	else if (dice < 992)
		ck_ok(ropefs_sync(w.fs));
	else
		io_sim_advance(w.io, rng_below(&w.rng, 10000000000));
	if ((dice >= 967 && dice < 992) || (dice >= 930 && dice < 950))
		durable();
	w.longest = MAX(w.longest, now()->next - now()->first);
}

static void world_new(enum ropefs_framing framing)
{
	static const char *const words[] = { "", "line", "write", "length:17" };
	struct ropefs_new new = { .mode = S_IFREG | 0600 };
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };
	const uint8_t id[STORE_ID_BYTES] = { 7 };
	struct state s = { 0 };
	struct ropefs_attr a;

	o.pub.memory_bytes = 32 * MIB;
	ck_ok(io_sim_new(rng_next(&w.rng), &w.io));
	ck_ok(store_init(w.io, w.kf, CIPHER_NONE, id));
	ck_ok(store_open(w.io, w.kf, &o, &w.fs));
	ck_ok(ropefs_setxattr(w.fs, ROPEFS_ROOT_INO, "user.ropefs.kind", "queue", 5, 0));
	ck_ok(ropefs_setxattr(w.fs, ROPEFS_ROOT_INO, "user.ropefs.framing",
			      words[framing], strlen(words[framing]), 0));
	ck_ok(ropefs_create(w.fs, ROPEFS_ROOT_INO, ropefs_name("q"), &new, &a));
	ck_ok(ropefs_sync(w.fs));
	w.ino = a.ino;
	ck_ok(ropefs_queue_info(w.fs, a.ino, &w.how));
	ck_assert_uint_eq(w.how.framing, framing);
	for (unsigned i = 0; i < CURSORS; i++)
		s.cursors[i] = UINT64_MAX;
	w.states[0] = s;
	w.n_states = 1;
}

static void world_end(void)
{
	struct ropefs_name q = ropefs_name("q");

	check_all();
	ck_ok(ropefs_unlink(w.fs, ROPEFS_ROOT_INO, q));
	ck_ok(checkpoint_run(w.fs, true));
	ck_assert_uint_eq(w.fs->n_inodes, 1);
	io_free(store_abandon(w.fs, true));
	list_free(w.list, w.n);
	list_free(w.before, w.n_before);
	w.list = w.before = NULL;
	w.n = w.cap = w.n_before = 0;
}

START_TEST(a_queue_is_a_list_of_records)
{
	enum { FRAMINGS = ROPEFS_LENGTH + 1 - ROPEFS_LINE };
	time_t end = time(NULL) + (time_t)suite_seconds(6) / FRAMINGS;
	const uint8_t id[STORE_ID_BYTES] = { 7 };
	char key[4200];

	snprintf(key, sizeof(key), "%s/%d.key", suite_tmpdir(), _i);
	ck_ok(keys_init_library());
	ck_ok(key_file_create(key, id));
	ck_ok(key_file_read(key, &w.kf));
	w.rng = rng_seeded(suite_seed() + (uint64_t)_i);
	do {
		world_new((enum ropefs_framing)_i);
		for (unsigned i = 0; i < 4000; i++)
			step();
		world_end();
	} while (time(NULL) < end);
	key_file_free(w.kf);
	printf("# %llu records, %llu trims, %llu crashes (%llu lost something), %llu "
	       "read, "
	       "longest %llu\n",
	       (unsigned long long)w.appends, (unsigned long long)w.trims,
	       (unsigned long long)w.crashes, (unsigned long long)w.cuts,
	       (unsigned long long)w.reads, (unsigned long long)w.longest);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("queue");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 3600);
	tcase_add_loop_test(tc, a_queue_is_a_list_of_records, ROPEFS_LINE,
			    ROPEFS_LENGTH + 1);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
