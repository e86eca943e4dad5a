#include "fs/mount.h"

#include "fs/bucket.h"
#include "fs/daemon.h"
#include "fs/dotdir.h"
#include "fs/keep.h"
#include "fs/kept.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/remote.h"
#include "fs/report.h"
#include "fs/restore.h"
#include "fs/staged.h"
#include "fs/supervise.h"
#include "fs/view_range.h"
#include "fs/view_value.h"
#include "fs/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	/* One at a time. Others take over while it leads a sync, waits for an edit of the file, for
	 * room, or for memory or the log (held.h). With durability=sync several wait for that. */
	LOOPS = 5,
	LOOPS_SYNC = 8,
	LOG_WAITS = 1,
	LOG_WAITS_SYNC = LOOPS_SYNC - LOOPS + LOG_WAITS,
	WORKERS = 4,
	FAR_WORKERS = 8,
	DRAIN_S = 10,
	LEAVE_S = 2,
	IN_USE_TRIES = 60, /* of 50 ms: how long a holder that is ending may take */
	IN_USE_STATUS = 4,
	READ_AHEAD_KB = 1024,
	PULSE_US = 1000000,
	STAGED_MIN = 64 << 20, /* a stride that is written as a whole */
	SWEEP_FIRST = 3, /* pulses after the mount answers, and in between */
	SWEEP_EACH = 30,
};

struct mounted {
	struct daemon d;
	struct loops loops;
	const struct seat *seat; /* NULL: nobody supervises */
	pthread_t pulse; /* when `seat`; tells the supervisor that all moves */
	bool has_pulse;
	atomic_bool pulse_ends;
	dev_t dev; /* of the mount; 0: it doesn't answer */
	bool is_mounted;
};

/* 1 having reported that a ropefs is there already, dead or alive. */
static int check_free(const char *mountpoint)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct statfs figures;
	struct mntent *e;
	int there = 0;

	while (!there && mounts && (e = getmntent(mounts)))
		there = strcmp(e->mnt_type, "fuse.ropefs") == 0 &&
			strcmp(e->mnt_dir, mountpoint) == 0;
	if (mounts)
		endmntent(mounts);
	if (!there)
		return 0;
	/* Unlike stat, statfs is always asked of the daemon. */
	if (statfs(mountpoint, &figures) < 0 && errno == ENOTCONN)
		report_dead_mount(mountpoint);
	else
		report("%s: busy, a ropefs is mounted there already; unmount it first",
		       mountpoint);
	return 1;
}

/* Programs that were started before the mount may have written there, which is missed later. An
 * automount is not looked into: that would wait for this very mount. */
static void tell_hidden(const char *mountpoint)
{
	struct statfs figures;
	struct dirent *e;
	DIR *dir;
	unsigned n = 0;

	if (statfs(mountpoint, &figures) < 0 || figures.f_type == AUTOFS_SUPER_MAGIC)
		return;
	dir = opendir(mountpoint);
	while (dir && n <= 2 && (e = readdir(dir)))
		n++; /* "." and ".." are two */
	if (dir)
		closedir(dir);
	if (n > 2)
		report("%s: not empty; what is there is hidden while the store is "
		       "mounted",
		       mountpoint);
}

/* 0, or 1 having reported what is wrong with the place. */
static int check_place(const struct options *o)
{
	size_t n = strlen(o->mountpoint);
	struct stat st;

	if (stat(o->mountpoint, &st) < 0 || !S_ISDIR(st.st_mode)) {
		report("%s: a mount point must be a directory", o->mountpoint);
		return 1;
	}
	if (strncmp(o->store, o->mountpoint, n) == 0 &&
	    (!o->store[n] || o->store[n] == '/' || n == 1)) {
		report("%s: the mount would hide its own store; choose a folder beside "
		       "it",
		       o->mountpoint);
		return 1;
	}
	if (access("/dev/fuse", F_OK) < 0) {
		report("/dev/fuse: %s; load the kernel's fuse module, or give the "
		       "container "
		       "this device",
		       strerror(errno));
		return 1;
	}
	if (check_free(o->mountpoint))
		return 1;
	tell_hidden(o->mountpoint);
	return 0;
}

