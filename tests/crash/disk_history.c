/* disk_history.c - a history on a mount whose disk writes a log (disk_log.c).
 *
 * disk_history record DIR MARK STEPS makes DIR and changes it; before each step, and when one is
 * durable, MARK is told (struct mark). disk_history check DIR BEGUN DURABLE: DIR is what the first
 * k steps make of it, DURABLE <= k <= BEGUN. SEED in the environment. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/history.h"

struct mark {
	uint64_t begun, durable;
};

static uint64_t seed;

static struct rng history_rng(void)
{
	return rng_seeded(seed * 0x9e3779b97f4a7c15u);
}

static bool tell(int mark, uint64_t begun, uint64_t durable)
{
	const struct mark m = { begun, durable };

	return pwrite(mark, &m, sizeof(m), 0) == sizeof(m);
}

static int make(const char *name)
{
	int dir = mkdir(name, 0755) < 0 ? -1 : open(name, O_RDONLY | O_DIRECTORY);

	if (dir < 0 || folder_make(dir) < 0 || syncfs(dir) < 0) {
		perror(name);
		return -1;
	}
	return dir;
}

/* Another program, whose bytes checkpoints have to write too; nobody syncs them. */
static pid_t noise(const char *name)
{
	static uint8_t bytes[300000];
	struct rng rng = rng_seeded(seed + 1);
	char file[4096];
	pid_t pid = fork();

	for (unsigned i = 0; pid == 0; i++) {
		int fd;

		rng_fill(&rng, bytes, sizeof(bytes));
		snprintf(file, sizeof(file), "%s-%u", name, i % 8);
		fd = open(file, O_CREAT | O_WRONLY | O_TRUNC, 0644);
		if (fd < 0 || write(fd, bytes, sizeof(bytes)) < 0)
			_exit(1);
		close(fd);
		usleep(20000);
	}
	return pid;
}

static int record(const char *name, const char *mark_name, uint64_t steps)
{
	struct rng rng = history_rng(), syncs = rng_seeded(rng.state + 1);
	struct folder f = { 0 };
	int dir = make(name), mark = open(mark_name, O_WRONLY);
	pid_t other = noise(name);
	uint64_t durable = 0;
	bool ok = dir >= 0 && mark >= 0 && tell(mark, 0, 0);

	for (uint64_t i = 0; ok && i < steps; i++) {
		struct step s = step_next(&rng, HISTORY_MIXED, &f);
		bool sync = rng_below(&syncs, 4) == 0;
		int r;

		ok = tell(mark, i + 1, durable);
		r = ok ? step_do(dir, &s, sync) : 0;
		if (r < 0) {
			printf("step %llu: %s: %s\n", (unsigned long long)i,
			       step_text(&s), strerror(-r));
			ok = false;
			break;
		}
		if (sync) {
			durable = i + 1;
			ok &= tell(mark, i + 1, durable);
		}
		for (unsigned part = 0; part < step_parts(&s); part++)
			step_apply(&s, part, &f);
	}
	if (other > 0) {
		kill(other, SIGKILL);
		waitpid(other, NULL, 0);
	}
	if (!ok)
		perror(mark_name);
	return ok ? 0 : 1;
}

static int check(const char *name, uint64_t begun, uint64_t durable)
{
	int dir = open(name, O_RDONLY | O_DIRECTORY);
	struct folder now, f = { 0 };
	int r = dir < 0 ? -errno : folder_read(dir, &now);

	if (r < 0) {
		printf("%s can't be read: %s\n", name, strerror(-r));
		return 1;
	}
	return history_find(history_rng(), HISTORY_MIXED, &f, durable, begun, &now).any
		       ? 0
		       : 1;
}

int main(int argc, char **argv)
{
	seed = suite_seed();
	if (argc == 5 && !strcmp(argv[1], "record"))
		return record(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	if (argc == 5 && !strcmp(argv[1], "check"))
		return check(argv[2], strtoull(argv[3], NULL, 10),
			     strtoull(argv[4], NULL, 10));
	fprintf(stderr, "usage: disk_history record DIR MARK STEPS\n"
			"       disk_history check DIR BEGUN DURABLE\n");
	return 2;
}
