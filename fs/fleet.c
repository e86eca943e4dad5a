/* fleet.c - the folder of a fleet: names of instances, and nothing else.
 *
 *	ls FLEET ──▶ opendir: what is new in the bucket (at most once an interval)
 *	ls FLEET/robot7 ──▶ opendir, or lookup in it: ESTALE, so the kernel walks the path anew
 *	    ──▶ lookup of robot7, answered once a daemon of its own has mounted that instance
 *	        there ──▶ the walk goes on in that mount
 *
 * Only this second lookup may wait: it asks whether a name that is known still holds, with no
 * lock held that mounting needs. Lookups of the daemon that mounts never wait.
 *
 * An instance is named for its key file, else by its id; with a name, its id is a link to it. One
 * without a key is there, and says ENOKEY. Members are only added, so node ids stay true. */
#include "fs/fleet.h"

#include "fs/background.h"
#include "fs/bucket.h"
#include "fs/report.h"
#include "fs/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <mntent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	ERRANDS = 4, /* threads that wait for the bucket or for a mount */
	LOOK_S = 30, /* between looks for new instances */
	MEMBER_FIRST = 2, /* node ids */
	ARGS_MAX = 40,
	WRONG_KEY_STATUS = 3,
	AGAIN_S = 10, /* a walk anew comes at once, but machines may be slow */
	FAILED_S = 3, /* so long a failure is not tried again */
	PARENTS_MAX = 8,
};
#define LINK_BIT ((uint64_t)1 << 32) /* the id of a member that has a name */
#define NAME_S	 1.0

struct member {
	struct ropefs_instance in;
	char name[NAME_MAX + 1];
	char *key_file; /* NULL: none */
	time_t wanted; /* when somebody was sent to look it up again, 0: nobody */
	unsigned mounting; /* errands under way */
	int failed; /* to mount, at failed_at */
	time_t failed_at;
};

struct key {
	char store_id[33];
	char *path;
};

struct fleet {
	const struct options *o;
	struct ropefs_fleet *bucket;
	struct fuse_session *session;
	struct pool errands;
	time_t started;

	pthread_mutex_t looking; /* one look at a time; before `mutex` */
	pthread_mutex_t mounting; /* one mount at a time */
	struct key *keys; /* of the folder; guarded by looking */
	size_t n_keys;
	pthread_mutex_t mutex; /* guards the rest */
	struct member **members;
	size_t n, cap;
	time_t looked;
};

/* What waits for the network, or a daemon's start. */
struct errand {
	struct job job;
	struct fleet *f;
	fuse_req_t req;
	struct fuse_file_info fi;
	struct member *member;
	char name[NAME_MAX + 1];
};

static struct fleet *fleet_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* --- keys --- */

static void keys_release(struct fleet *f)
{
	for (size_t i = 0; i < f->n_keys; i++)
		free(f->keys[i].path);
	free(f->keys);
	f->keys = NULL;
	f->n_keys = 0;
}

static void keys_add(struct fleet *f, char *path)
{
	struct key k = { .path = path };
	struct key *more = reallocarray(f->keys, f->n_keys + 1, sizeof(*more));

	if (more)
		f->keys = more;
	if (!more || ropefs_key_store_id(path, k.store_id) < 0) {
		free(path);
		return;
	}
	f->keys[f->n_keys++] = k;
}

static void keys_read(struct fleet *f)
{
	DIR *dir = f->o->key_dir ? opendir(f->o->key_dir) : NULL;
	struct dirent *e;
	char *path;

	keys_release(f);
	if (f->o->key_dir && !dir)
		report("%s: %s", f->o->key_dir, strerror(errno));
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.' &&
		    asprintf(&path, "%s/%s", f->o->key_dir, e->d_name) >= 0)
			keys_add(f, path);
	if (dir)
		closedir(dir);
}

/* The caller frees; NULL: there is none. */
static char *key_of(struct fleet *f, const char *store_id)
{
	char *path = NULL;

	for (size_t i = 0; i < f->n_keys; i++)
		if (strcmp(f->keys[i].store_id, store_id) == 0)
			return strdup(f->keys[i].path);
	if (!f->o->key_dir && ropefs_key_path(store_id, &path) == 0 &&
	    access(path, R_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* --- members --- */

static struct member *find_locked(struct fleet *f, const char *name, size_t *ret_at)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->members[i]->name, name) == 0) {
			*ret_at = i;
			return f->members[i];
		}
	return NULL;
}

