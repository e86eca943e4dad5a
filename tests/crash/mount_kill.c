/* mount_kill.c - kills the daemon under programs that use its mount, again and again.
 *
 * mount_kill STORE KEY MOUNTPOINT, with the daemon's path in ROPEFS; ROUNDS and SEED are taken
 * from the environment. In each round several client processes do random histories
 * (history.h), each in a folder of its own, while an oracle in shared memory notes which
 * steps they have begun, finished and had made durable. The daemon gets SIGKILL; after a new
 * mount
 * - each folder is what the first k steps of its history make of it, k at least the steps
 *   that were durable and at most those begun;
 * - steps of all clients are lost in the order they were made: nothing is there that began
 *   after something lost had finished.
 * Clients see no error before the kill.
 *
 * Where the store lies on a filesystem of its own (lower.h), that loses its power in each round,
 * and the daemon is killed then. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/history.h"
#include "tests/crash/lower.h"

enum {
	CLIENTS = 6,
	STEPS_MAX = 1 << 16, /* of a client in a round */
	ROUND_S_MAX = 240,
	DURABLE_TRIES = 12000,
	FOUND_ERROR = 3, /* a client's status: an error before the kill */
};

struct client {
	_Atomic uint64_t begun, finished, durable; /* steps */
	uint64_t begin[STEPS_MAX], end[STEPS_MAX]; /* moments, by oracle.clock */
};

/* Shared by all processes. */
struct oracle {
	_Atomic uint64_t clock;
	_Atomic bool killed, cut; /* the daemon; what is below it */
	struct client client[CLIENTS];
};

static struct oracle *oracle;
static const char *store, *key, *mountpoint, *program;
static struct folder folders[CLIENTS]; /* as they were when the round began */
static volatile pid_t daemon_pid;
static uint64_t seed, steps_durable, steps_lost, checkpoints;

static const enum history_role roles[CLIENTS] = { HISTORY_LOG,	 HISTORY_LOG,
						  HISTORY_TEXT,	 HISTORY_TEXT,
						  HISTORY_NAMES, HISTORY_MIXED };

static void nap_us(uint64_t us)
{
	struct timespec t = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&t, NULL);
}

/* What hangs ends with the daemon. */
static void on_alarm(int signo)
{
	static const char text[] = "a round takes too long: killing the daemon\n";

	(void)signo;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) > 0 && daemon_pid > 0)
		kill(daemon_pid, SIGKILL);
}

/* --- the daemon --- */

static const char *const options[][5] = {
	{ NULL },
	{ "--memory", "32M", NULL }, /* many checkpoints */
	{ "--memory", "32M", "-o", "window=1000", NULL },
	{ "-o", "window=5", NULL },
	{ "-o", "durability=sync", NULL },
};

static void daemon_spawn(unsigned variant)
{
	const char *args[12] = { program, "-f", "--key-file", key };
	unsigned n = 4;

	for (unsigned i = 0; options[variant][i]; i++)
		args[n++] = options[variant][i];
	args[n++] = store;
	args[n++] = mountpoint;
	fflush(stdout);
	daemon_pid = fork();
	if (daemon_pid == 0) {
		execv(program, (char **)args);
		_exit(127);
	}
}

static bool daemon_mount(unsigned variant)
{
	char status[4096];
	struct stat st;
	int how;

	snprintf(status, sizeof(status), "%s/.ropefs/status", mountpoint);
	daemon_spawn(variant);
	while (stat(status, &st) < 0) {
		if (waitpid(daemon_pid, &how, WNOHANG) == daemon_pid) {
			printf("the daemon ended with status 0x%x instead of mounting\n",
			       how);
			daemon_pid = -1;
			return false;
		}
		nap_us(2000);
	}
	return true;
}

static uint64_t daemon_checkpoints(void)
{
	char name[4096], text[8192];
	const char *at;
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "%s/.ropefs/status", mountpoint);
	fd = open(name, O_RDONLY);
	n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	close(fd);
	text[n > 0 ? n : 0] = 0;
	at = strstr(text, "\"checkpoints\":");
	return at ? strtoull(at + strlen("\"checkpoints\":"), NULL, 10) : 0;
}

static void daemon_kill(void)
{
	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	daemon_pid = -1;
	umount2(mountpoint, MNT_DETACH);
}

/* --- clients --- */

static int folder_open(unsigned c)
{
	char name[4096];

	snprintf(name, sizeof(name), "%s/client%u", mountpoint, c);
	return open(name, O_RDONLY | O_DIRECTORY);
}