/* Whether a mount shows the store: then its daemon is no daemon that is ending. */
static bool is_shown(const char *store)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *e;
	bool shown = false;

	while (!shown && mounts && (e = getmntent(mounts)))
		shown = strcmp(e->mnt_type, "fuse.ropefs") == 0 &&
			strcmp(e->mnt_fsname, store) == 0;
	if (mounts)
		endmntent(mounts);
	return shown;
}

/* Killed, but it still has its files: gone, a zombie, or about to be one. */
static bool is_dying(pid_t pid)
{
	char path[64], state = 'X';
	unsigned flags = 0;
	const unsigned exiting = 4; /* the kernel's PF_EXITING */
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
		state = 'X';
	fclose(f);
	return state == 'Z' || state == 'X' || (flags & exiting);
}

/* Who unmounts lazily, or kills, and mounts again at once meets the old daemon on its way
 * out. */
static bool is_being_let_go(const char *store)
{
	struct ropefs_store_info info;

	if (ropefs_store_info(store, &info) < 0)
		return false;
	return info.pid == 0 || !is_shown(store) || is_dying(info.pid);
}

static int open_store(const struct options *o, const struct seat *seat, struct daemon *d,
		      struct ropefs **ret)
{
	struct ropefs_opts opts = o->opts;
	int r;

	opts.key_file = o->key_file;
	opts.event = events_line;
	opts.event_named = events_named_line;
	opts.event_arg = d;
	opts.changed = names_changed;
	opts.blocks = blocks_changed;
	opts.waits = held_waits;
	opts.push = seat;
	opts.log_mark = keep_log_mark();
	if (seat && seat->took_over) {
		opts.keep_orphans = true;
		opts.lock_fd = fcntl(seat->lock, F_DUPFD_CLOEXEC, 3);
	}
	opts.refreshed = bucket_refreshed;
	r = bucket_is(o->store) ? bucket_open(o, &opts, ret)
				: ropefs_open(o->store, &opts, ret);
	for (int i = 0; i < IN_USE_TRIES; i++) {
		if (ropefs_error_exit_status(r) != IN_USE_STATUS)
			break;
		if (is_being_let_go(o->store))
			usleep(50000);
		else
			i = IN_USE_TRIES; /* open once more, for the words of the error */
		r = ropefs_open(o->store, &opts, ret);
	}
	if (r >= 0)
		return 0;
	report_about(o->store, *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	return ropefs_error_exit_status(r);
}

/* Whoever mounts a store that can only be read should know at once, and why: it is damaged, or
 * another one writes in its place. */
static void report_read_only(const struct options *o, struct ropefs *fs)
{
	struct ropefs_status st;

	ropefs_get_status(fs, &st);
	if (!st.read_only || strcmp(st.read_only_why, ROPEFS_READ_ONLY_ASKED) == 0)
		return;
	if (!st.failed) {
		report("%s: mounted read-only: %s", o->store, st.read_only_why);
		return;
	}
	report("%s: mounted READ-ONLY: %s; copy out what matters, then run ropefs-fsck "
	       "on the unmounted store",
	       o->store, st.read_only_why);
}

static struct fuse_session *new_session(const struct options *o, struct daemon *d)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *s = NULL;
	char *all = strdup(o->mount), *source = NULL;

	if (all && asprintf(&source, "fsname=%s", o->store) >= 0 &&
	    fuse_opt_add_opt_escaped(&all, source) == 0 &&
	    fuse_opt_add_arg(&args, "ropefs") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 && fuse_opt_add_arg(&args, all) == 0)
		s = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), d);
	fuse_opt_free_args(&args);
	free(all);
	free(source);
	return s;
}