/* robot7 of /keys/robot7.key, unless another one has that name. */
static void name_locked(struct fleet *f, struct member *m)
{
	const char *base = m->key_file ? strrchr(m->key_file, '/') : NULL;
	char name[NAME_MAX + 1];
	size_t n, at;

	snprintf(name, sizeof(name), "%s", base ? base + 1 : "");
	n = strlen(name);
	if (n > 4 && strcmp(name + n - 4, ".key") == 0)
		name[n - 4] = '\0';
	if (!f->o->key_dir || !*name || find_locked(f, name, &at))
		snprintf(name, sizeof(name), "%s", m->in.instance);
	memcpy(m->name, name, sizeof(m->name));
}

static int add_member(void *arg, const struct ropefs_instance *in)
{
	struct fleet *f = arg;
	struct member *m = calloc(1, sizeof(*m)), **more;

	if (!m)
		return -ENOMEM;
	m->in = *in;
	m->key_file = key_of(f, in->store_id);
	pthread_mutex_lock(&f->mutex);
	more = f->n < f->cap ? f->members
			     : reallocarray(f->members, 2 * f->cap + 8, sizeof(*more));
	if (more && more != f->members) {
		f->members = more;
		f->cap = 2 * f->cap + 8;
	}
	if (more) {
		name_locked(f, m);
		f->members[f->n++] = m;
	}
	pthread_mutex_unlock(&f->mutex);
	if (more)
		return 0;
	free(m->key_file);
	free(m);
	return -ENOMEM;
}

/* Keys that came since; looking is held. */
static void look_for_keys(struct fleet *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct member *m = f->members[i];
		char *key = m->key_file ? NULL : key_of(f, m->in.store_id);

		if (!key)
			continue;
		pthread_mutex_lock(&f->mutex);
		m->key_file = key;
		name_locked(f, m);
		pthread_mutex_unlock(&f->mutex);
	}
}

static bool is_due(struct fleet *f)
{
	unsigned every = f->o->interval_s ? f->o->interval_s : LOOK_S;
	bool due;

	pthread_mutex_lock(&f->mutex);
	due = time(NULL) - f->looked >= (time_t)every;
	pthread_mutex_unlock(&f->mutex);
	return due;
}

static int look(struct fleet *f)
{
	int r = 0;

	pthread_mutex_lock(&f->looking);
	if (is_due(f)) {
		keys_read(f);
		look_for_keys(f);
		r = ropefs_fleet_look(f->bucket, add_member, f);
		pthread_mutex_lock(&f->mutex);
		f->looked = time(NULL);
		pthread_mutex_unlock(&f->mutex);
	}
	pthread_mutex_unlock(&f->looking);
	if (r < 0)
		report_about(f->o->store,
			     *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	return r;
}

/* --- mounting a member --- */

static bool is_mounted(const char *path)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *e;
	bool found = false;

	while (!found && mounts && (e = getmntent(mounts)))
		found = strcmp(e->mnt_dir, path) == 0;
	if (mounts)
		endmntent(mounts);
	return found;
}

struct args {
	const char *v[ARGS_MAX];
	unsigned n;
};

static void arg_add(struct args *a, const char *option, const char *value)
{
	if (!value)
		return;
	a->v[a->n++] = option;
	if (*value)
		a->v[a->n++] = value;
}