static bool folders_make(void)
{
	char name[4096];
	int dir, r;

	for (unsigned c = 0; c < CLIENTS; c++) {
		snprintf(name, sizeof(name), "%s/client%u", mountpoint, c);
		dir = mkdir(name, 0755) < 0 ? -1 : folder_open(c);
		r = dir < 0 ? -errno : folder_make(dir);
		if (dir >= 0)
			close(dir);
		if (r < 0) {
			printf("client %u: no folder: %s\n", c, strerror(-r));
			return false;
		}
	}
	dir = open(mountpoint, O_RDONLY | O_DIRECTORY);
	r = dir < 0 ? -1 : syncfs(dir);
	if (r < 0)
		printf("syncing the folders: %s\n", strerror(errno));
	close(dir);
	return r == 0;
}

static struct rng history_rng(uint64_t round, unsigned c)
{
	return rng_seeded(seed ^ (round * CLIENTS + c) * 0x9e3779b97f4a7c15u);
}

static void client_failed(unsigned c, const struct step *s, int r)
{
	if (atomic_load(&oracle->killed))
		_exit(0);
	printf("client %u: %s: %s\n", c, step_text(s), strerror(-r));
	fflush(stdout);
	_exit(FOUND_ERROR);
}

static void client_main(uint64_t round, unsigned c)
{
	struct rng rng = history_rng(round, c), syncs = rng_seeded(rng.state + 1);
	struct client *me = &oracle->client[c];
	struct folder *f = &folders[c];
	int dir = folder_open(c);

	for (uint64_t i = 0; i < STEPS_MAX; i++) {
		struct step s = step_next(&rng, roles[c], f);
		bool sync = rng_below(&syncs, 8) == 0;
		int r;

		me->begin[i] = atomic_fetch_add(&oracle->clock, 1);
		atomic_store(&me->begun, i + 1);
		r = dir < 0 ? -ENOTDIR : step_do(dir, &s, sync);
		if (r < 0)
			client_failed(c, &s, r);
		me->end[i] = atomic_fetch_add(&oracle->clock, 1);
		atomic_store(&me->finished, i + 1);
		if (sync && !atomic_load(&oracle->cut))
			atomic_store(&me->durable, i + 1);
		for (unsigned part = 0; part < step_parts(&s); part++)
			step_apply(&s, part, f);
	}
	_exit(0);
}

static bool clients_reap(const pid_t pids[CLIENTS])
{
	bool ok = true;
	int how;

	for (unsigned c = 0; c < CLIENTS; c++) {
		waitpid(pids[c], &how, 0);
		if (!WIFEXITED(how) || WEXITSTATUS(how)) {
			printf("client %u ended with status 0x%x\n", c, how);
			ok = false;
		}
	}
	return ok;
}

static void clients_start(uint64_t round, pid_t pids[CLIENTS])
{
	atomic_store(&oracle->clock, 0);
	atomic_store(&oracle->killed, false);
	atomic_store(&oracle->cut, false);
	fflush(stdout);
	for (unsigned c = 0; c < CLIENTS; c++) {
		atomic_store(&oracle->client[c].begun, 0);
		atomic_store(&oracle->client[c].finished, 0);
		atomic_store(&oracle->client[c].durable, 0);
		pids[c] = fork();
		if (pids[c] == 0)
			client_main(round, c);
	}
}

/* In one of the rounds at least there is something to lose, however slow the disk is. */
static void await_durable(void)
{
	for (unsigned tries = 0; !steps_durable && tries < DURABLE_TRIES; tries++) {
		for (unsigned c = 0; c < CLIENTS; c++)
			if (atomic_load(&oracle->client[c].durable))
				return;
		nap_us(10000);
	}
}

/* --- what must be there --- */

static struct found folder_find(uint64_t round, unsigned c, const struct folder *now)
{
	const struct client *me = &oracle->client[c];
	struct found found = history_find(history_rng(round, c), roles[c], &folders[c],
					  me->durable, me->begun, now);

	if (!found.any)
		printf("that was client %u\n", c);
	return found;
}