/* What the store tells of before it is open. */
static void early_init(struct daemon *d)
{
	pthread_mutex_init(&d->idle_mutex, NULL);
	pthread_cond_init(&d->idle, NULL);
	events_init(&d->events);
	d->awake = AWAKE_OFF;
}

/* What it tells of until it is closed. */
static void late_release(struct daemon *d)
{
	awake_stop(&d->awake);
	events_release(&d->events);
	pthread_mutex_destroy(&d->idle_mutex);
	pthread_cond_destroy(&d->idle);
}

/* What only the kernel still has open, until it says that it does not. */
static int inherit_orphans(struct daemon *d)
{
	uint64_t ino = 0;
	int r;

	while ((r = ropefs_next_orphan(d->fs, ino, &ino)) == 1)
		if (!view_has_stage(d, ino))
			inodes_inherit(&d->inodes, ino);
	return r;
}

static void init_daemon(struct daemon *d, const struct options *o,
			const struct seat *seat)
{
	struct ropefs_status st;

	ropefs_get_status(d->fs, &st);
	staged_limit(st.memory_budget > STAGED_MIN ? st.memory_budget : STAGED_MIN);
	keep_settle(st.lsn);
	kept_settle(st.lsn);
	d->took_over = seat && seat->took_over;
	d->queue = -1;
	d->mountpoint = o->mountpoint;
	d->views_on = !o->no_views;
	d->of_bucket = bucket_is(o->store);
	d->cache_s = d->of_bucket ? BUCKET_CACHE_S : CACHE_S;
	d->sync = o->opts.durability == ROPEFS_SYNC;
	d->syncs_far = o->opts.durability == ROPEFS_REMOTE;
	d->started = time(NULL);
	inodes_init(&d->inodes, d->fs);
	d->inodes.took_over = d->took_over;
	d->inodes.cache_s = d->cache_s;
	views_init(&d->views);
	copies_init(&d->copies);
	listings_init(&d->listings);
	waits_init(&d->waits);
	txns_init(&d->txns);
	follows_init(&d->follows);
	names_init(&d->names);
	queue_files_init(&d->queues);
	d->asleep = o->asleep;
	if (!d->asleep)
		awake_start(&d->awake);
}

static void release_daemon(struct daemon *d)
{
	pool_stop(&d->workers);
	pool_stop(&d->far);
	held_stop(&d->held);
	edits_stop(d);
	waits_release(&d->waits);
	ropefs_follow_stop(d->fs);
	if (d->session)
		fuse_session_destroy(d->session);
	view_ranges_end(d);
	view_values_end(d);
	txns_release(&d->txns);
	views_release(&d->views);
	listings_release(&d->listings);
	copies_release(&d->copies);
	inodes_release(&d->inodes);
	queue_files_release(&d->queues);
	names_release(&d->names);
	follows_release(&d->follows);
}

/* Long reads come in long requests when the kernel reads well ahead; only root may say so,
 * and without it things are merely slower. */
static void set_read_ahead(dev_t dev)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev),
		 minor(dev));
	f = fopen(path, "we");
	if (!f)
		return;
	fprintf(f, "%d\n", READ_AHEAD_KB);
	fclose(f);
}

/* fuse_session_mount(), with what fusermount3 says of a failure put where libfuse's own words
 * go, instead of on stderr. */
static int mount_quietly(struct fuse_session *s, const char *mountpoint)
{
	int words = memfd_create("fusermount3", MFD_CLOEXEC);
	int err = words < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	char line[256];
	ssize_t n;
	int r;

	if (err >= 0)
		dup2(words, STDERR_FILENO);
	r = fuse_session_mount(s, mountpoint);
	if (err >= 0) {
		dup2(err, STDERR_FILENO);
		close(err);
		n = pread(words, line, sizeof(line) - 1, 0);
		if (r < 0 && n > 0) {
			line[n] = '\0';
			report_fuse_keep(line);
		}
	}
	if (words >= 0)
		close(words);
	return r < 0 ? -EPERM : 0;
}

