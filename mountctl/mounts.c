#include "mountctl/mounts.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "mountctl/term.h"

void mount_release(struct mount *m)
{
	free(m->store);
	free(m->dir);
	*m = MOUNT_INIT;
}

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* One line: id parent major:minor root dir options [tags] - type source options, with
 * user_id=N among the latter. Cuts the
 * line up; false when it is no ropefs mount. */
static bool parse_line(char *line, struct mount *ret)
{
	char *rest = strstr(line, " - ");
	char *save = NULL, *word = NULL, *dir = NULL, *type, *source, *options, *user;
	unsigned major_no, minor_no;

	if (!rest)
		return false;
	*rest = '\0';
	type = strtok_r(rest + 3, " ", &save);
	source = strtok_r(NULL, " ", &save);
	options = strtok_r(NULL, " ", &save);
	user = options ? strstr(options, "user_id=") : NULL;
	if (!type || !source || strcmp(type, "fuse.ropefs"))
		return false;
	if (sscanf(line, "%*s %*s %u:%u", &major_no, &minor_no) != 2)
		return false;
	word = strtok_r(line, " ", &save);
	for (int i = 0; word && i < 4; i++)
		dir = word = strtok_r(NULL, " ", &save);
	if (!dir)
		return false;
	unescape(source);
	unescape(dir);
	*ret = (struct mount) { .store = source,
				.dir = dir,
				.dev = makedev(major_no, minor_no),
				.user = user ? (uid_t)strtoul(user + 8, NULL, 10) : 0 };
	return true;
}

static bool lies_in(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 1) /* "/" */
		return true;
	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}

struct wanted {
	const char *path; /* lies in the mount, or */
	const char *store; /* is what is mounted, or */
	const char *below; /* is below this folder, or */
	dev_t dev; /* is its device */
};

static bool is_wanted(const struct wanted *w, const struct mount *m)
{
	if (w->path)
		return lies_in(w->path, m->dir);
	if (w->below)
		return lies_in(m->dir, w->below) && strcmp(m->dir, w->below) != 0;
	if (w->store)
		return !strcmp(w->store, m->store);
	return w->dev == m->dev;
}

/* The wanted mount with the longest folder, of equals the last: the one on top. */
static int find(const struct wanted *w, struct mount *ret)
{
	struct mount best = MOUNT_INIT, m;
	char *line = NULL;
	size_t cap = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!parse_line(line, &m) || !is_wanted(w, &m))
			continue;
		if (best.dir && strlen(m.dir) < strlen(best.dir))
			continue;
		mount_release(&best);
		best = (struct mount) { strdup(m.store), strdup(m.dir), m.dev, m.user };
	}
	free(line);
	fclose(f);
	if (!best.dir)
		return -ENOENT;
	*ret = best;
	return 0;
}

int mount_find(const char *path, struct mount *ret)
{
	char *real = mount_realpath(path);
	int r;

	if (!real)
		return -errno;
	r = find(&(struct wanted) { .path = real }, ret);
	free(real);
	return r;
}

int mount_find_below(const struct mount *fleet, struct mount *ret)
{
	if (strncmp(fleet->store, "fleet:", 6) != 0)
		return -ENOENT;
	return find(&(struct wanted) { .below = fleet->dir }, ret);
}

int mount_find_dev(dev_t dev, struct mount *ret)
{
	return find(&(struct wanted) { .dev = dev }, ret);
}

int mount_find_store(const char *store, struct mount *ret)
{
	char *real = mount_realpath(store);
	int r;

	if (!real)
		return -errno;
	r = find(&(struct wanted) { .store = real }, ret);
	free(real);
	return r;
}

enum { PATIENCE_S = 10 };

/* A call that a mount's daemon has to answer ends with that answer only, or by a fatal signal: so
 * another thread has to say that it waits. */
struct patience {
	pthread_mutex_t mutex; /* guards answered */
	pthread_cond_t ended;
	bool answered;
	const char *path;
	pthread_t thread;
	bool has_thread;
};

static void *wait_with(void *arg)
{
	struct patience *p = arg;
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&p->mutex);
	while (!p->answered && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&p->ended, &p->mutex, &until);
	if (!p->answered)
		term_say("%s: no answer for %d seconds: its daemon hangs, or waits for a "
			 "disk. This goes on when it answers. To take the mount away: "
			 "ropectl umount --lazy DIR",
			 p->path, PATIENCE_S);
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

