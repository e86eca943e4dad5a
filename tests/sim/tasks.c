/* tasks.c - tasks as contexts (ucontext(3)); the engine's locks, wrapped by the linker, know
 * which task holds them. A wait on a condition ends at once, as it may at any time: whoever
 * waits looks again after the others had their turn. */
#include "tests/sim/tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "core/base/lock.h"
#include "core/base/util.h"
#include "tests/sim/world.h"

#define STACK_BYTES (512 * KIB)
#define HELD_MAX    8
#define FRUITLESS_MAX                                                                    \
	100000u /* turns without a lock taken, a call made or a task ended */

void __real_lock_take(struct lock *l);
void __real_lock_drop(struct lock *l);
bool __real_lock_held(const struct lock *l);
int __real_lock_wait(struct lock *l, pthread_cond_t *c, uint64_t until_ns);
void __wrap_lock_take(struct lock *l);
void __wrap_lock_drop(struct lock *l);
bool __wrap_lock_held(const struct lock *l);
int __wrap_lock_wait(struct lock *l, pthread_cond_t *c, uint64_t until_ns);

struct context {
	ucontext_t uc;
	struct sim_task task;
	bool done;
	const struct lock *held[HELD_MAX];
	unsigned n_held;
};

static struct {
	bool on, pinned;
	struct rng rng;
	struct context at[TASKS_MAX];
	size_t n, now;
	unsigned fruitless;
	ucontext_t back;
} sched;

static uint8_t *stack_of(size_t i)
{
	static uint8_t *stacks[TASKS_MAX];

	if (!stacks[i])
		stacks[i] = malloc(STACK_BYTES);
	if (!stacks[i])
		abort();
	return stacks[i];
}

/* Another one that has not ended, each as likely; the same when there is none. */
static size_t draw_other(void)
{
	size_t choice = sched.now, n = 0;

	for (size_t i = 0; i < sched.n; i++)
		if (i != sched.now && !sched.at[i].done &&
		    rng_below(&sched.rng, ++n) == 0)
			choice = i;
	return choice;
}

static void give_way(void)
{
	size_t from = sched.now, to = draw_other();

	if (++sched.fruitless > FRUITLESS_MAX) {
		printf("# violation: tasks wait for each other\n");
		fflush(stdout);
		exit(1);
	}
	if (to == from)
		return;
	sched.now = to;
	sim_totals.switches++;
	swapcontext(&sched.at[from].uc, &sched.at[to].uc);
}

void tasks_point(void)
{
	if (!sched.on)
		return;
	sched.fruitless = 0;
	if (!sched.pinned && rng_below(&sched.rng, 4) == 0)
		give_way();
}

void tasks_pin(bool on)
{
	sched.pinned = on;
}

static void task_main(void)
{
	struct context *c = &sched.at[sched.now];
	size_t next;

	c->task.run(c->task.arg);
	assert(c->n_held == 0);
	c->done = true;
	sched.fruitless = 0;
	next = draw_other();
	if (sched.at[next].done)
		setcontext(&sched.back);
	sched.now = next;
	setcontext(&sched.at[next].uc);
	abort();
}

void tasks_run(uint64_t seed, const struct sim_task *tasks, size_t n)
{
	assert(!sched.on && n > 0 && n <= TASKS_MAX);
	sched.rng = rng_seeded(seed);
	sched.n = n;
	sched.now = (size_t)rng_below(&sched.rng, n);
	sched.fruitless = 0;
	for (size_t i = 0; i < n; i++) {
		struct context *c = &sched.at[i];

		*c = (struct context) { .task = tasks[i] };
		getcontext(&c->uc);
		c->uc.uc_stack.ss_sp = stack_of(i);
		c->uc.uc_stack.ss_size = STACK_BYTES;
		makecontext(&c->uc, task_main, 0);
	}
	sched.on = true;
	swapcontext(&sched.back, &sched.at[sched.now].uc);
	sched.on = false;
}

/* --- the engine's locks --- */

static bool held_by(const struct context *c, const struct lock *l)
{
	for (unsigned i = 0; i < c->n_held; i++)
		if (c->held[i] == l)
			return true;
	return false;
}

static bool is_free(const struct lock *l)
{
	for (size_t i = 0; i < sched.n; i++)
		if (held_by(&sched.at[i], l))
			return false;
	return true;
}

void __wrap_lock_take(struct lock *l)
{
	struct context *c;

	if (!sched.on) {
		__real_lock_take(l);
		return;
	}
	tasks_point();
	while (!is_free(l))
		give_way();
	sched.fruitless = 0;
	c = &sched.at[sched.now];
	assert(c->n_held < HELD_MAX);
	assert(!c->n_held || c->held[c->n_held - 1]->rank < l->rank);
	c->held[c->n_held++] = l;
}

static void forget(const struct lock *l)
{
	struct context *c = &sched.at[sched.now];
	unsigned i = 0;

	while (i < c->n_held && c->held[i] != l)
		i++;
	assert(i < c->n_held);
	for (c->n_held--; i < c->n_held; i++)
		c->held[i] = c->held[i + 1];
}

void __wrap_lock_drop(struct lock *l)
{
	if (!sched.on) {
		__real_lock_drop(l);
		return;
	}
	forget(l);
	tasks_point();
}

bool __wrap_lock_held(const struct lock *l)
{
	return sched.on ? held_by(&sched.at[sched.now], l) : __real_lock_held(l);
}

int __wrap_lock_wait(struct lock *l, pthread_cond_t *c, uint64_t until_ns)
{
	if (!sched.on)
		return __real_lock_wait(l, c, until_ns);
	forget(l);
	give_way();
	while (!is_free(l))
		give_way();
	sched.at[sched.now].held[sched.at[sched.now].n_held++] = l;
	return 0;
}