struct sweeping {
	struct job job;
	struct mounted *m;
};

static void sweep_now(struct job *job)
{
	struct sweeping *s = (struct sweeping *)job;

	inodes_sweep(&s->m->d.inodes, kernel_knows, &s->m->d);
	free(s);
}

/* Not here: large files may go. */
static void sweep(struct mounted *m)
{
	struct sweeping *s = malloc(sizeof(*s));

	if (!s)
		return;
	*s = (struct sweeping) { .job.run = sweep_now, .m = m };
	pool_push(&m->d.far, &s->job);
}

static void *pulse(void *arg)
{
	struct mounted *m = arg;
	struct ropefs_attr a;

	pthread_setname_np(pthread_self(), "ropefs-pulse");
	for (unsigned n = 0; !atomic_load(&m->pulse_ends); n++) {
		if (!loops_stand_still(&m->loops) &&
		    ropefs_getattr(m->d.fs, ROPEFS_ROOT_INO, &a) >= 0)
			keep_beat();
		if (m->d.took_over && n % SWEEP_EACH == SWEEP_FIRST)
			sweep(m);
		usleep(PULSE_US);
	}
	return NULL;
}

static void pulse_start(struct mounted *m)
{
	m->has_pulse = m->seat && pthread_create(&m->pulse, NULL, pulse, m) == 0;
}

static void pulse_stop(struct mounted *m)
{
	atomic_store(&m->pulse_ends, true);
	if (m->has_pulse)
		pthread_join(m->pulse, NULL);
	m->has_pulse = false;
}

static int start_threads(struct mounted *m)
{
	struct daemon *d = &m->d;
	int r = pool_start(&d->workers, "ropefs-work", WORKERS);

	if (r >= 0)
		r = pool_start(&d->far, "ropefs-far", FAR_WORKERS);
	if (r >= 0)
		r = held_start(&d->held, d->sync ? LOG_WAITS_SYNC : LOG_WAITS);
	if (r >= 0)
		r = edits_start(d);
	if (r >= 0 && d->took_over)
		edits_resume(d, m->seat->connection);
	if (r >= 0)
		r = d->sync ? loops_start(&m->loops, d, LOOPS_SYNC, LOOPS_SYNC)
			    : loops_start(&m->loops, d, LOOPS, 1);
	return r < 0 ? r : expirer_start(d);
}

/* Mounts and starts to answer; 0 or a negative errno. */
static int attach(struct mounted *m)
{
	struct daemon *d = &m->d;
	struct stat st;
	int r;

	r = mount_quietly(d->session, d->mountpoint);
	if (r < 0)
		return r;
	m->is_mounted = true;
	r = wire_attach(d, fuse_session_fd(d->session));
	if (r >= 0)
		r = start_threads(m);
	if (r >= 0 && stat(d->mountpoint, &st) < 0)
		r = -errno;
	if (r < 0)
		return r;
	m->dev = st.st_dev;
	atomic_store(&d->attached, true);
	keep_save_dev(m->dev);
	set_read_ahead(m->dev);
	sizes_start(d, m->dev);
	if (m->seat)
		seat_ready(m->seat, fuse_session_fd(d->session), ropefs_dup_lock(d->fs));
	return 0;
}

/* Goes on with the connection of the worker before. */
static int take_over(struct mounted *m)
{
	struct daemon *d = &m->d;
	int r;

	restore_files(d);
	r = inherit_orphans(d);
	m->is_mounted = true;
	m->dev = keep_dev();
	if (r >= 0)
		r = wire_attach(d, m->seat->connection);
	if (r >= 0)
		r = start_threads(m);
	if (r < 0)
		return r;
	restore_polls(d, m->seat->connection);
	sizes_start(d, m->dev);
	seat_ready(m->seat, -1, -1);
	return 0;
}

