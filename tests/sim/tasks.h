/* tasks.h - several tasks on one thread: which goes on, and when, is drawn from a seed. A task
 * may give way where it takes or drops a lock of the engine, waits, or calls the disk. */
#ifndef ROPEFS_TESTS_SIM_TASKS_H
#define ROPEFS_TESTS_SIM_TASKS_H

#include <stdbool.h>

#include "tests/lib/suite.h"

#define TASKS_MAX 4

struct sim_task {
	void (*run)(void *arg);
	void *arg;
};

/* Runs the tasks until each has returned. Tasks that wait for each other for ever end the
 * process. Not to be nested. */
void tasks_run(uint64_t seed, const struct sim_task *tasks, size_t n);
/* Another task may go on here. Nothing outside of tasks_run(). */
void tasks_point(void);
/* The task does not give way until it is unpinned; it waits for nothing meanwhile. */
void tasks_pin(bool on);

#endif