/* Runs it until it has gone to the background: its exit status, with the first line it said. */
static int run(const char **argv, char *said, size_t n_said)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int pipes[2], r, status = -1;
	char **env = ropefs_credentials_environ();
	sigset_t none;
	ssize_t n;
	pid_t pid;

	*said = '\0';
	if (!env || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(env);
		return -1;
	}
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, pipes[1], STDERR_FILENO);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(&pid, "/proc/self/exe", &files, &attr, (char **)argv, env);
	free(env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	if (r == 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	n = read(pipes[0], said, n_said - 1);
	said[n > 0 ? n : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	close(pipes[0]);
	close(pipes[1]);
	return r == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int mount_on(struct fleet *f, const struct member *m, const char *place)
{
	const struct options *o = f->o;
	char memory[32], interval[32], said[512];
	struct args a = { .v = { "ropefs", "--read-only" }, .n = 2 };
	int status;

	snprintf(memory, sizeof(memory), "%llu",
		 (unsigned long long)o->opts.memory_bytes);
	snprintf(interval, sizeof(interval), "%u", o->interval_s);
	arg_add(&a, "--key-file", m->key_file);
	arg_add(&a, "--instance", m->in.instance);
	arg_add(&a, "--memory", o->opts.memory_bytes ? memory : NULL);
	arg_add(&a, "--interval", o->interval_s ? interval : NULL);
	arg_add(&a, "--quiet", o->quiet ? "" : NULL);
	arg_add(&a, "--endpoint", o->endpoint);
	arg_add(&a, "--region", o->region);
	arg_add(&a, "--ca-file", o->ca_file);
	arg_add(&a, "--cache", o->cache);
	arg_add(&a, "--credentials-file", o->credentials);
	arg_add(&a, "--virtual-host", o->virtual_host ? "" : NULL);
	arg_add(&a, "--signature-v2", o->signature_v2 ? "" : NULL);
	arg_add(&a, "-o", o->allow_other ? "allow_other" : NULL);
	arg_add(&a, "-o", o->no_views ? "views=off" : NULL);
	arg_add(&a, "-o", o->asleep ? "awake=off" : NULL);
	arg_add(&a, "--", o->store);
	arg_add(&a, place, "");
	status = run(a.v, said, sizeof(said));
	if (status == 0)
		return 0;
	report("%s: %s", m->name, *said ? said : "its daemon did not start");
	return status == WRONG_KEY_STATUS ? -EKEYREJECTED : -EIO;
}

static void visit(struct fleet *f, struct member *m)
{
	char *place;
	int r = -ENOMEM;

	pthread_mutex_lock(&f->mounting);
	if (asprintf(&place, "%s/%s", f->o->mountpoint, m->name) >= 0) {
		r = is_mounted(place) ? 0 : mount_on(f, m, place);
		free(place);
	}
	pthread_mutex_unlock(&f->mounting);
	pthread_mutex_lock(&f->mutex);
	m->failed = r;
	m->failed_at = time(NULL);
	m->mounting--;
	pthread_mutex_unlock(&f->mutex);
}

/* Was the process started by us? */
static bool is_ours(pid_t pid)
{
	char path[64];
	int parent;
	FILE *file;

	for (int i = 0; i < PARENTS_MAX && pid > 1; i++) {
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		file = fopen(path, "re");
		if (!file)
			return false;
		if (fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1)
			parent = 0;
		fclose(file);
		if (parent == getpid())
			return true;
		pid = parent;
	}
	return false;
}

/* --- requests --- */

static void fill_stat(struct fleet *f, uint64_t ino, struct stat *ret)
{
	bool link = ino & LINK_BIT;

	*ret = (struct stat) {
		.st_ino = ino,
		.st_mode = link ? S_IFLNK | 0777 : S_IFDIR | 0755,
		.st_nlink = link ? 1 : 2,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_blksize = 4096,
		.st_atim.tv_sec = f->started,
		.st_mtim.tv_sec = f->started,
		.st_ctim.tv_sec = f->started,
	};
}

static void fill_entry(struct fleet *f, uint64_t ino, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param) { .ino = ino,
					   .entry_timeout = NAME_S,
					   .attr_timeout = NAME_S };
	fill_stat(f, ino, &ret->attr);
}

/* 0: there is no such name. */
static uint64_t node_of(struct fleet *f, const char *name)
{
	uint64_t ino = 0;
	size_t at;

	pthread_mutex_lock(&f->mutex);
	if (find_locked(f, name, &at))
		ino = MEMBER_FIRST + at;
	for (size_t i = 0; !ino && i < f->n; i++)
		if (strcmp(f->members[i]->in.instance, name) == 0)
			ino = LINK_BIT | (MEMBER_FIRST + i);
	pthread_mutex_unlock(&f->mutex);
	return ino;
}

static void send_errand(fuse_req_t req, void (*run_it)(struct job *job),
			const struct errand *what)
{
	struct errand *e = malloc(sizeof(*e));

	if (!e) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*e = *what;
	e->job.run = run_it;
	e->f = fleet_of(req);
	e->req = req;
	pool_push(&e->f->errands, &e->job);
}

/* Who looks into a folder where nothing is mounted. */
static int look_into(struct fleet *f, struct member *m)
{
	time_t now = time(NULL);
	int r = -ESTALE;

	pthread_mutex_lock(&f->mutex);
	if (!m->key_file)
		r = -ENOKEY;
	else if (m->failed && now - m->failed_at < FAILED_S)
		r = m->failed;
	else
		m->wanted = now;
	pthread_mutex_unlock(&f->mutex);
	return r;
}

static struct member *member_of(struct fleet *f, fuse_ino_t ino)
{
	struct member *m;

	pthread_mutex_lock(&f->mutex);
	m = f->members[(ino & ~LINK_BIT) - MEMBER_FIRST];
	pthread_mutex_unlock(&f->mutex);
	return m;
}

static void reply_name(fuse_req_t req, const char *name)
{
	struct fleet *f = fleet_of(req);
	uint64_t ino = node_of(f, name);
	struct fuse_entry_param e;

	fill_entry(f, ino, &e);
	if (ino)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void run_visit(struct job *job)
{
	struct errand *e = (struct errand *)job;

	visit(e->f, e->member);
	reply_name(e->req, e->name);
	free(e);
}

/* Whether the name's lookup is to wait for its mount: counted as under way, then. */
static struct member *take_wanted(struct fleet *f, const char *name, pid_t who)
{
	struct member *m;
	bool wanted;
	size_t at;

	pthread_mutex_lock(&f->mutex);
	m = find_locked(f, name, &at);
	wanted = m && (m->mounting || time(NULL) - m->wanted <= AGAIN_S);
	pthread_mutex_unlock(&f->mutex);
	if (!wanted || is_ours(who))
		return NULL;
	pthread_mutex_lock(&f->mutex);
	m->wanted = 0;
	m->mounting++;
	pthread_mutex_unlock(&f->mutex);
	return m;
}

static void run_lookup(struct job *job)
{
	struct errand *e = (struct errand *)job;

	look(e->f);
	reply_name(e->req, e->name);
	free(e);
}

static void fleet_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fleet *f = fleet_of(req);
	struct errand e = { 0 };

	if (parent != FUSE_ROOT_ID) {
		fuse_reply_err(req, -look_into(f, member_of(f, parent)));
		return;
	}
	snprintf(e.name, sizeof(e.name), "%s", name);
	e.member = take_wanted(f, name, fuse_req_ctx(req)->pid);
	if (e.member)
		send_errand(req, run_visit, &e);
	else if (strlen(name) > NAME_MAX || name[0] == '.' || node_of(f, name) ||
		 !is_due(f))
		reply_name(req, name);
	else
		send_errand(req, run_lookup, &e);
}

static void fleet_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	fill_stat(fleet_of(req), ino, &st);
	fuse_reply_attr(req, &st, NAME_S);
}

static void fleet_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fleet *f = fleet_of(req);
	char name[NAME_MAX + 1];

	struct member *m = member_of(f, ino);

	pthread_mutex_lock(&f->mutex);
	memcpy(name, m->name, sizeof(name));
	pthread_mutex_unlock(&f->mutex);
	fuse_reply_readlink(req, name);
}