int mount_start(const struct options *o, const struct seat *seat, struct mounted **ret)
{
	bool takes_over = seat && seat->took_over;
	struct mounted *m;
	int status, r;

	status = takes_over ? 0 : check_place(o);
	if (status)
		return status;
	m = calloc(1, sizeof(*m));
	if (!m) {
		report("out of memory");
		return 1;
	}
	m->loops.d = &m->d;
	m->seat = seat;
	early_init(&m->d);
	status = open_store(o, seat, &m->d, &m->d.fs);
	if (status) {
		late_release(&m->d);
		free(m);
		return status;
	}
	init_daemon(&m->d, o, seat);
	m->d.session = new_session(o, &m->d);
	if (!m->d.session)
		r = -EINVAL;
	else
		r = takes_over ? take_over(m) : attach(m);
	if (r < 0) {
		report("%s: cannot mount: %s", o->mountpoint,
		       *report_fuse_last() ? report_fuse_last() : strerror(-r));
		if (takes_over)
			mount_leave(m);
		else
			mount_end(m);
		return 1;
	}
	pulse_start(m);
	report_read_only(o, m->d.fs);
	*ret = m;
	return 0;
}

/* Writes back what programs changed in maps of files; the loops are still there to take it. */
static void flush_maps(const char *mountpoint)
{
	int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	syncfs(fd);
	close(fd);
}

/* Ends the mount while the loops still answer, so that nothing waits for us for ever. */
static void detach(struct mounted *m)
{
	struct stat st;

	if (!m->dev || fuse_session_exited(m->d.session))
		return;
	if (stat(m->d.mountpoint, &st) < 0 || st.st_dev != m->dev)
		return; /* something else is there now */
	if (umount2(m->d.mountpoint, UMOUNT_NOFOLLOW) == 0)
		return;
	flush_maps(m->d.mountpoint);
	tasks_wait(&m->d, DRAIN_S);
	/* Users of open files get ENOTCONN from here on. Only root may; for others
	 * fuse_session_unmount() asks fusermount3. */
	umount2(m->d.mountpoint, UMOUNT_NOFOLLOW | MNT_FORCE | MNT_DETACH);
}

/* A session that did not mount can't unmount. */
static void unmount(struct mounted *m)
{
	const char *place = m->d.mountpoint;
	pid_t child;

	if (!m->d.took_over) {
		fuse_session_unmount(m->d.session);
		return;
	}
	if (umount2(place, UMOUNT_NOFOLLOW | MNT_DETACH) == 0 || geteuid() == 0)
		return;
	child = fork();
	if (child == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", place, NULL);
		_exit(1);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

static int close_all(struct mounted *m)
{
	struct daemon *d = &m->d;
	struct ropefs *fs = d->fs;
	int r;

	sizes_stop(d);
	dot_end();
	release_daemon(d);
	r = ropefs_close(fs);
	late_release(d);
	free(m);
	if (r < 0)
		report("closing the store: %s",
		       *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	return ropefs_error_exit_status(r);
}

void mount_leave(struct mounted *m)
{
	struct daemon *d = &m->d;

	pulse_stop(m);
	expirer_stop(d);
	loops_stop(&m->loops);
	/* What can't be answered soon is asked again of the next: it waits for data, say, or for
	 * the kernel, which waits for what no loop takes any more. So no thread is waited for, and
	 * nothing of this process is undone; it is as if it was killed, with an empty log. */
	tasks_wait(d, LEAVE_S);
	ropefs_checkpoint(d->fs);
}

int mount_end(struct mounted *m)
{
	struct daemon *d = &m->d;
	bool drained;

	pulse_stop(m);
	remote_end(d);
	detach(m);
	expirer_stop(d);
	drained = tasks_wait(d, DRAIN_S);
	events_stop(&d->events);
	loops_stop(&m->loops);
	/* Closing the connection lets go of whoever waits for the kernel. */
	if (m->is_mounted && !drained)
		unmount(m);
	pool_stop(&d->workers);
	pool_stop(&d->far);
	held_stop(&d->held);
	edits_stop(d);
	if (m->is_mounted && drained)
		unmount(m);
	return close_all(m);
}