/* Nothing is there that began after something lost had finished. */
static bool order_check(const struct found found[CLIENTS])
{
	bool ok = true;

	for (unsigned a = 0; a < CLIENTS; a++) {
		const struct client *loser = &oracle->client[a];
		uint64_t lost = found[a].first_lost;

		if (lost >= loser->finished)
			continue;
		for (unsigned b = 0; b < CLIENTS; b++) {
			uint64_t there = found[b].there;

			if (!there ||
			    oracle->client[b].begin[there - 1] < loser->end[lost])
				continue;
			printf("client %u lost step %llu, finished at %llu, but client "
			       "%u has "
			       "step %llu, begun at %llu\n",
			       a, (unsigned long long)lost,
			       (unsigned long long)loser->end[lost], b,
			       (unsigned long long)there - 1,
			       (unsigned long long)oracle->client[b].begin[there - 1]);
			ok = false;
		}
	}
	return ok;
}

static bool folder_check(uint64_t round, unsigned c, struct found *ret_found)
{
	const struct client *me = &oracle->client[c];
	int dir = folder_open(c), r;
	struct folder now;

	r = dir < 0 ? -errno : folder_read(dir, &now);
	if (dir >= 0)
		close(dir);
	if (r < 0) {
		printf("client %u: its folder can't be read: %s\n", c, strerror(-r));
		return false;
	}
	*ret_found = folder_find(round, c, &now);
	folder_release(&folders[c]);
	folders[c] = now;
	steps_durable += me->durable;
	steps_lost += me->finished > ret_found->first_lost
			      ? me->finished - ret_found->first_lost
			      : 0;
	return ret_found->any;
}

static bool all_check(uint64_t round)
{
	struct found found[CLIENTS] = { 0 };
	bool ok = true;

	for (unsigned c = 0; c < CLIENTS; c++)
		ok &= folder_check(round, c, &found[c]);
	return ok && order_check(found);
}

/* --- rounds --- */

static bool cut(void)
{
	bool ok = true;

	if (lower_given()) {
		atomic_store(&oracle->cut, true);
		ok = lower_cut();
	}
	daemon_kill();
	return ok && (!lower_given() || lower_back());
}

/* Sometimes while the daemon is ending by itself, sometimes the next one while it recovers. */
static bool kill_somehow(struct rng *rng)
{
	bool ok;

	checkpoints += daemon_checkpoints();
	atomic_store(&oracle->killed, true);
	if (rng_below(rng, 4) == 0) {
		kill(daemon_pid, SIGTERM);
		nap_us(rng_below(rng, 60000));
	}
	ok = cut();
	while (ok && rng_below(rng, 4) == 0) {
		daemon_spawn(0);
		nap_us(rng_below(rng, 60000));
		ok = cut();
	}
	return ok;
}

static bool one_round(struct rng *rng, uint64_t round)
{
	pid_t pids[CLIENTS];
	bool ok;

	alarm(ROUND_S_MAX);
	clients_start(round, pids);
	nap_us(20000 + rng_below(rng, 500000));
	await_durable();
	ok = kill_somehow(rng);
	ok &= clients_reap(pids);
	if (!ok)
		return false;
	if (!daemon_mount((unsigned)rng_below(rng, sizeof(options) / sizeof(options[0]))))
		return false;
	ok &= all_check(round);
	alarm(0);
	if (!ok)
		printf("in round %llu\n", (unsigned long long)round);
	return ok;
}

static bool all_rounds(unsigned rounds)
{
	struct rng rng = rng_seeded(seed);

	if (!daemon_mount(0) || !folders_make())
		return false;
	for (unsigned round = 0; round < rounds; round++)
		if (!one_round(&rng, round))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	const char *rounds = getenv("ROUNDS");
	unsigned n = rounds ? (unsigned)strtoul(rounds, NULL, 10) : 50;
	bool ok;

	if (argc != 4 || !(program = getenv("ROPEFS"))) {
		fprintf(stderr, "usage: ROPEFS=DAEMON mount_kill STORE KEY MOUNTPOINT\n");
		return 2;
	}
	store = argv[1];
	key = argv[2];
	mountpoint = argv[3];
	oracle = mmap(NULL, sizeof(*oracle), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (oracle == MAP_FAILED)
		return 1;
	signal(SIGALRM, on_alarm);
	seed = suite_seed();
	ok = all_rounds(n);
	printf("%u kills: %llu steps durable, %llu finished ones lost, %llu "
	       "checkpoints\n",
	       n, (unsigned long long)steps_durable, (unsigned long long)steps_lost,
	       (unsigned long long)checkpoints);
	if (daemon_pid > 0)
		daemon_kill();
	return ok ? 0 : 1;
}