static void run_opendir(struct job *job)
{
	struct errand *e = (struct errand *)job;

	/* Those that are known are worth being shown. */
	look(e->f);
	fuse_reply_open(e->req, &e->fi);
	free(e);
}

static void fleet_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino != FUSE_ROOT_ID)
		fuse_reply_err(req,
			       -look_into(fleet_of(req), member_of(fleet_of(req), ino)));
	else if (is_due(fleet_of(req)))
		send_errand(req, run_opendir, &(struct errand) { .fi = *fi });
	else
		fuse_reply_open(req, fi);
}

static void fleet_readdir(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
			  struct fuse_file_info *fi)
{
	struct fleet *f = fleet_of(req);
	char p[4096];
	size_t at = 0;

	n = n < sizeof(p) ? n : sizeof(p);
	pthread_mutex_lock(&f->mutex);
	for (size_t i = (size_t)off; i < f->n + 2; i++) {
		const char *name = i < 2 ? &".."[1 - i] : f->members[i - 2]->name;
		size_t need;
		struct stat st;

		fill_stat(f, i < 2 ? FUSE_ROOT_ID : i, &st);
		need = fuse_add_direntry(req, p + at, n - at, name, &st, (off_t)i + 1);
		if (need > n - at)
			break;
		at += need;
	}
	pthread_mutex_unlock(&f->mutex);
	fuse_reply_buf(req, p, at);
}

