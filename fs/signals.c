#include "fs/signals.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_US = 200000 };

static const int passing[] = { SIGCHLD, SIGCONT, SIGIO,	 SIGPROF,   SIGSTOP, SIGTSTP,
			       SIGTTIN, SIGTTOU, SIGURG, SIGVTALRM, SIGWINCH };
/* Of no effect, where there is no handler, or none that the program would know of. */
static const int idle[] = { SIGCHLD, SIGCONT, SIGSTOP, SIGURG, SIGWINCH };

static uint64_t set_of(const int *signals, size_t n)
{
	uint64_t set = 0;

	for (size_t i = 0; i < n; i++)
		set |= UINT64_C(1) << (signals[i] - 1);
	return set;
}

/* Those that wait for a thread, and those that its process has handlers for. */
static bool read_sets(pid_t thread, uint64_t *ret_waiting, uint64_t *ret_caught)
{
	uint64_t own = 0, shared = 0, blocked = 0, caught = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	f = thread > 0 ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "SigPnd: %" SCNx64, &own);
		sscanf(line, "ShdPnd: %" SCNx64, &shared);
		sscanf(line, "SigBlk: %" SCNx64, &blocked);
		sscanf(line, "SigCgt: %" SCNx64, &caught);
	}
	fclose(f);
	*ret_waiting = (own | shared) & ~blocked;
	*ret_caught = caught;
	return true;
}

/* One that dies has SIGKILL, whatever it dies of. */
bool signals_pass(pid_t thread, enum signals_wait wait)
{
	uint64_t waiting, caught, pass;

	if (!read_sets(thread, &waiting, &caught))
		return false;
	if (wait == SIGNALS_ANSWER)
		pass = set_of(passing, sizeof(passing) / sizeof(passing[0]));
	else
		pass = set_of(idle, sizeof(idle) / sizeof(idle[0])) & ~caught;
	return !(waiting & ~pass);
}

static void *watch(void *arg)
{
	struct signals_watch *w = arg;

	pthread_setname_np(pthread_self(), "ropefs-signals");
	do
		usleep(LOOK_US);
	while (w->look(w));
	return NULL;
}

bool signals_watch_locked(struct signals_watch *w)
{
	if (w->on)
		return true;
	if (w->has_thread)
		pthread_join(w->thread, NULL); /* it has looked for the last time */
	w->has_thread = pthread_create(&w->thread, NULL, watch, w) == 0;
	w->on = w->has_thread;
	return w->on;
}

void signals_watch_stop(struct signals_watch *w)
{
	if (w->has_thread)
		pthread_join(w->thread, NULL);
	w->has_thread = false;
}