static void patience_begin(struct patience *p, const char *path)
{
	*p = (struct patience) { .mutex = PTHREAD_MUTEX_INITIALIZER,
				 .ended = PTHREAD_COND_INITIALIZER,
				 .path = path };
	p->has_thread = pthread_create(&p->thread, NULL, wait_with, p) == 0;
}

static void patience_end(struct patience *p)
{
	int was = errno;

	pthread_mutex_lock(&p->mutex);
	p->answered = true;
	pthread_cond_signal(&p->ended);
	pthread_mutex_unlock(&p->mutex);
	if (p->has_thread)
		pthread_join(p->thread, NULL);
	errno = was;
}

bool mount_is_alive(const struct mount *m)
{
	struct patience patience;
	struct statfs st;
	int r;

	patience_begin(&patience, m->dir);
	/* Attributes may come from the kernel's cache, the space never does. */
	r = statfs(m->dir, &st);
	patience_end(&patience);
	return r == 0;
}

/* The last '/' of a path that is not at its end; NULL: there is none. */
static char *last_slash(char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	return strrchr(path, '/');
}

static char *realpath_of(const char *path)
{
	struct patience patience;
	char *real;

	patience_begin(&patience, path);
	real = realpath(path, NULL);
	patience_end(&patience);
	return real;
}

char *mount_realpath(const char *path)
{
	char *real = realpath_of(path), *copy, *slash, *joined = NULL;

	if (real || errno == ENOENT || errno == ENOTDIR)
		return real;
	/* As much of it as there is above a dead mount, and the rest as it stands. */
	copy = strdup(path);
	do {
		slash = last_slash(copy);
		if (slash)
			*slash = '\0';
		real = realpath(!slash ? "." : *copy ? copy : "/", NULL);
	} while (!real && errno == ENOTCONN && slash && *copy);
	if (real && asprintf(&joined, "%s/%s", real[1] ? real : "",
			     path + (slash ? (size_t)(slash - copy) + 1 : 0)) < 0)
		joined = NULL;
	if (joined)
		last_slash(joined);
	free(real);
	free(copy);
	return joined;
}

int mount_say_dead(const struct mount *m)
{
	return term_say("%s: its daemon has ended, and nothing in it answers; all that "
			"was synced is in the store. To have it back: ropectl umount "
			"--lazy %s && ropectl mount %s %s",
			m->dir, m->dir, m->store, m->dir);
}

int mount_fail(int err, const char *path)
{
	struct mount m;
	int status;

	if (err != ENOTCONN || mount_find(path, &m) < 0)
		return term_fail_errno(err, path);
	status = mount_say_dead(&m);
	mount_release(&m);
	return status;
}

static char *read_whole(const char *path)
{
	char *text = NULL;
	size_t n = 0, cap = 0;
	ssize_t got = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	while (got > 0) {
		if (cap - n < 4096) {
			cap = 2 * cap + 8192;
			text = realloc(text, cap);
			if (!text)
				abort();
		}
		got = read(fd, text + n, cap - n - 1);
		if (got > 0)
			n += (size_t)got;
	}
	close(fd);
	if (got < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

char *mount_read_file(const struct mount *m, const char *name)
{
	struct patience patience;
	char *path = NULL, *text;

	if (asprintf(&path, "%s/.ropefs/%s", m->dir, name) < 0)
		return NULL;
	patience_begin(&patience, m->dir);
	text = read_whole(path);
	patience_end(&patience);
	free(path);
	return text;
}

static int64_t number_of(const cJSON *json, const char *name)
{
	const cJSON *number = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(number) ? (int64_t)number->valuedouble : 0;
}

struct mount_processes mount_processes(const struct mount *m)
{
	struct ropefs_store_info info;
	char *text = mount_read_file(m, "status");
	cJSON *json = text ? cJSON_Parse(text) : NULL;
	const cJSON *mount = cJSON_GetObjectItemCaseSensitive(json, "mount");
	struct mount_processes p = { (pid_t)number_of(mount, "pid"),
				     (pid_t)number_of(mount, "supervisor"),
				     number_of(mount, "restarts_refused") };

	cJSON_Delete(json);
	free(text);
	/* A daemon that hangs or refuses us still holds the lock of its store. */
	if (p.daemon <= 0 && ropefs_store_info(m->store, &info) == 0)
		p.daemon = info.pid;
	return p;
}

pid_t mount_pid(const struct mount *m)
{
	struct mount_processes p = mount_processes(m);

	return p.supervisor > 0 ? p.supervisor : p.daemon;
}