/* For an ordinary user it is no read-only mount (options.c), but nothing is written all the
 * same. */
static void refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			 dev_t dev)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_removal(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int which,
			   struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

static const struct fuse_lowlevel_ops fleet_ops = {
	.mkdir = refuse_mkdir,
	.mknod = refuse_mknod,
	.unlink = refuse_removal,
	.rmdir = refuse_removal,
	.setattr = refuse_setattr,
	.lookup = fleet_lookup,
	.getattr = fleet_getattr,
	.readlink = fleet_readlink,
	.opendir = fleet_opendir,
	.readdir = fleet_readdir,
};

/* --- beginning and end --- */

static int open_bucket(struct fleet *f)
{
	struct ropefs_credentials c = { 0 };
	struct ropefs_remote_opts opts;
	int r = bucket_opts(f->o, &c, &opts);

	if (r == 0)
		r = ropefs_fleet_open(&opts, &f->bucket);
	ropefs_credentials_release(&c);
	if (r == 0)
		return look(f);
	report_about(f->o->store,
		     *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	return r;
}

static int new_session(struct fleet *f)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char *all = strdup(f->o->mount), *source = NULL;

	if (all && asprintf(&source, "fsname=" FLEET_SOURCE "%s", f->o->store) >= 0 &&
	    fuse_opt_add_opt_escaped(&all, source) == 0 &&
	    fuse_opt_add_arg(&args, "ropefs") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 && fuse_opt_add_arg(&args, all) == 0)
		f->session = fuse_session_new(&args, &fleet_ops, sizeof(fleet_ops), f);
	fuse_opt_free_args(&args);
	free(all);
	free(source);
	return f->session ? fuse_session_mount(f->session, f->o->mountpoint) : -1;
}

static void fleet_release(struct fleet *f)
{
	pool_stop(&f->errands);
	if (f->session)
		fuse_session_destroy(f->session);
	if (f->bucket)
		ropefs_fleet_close(f->bucket);
	for (size_t i = 0; i < f->n; i++) {
		free(f->members[i]->key_file);
		free(f->members[i]);
	}
	free(f->members);
	keys_release(f);
}

int fleet_serve(const struct options *o, int ready_fd)
{
	struct fleet f = { .o = o, .started = time(NULL) };
	sigset_t ends, old;
	int r;

	pthread_mutex_init(&f.looking, NULL);
	pthread_mutex_init(&f.mounting, NULL);
	pthread_mutex_init(&f.mutex, NULL);
	r = open_bucket(&f);
	if (r < 0) {
		fleet_release(&f);
		return ropefs_error_exit_status(r);
	}
	/* Signals are the loop's: the other threads begin with them blocked. */
	sigfillset(&ends);
	pthread_sigmask(SIG_BLOCK, &ends, &old);
	r = pool_start(&f.errands, "ropefs-errand", ERRANDS);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		r = new_session(&f);
	if (r == 0)
		r = fuse_set_signal_handlers(f.session);
	if (r < 0) {
		report("%s: cannot mount: %s", o->mountpoint,
		       *report_fuse_last() ? report_fuse_last() : "see the system's log");
	} else {
		go_to_background(ready_fd);
		report_fuse_live();
		fuse_session_loop(f.session);
		fuse_remove_signal_handlers(f.session);
	}
	/* Lazily, and all that is mounted below goes with it: those daemons end, too. */
	if (f.session)
		fuse_session_unmount(f.session);
	fleet_release(&f);
	return r < 0;
}
