/* differ.c - a random sequence of system calls, and what each of them said: for comparing two
 * filesystems. Usage: differ SEED COUNT FOLDER. It goes into FOLDER by chroot and prints a line
 * a call, what the files it named are then, at times which times it moved, and the whole tree.
 * Which calls are made depends on SEED alone, so that two folders that begin alike must give the
 * same text. Calls whose result is the filesystem's own matter are not made (docs/POSIX.md). */
#include "tests/fs/differ.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BIG  (1ll << 40)
#define FDS  6
#define MAPS 3

static uint64_t state;
static int fds[FDS] = { -1, -1, -1, -1, -1, -1 };
static struct {
	char *at;
	size_t n;
	off_t off;
	int fd, prot, flags;
} maps[MAPS];
static sigjmp_buf fault;
static bool is_timed;

static uint32_t rnd(uint32_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((state >> 33) % below);
}

static bool one_in(uint32_t n)
{
	return rnd(n) == 0;
}

#define PICK(list) ((list)[rnd(sizeof(list) / sizeof((list)[0]))])

/* --- what is named --- */

static const char *component(void)
{
	static char longest[257];
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h" };

	if (!one_in(40))
		return PICK(names);
	memset(longest, 'n', 256);
	longest[255 + rnd(2)] = 0;
	return one_in(3) ? longest : one_in(2) ? "." : "..";
}

static char *path(char *buf)
{
	static const int depths[] = { 1, 1, 1, 2, 2, 3 };
	int n = PICK(depths);
	char *end = buf;

	*end = 0;
	if (one_in(200))
		return strcpy(buf, one_in(2) ? "" : "/");
	for (int i = 0; i < n; i++)
		end += sprintf(end, "%s%s", i ? "/" : "", component());
	if (one_in(30))
		strcpy(end, "/");
	return buf;
}

static off_t offset(void)
{
	static const off_t edges[] = {
		0, 1, 4095, 4096, 4097, 8192, 65536, 131072, 131073
	};
	off_t at = one_in(3) ? PICK(edges) : (off_t)rnd(one_in(3) ? 300000 : 20000);

	return one_in(60) ? BIG + at : one_in(100) ? -at - 1 : at;
}

static size_t length(void)
{
	static const size_t edges[] = { 0, 1, 4096, 8192, 65536 };

	return one_in(3) ? PICK(edges) : rnd(one_in(8) ? 200000 : 6000);
}

static mode_t mode(void)
{
	static const mode_t usual[] = { 0644, 0755,  0777,  0666, 0600,
					0700, 02775, 01777, 04755 };

	return one_in(8) ? (mode_t)rnd(010000) : PICK(usual);
}

static char bytes[1 << 18] __attribute__((aligned(4096)));

static void fill(size_t n)
{
	uint64_t x = rnd(1u << 31);

	if (one_in(8))
		memset(bytes, 0, n);
	else
		for (size_t i = 0; i < n; i++) {
			x = x * 6364136223846793005ull + 1;
			bytes[i] = (char)(x >> 56);
		}
}

/* --- who asks --- */

static void become(uid_t uid)
{
	static const gid_t groups[][2] = { { 0 }, { 2002 }, { 0 }, { 2001, 2002 } };

	if (seteuid(0) < 0)
		abort();
	if (setgroups(uid == 1001   ? 1
		      : uid == 1003 ? 2
				    : 0,
		      groups[uid ? uid - 1000 : 0]) < 0 ||
	    setegid(uid ? uid + 1000 : 0) < 0 || seteuid(uid) < 0)
		abort();
}

/* --- what came of it --- */

static char line[4096];
static size_t said;
static char touched[2][1024];
static int touched_fd[2];

static void note(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	said += (size_t)vsnprintf(line + said, sizeof(line) - said, format, ap);
	va_end(ap);
}

static void came(long r)
{
	if (r < 0)
		note(" = %s", strerrorname_np(errno));
	else
		note(" = %ld", r);
}

static char *named(int i)
{
	path(touched[i]);
	note(" %s", strlen(touched[i]) > 200 ? "LONG" : *touched[i] ? touched[i] : "''");
	return touched[i];
}

static int opened(int i)
{
	int slot = (int)rnd(FDS);

	note(" [%d]", slot);
	return touched_fd[i] = fds[slot];
}

/* --- calls on names --- */

static void do_open(void)
{
	static const int access[] = { O_RDONLY, O_RDWR, O_RDWR, O_RDWR, O_WRONLY };
	static const int more[] = { O_CREAT | O_EXCL, O_TRUNC,	   O_APPEND,
				    O_NOFOLLOW,	      O_DIRECTORY, O_SYNC,
				    O_DSYNC,	      O_NOATIME,   O_PATH,
				    O_CREAT | O_TRUNC };
	int flags = PICK(access) | O_NONBLOCK | O_CLOEXEC, slot = (int)rnd(FDS), f;
	char *name;

	if (!one_in(4))
		flags = O_RDWR | O_CREAT | O_NONBLOCK;
	for (int i = (int)rnd(3); i > 0; i--)
		flags |= PICK(more);
	if (one_in(12))
		flags = O_RDWR | O_TMPFILE | (one_in(4) ? O_EXCL : 0);
	if (one_in(8) && !(flags & O_APPEND))
		flags |= O_DIRECT;
	name = named(0);
	f = open(name, flags, mode());
	note(" %o [%d]", (unsigned)flags, slot);
	came(f < 0 ? -1 : 0);
	touched_fd[0] = f;
	if (f < 0)
		return;
	if (fds[slot] >= 0)
		close(fds[slot]);
	fds[slot] = f;
}

static void do_mkdir(void)
{
	came(mkdir(named(0), mode()));
}

static void do_mknod(void)
{
	static const mode_t kinds[] = { S_IFIFO, S_IFSOCK, S_IFREG, S_IFCHR,
					S_IFBLK, 0,	   S_IFDIR };
	mode_t kind = PICK(kinds), m = mode();
	dev_t dev = kind == S_IFCHR ? makedev(1, 3) : makedev(259, 70000);

	note(" %o", kind | m);
	came(mknod(named(0), kind | m, kind == S_IFCHR || kind == S_IFBLK ? dev : 0));
}

static void do_symlink(void)
{
	static const char *const simple[] = {
		"../a", "../b/c", "c", "d/e", "/f", "/g/h"
	};
	char target[1024];

	if (one_in(8))
		path(target);
	else
		strcpy(target, PICK(simple));
	note(" to %s", strlen(target) > 200 ? "LONG" : target);
	came(symlink(target, named(0)));
}

static void do_link(void)
{
	int flags = one_in(4) ? AT_SYMLINK_FOLLOW : 0, r;

	note(" %x", (unsigned)flags);
	r = linkat(AT_FDCWD, named(0), AT_FDCWD, named(1), flags);
	came(r);
}

static void do_link_fd(void)
{
	int from = opened(0);

	came(linkat(from, "", AT_FDCWD, named(1), AT_EMPTY_PATH));
}

static void do_unlink(void)
{
	came(unlink(named(0)));
}

static void do_rmdir(void)
{
	came(rmdir(named(0)));
}

static void do_rename(void)
{
	static const unsigned flags[] = { 0,
					  0,
					  0,
					  0,
					  RENAME_NOREPLACE,
					  RENAME_EXCHANGE,
					  RENAME_EXCHANGE,
					  RENAME_WHITEOUT,
					  3,
					  5,
					  8,
					  7 };
	unsigned f = PICK(flags);
	char *from = named(0), *to = named(1);
	int r;

	if (is_timed)
		f &= ~RENAME_WHITEOUT;
	note(" %x", f);
	r = renameat2(AT_FDCWD, from, AT_FDCWD, to, f);
	came(r);
	/* Whose it is differs. */
	become(0);
	if (r == 0 && f & RENAME_WHITEOUT)
		unlink(from);
}

static void do_chmod(void)
{
	mode_t m = mode();

	note(" %o", m);
	if (one_in(3))
		came(fchmod(opened(0), m));
	else
		came(chmod(named(0), m));
}

static void do_chown(void)
{
	static const int ids[] = { -1, 0, 1001, 1002, 1003, 2001, 2002, 2003 };
	int uid = PICK(ids), gid = PICK(ids);

	note(" %d %d", uid, gid);
	if (one_in(3))
		came(fchown(opened(0), (uid_t)uid, (gid_t)gid));
	else if (one_in(2))
		came(lchown(named(0), (uid_t)uid, (gid_t)gid));
	else
		came(chown(named(0), (uid_t)uid, (gid_t)gid));
}

static void show_times(const struct stat *st, const struct timespec *t)
{
	if (t[0].tv_nsec < 1000000000)
		note(" a %lld.%09ld", (long long)st->st_atim.tv_sec, st->st_atim.tv_nsec);
	if (t[1].tv_nsec < 1000000000)
		note(" m %lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static void do_utimens(void)
{
	static const long special[] = { UTIME_NOW, UTIME_OMIT, 0,
					999999999, 1000000000, -1 };
	struct timespec t[2];
	struct stat st;
	bool by_fd = one_in(3);
	int flags = one_in(3) ? AT_SYMLINK_NOFOLLOW : 0, r;

	for (int i = 0; i < 2; i++)
		t[i] = (struct timespec) { rnd(1u << 31),
					   one_in(2) ? PICK(special)
						     : (long)rnd(1000000000) };
	note(" %ld %ld %x", t[0].tv_nsec, t[1].tv_nsec, (unsigned)flags);
	r = by_fd ? futimens(opened(0), t) : utimensat(AT_FDCWD, named(0), t, flags);
	came(r);
	become(0);
	if (r == 0 && (by_fd ? fstat(touched_fd[0], &st)
			     : fstatat(AT_FDCWD, touched[0], &st, flags)) == 0)
		show_times(&st, t);
}

static void do_truncate(void)
{
	off_t to = offset();

	note(" %lld", (long long)to);
	if (one_in(2))
		came(ftruncate(opened(0), to));
	else
		came(truncate(named(0), to));
}

static void do_access(void)
{
	static const int kinds[] = { F_OK, R_OK, W_OK, X_OK, R_OK | W_OK, 7 };
	int kind = PICK(kinds);

	note(" %d", kind);
	came(faccessat(AT_FDCWD, named(0), kind, AT_EACCESS));
}

static void do_readlink(void)
{
	char buf[1024];
	ssize_t n = readlink(named(0), buf, rnd(20));

	came(n);
	if (n > 0)
		note(" %.*s", (int)n, buf);
}

static void do_list(void)
{
	int at = openat(AT_FDCWD, named(0), O_RDONLY | O_DIRECTORY | O_NONBLOCK);

	came(at < 0 ? -1 : 0);
	if (at >= 0)
		differ_list(at, note);
}

static void do_chdir(void)
{
	bool by_fd = one_in(3);

	came(by_fd ? fchdir(opened(0)) : chdir(named(0)));
	become(0); /* the root may be closed to others */
	if (one_in(2) && chdir("/") < 0)
		abort();
}

/* --- extended attributes, access lists --- */

static const char *xattr(void)
{
	static const char *const names[] = { "user.a",
					     "user.a",
					     "user.b",
					     "trusted.t",
					     "security.s",
					     "security.capability",
					     "system.posix_acl_access",
					     "system.posix_acl_access",
					     "system.posix_acl_access",
					     "system.posix_acl_default",
					     "system.posix_acl_default",
					     "user.",
					     "none",
					     "other.x",
					     "system.x",
					     "" };
	const char *name = PICK(names);

	note(" %s", name);
	return name;
}

static size_t acl(uint8_t *to)
{
	static const uint16_t tags[] = { 1, 2, 2, 4, 8, 8, 0x10, 0x20 };
	static const uint32_t ids[] = { -1u, 1001, 1002, -1u, 2001, 2002, -1u, -1u };
	static const uint32_t sets[] = { 0x99, 0x99, 0xdb, 0xff, 0xcb,
					 0xd9, 0xdd, 0x8b, 0x9b };
	uint32_t set = one_in(12) ? rnd(256) : PICK(sets), version = one_in(30) ? 1 : 2;
	size_t n = 4;

	memcpy(to, &version, 4);
	for (int i = 0; i < 8; i++) {
		uint16_t perm = (uint16_t)rnd(one_in(40) ? 16 : 8);

		if (!(set >> i & 1))
			continue;
		memcpy(to + n, &tags[i], 2);
		memcpy(to + n + 2, &perm, 2);
		memcpy(to + n + 4, &ids[i], 4);
		n += 8;
	}
	return one_in(40) ? n - 3 : n;
}

/* None that is a file's capabilities, with which root's writes clear set-id bits here, too. */
static size_t value(const char *name, uint8_t *to)
{
	size_t n = rnd(one_in(5) ? 300 : 20);

	if (strncmp(name, "system.p", 8) == 0)
		return acl(to);
	fill(n);
	memcpy(to, bytes, n);
	return n;
}

static void do_setxattr(void)
{
	static const int flags[] = { 0, 0, 0, XATTR_CREATE, XATTR_REPLACE, 3, 4 };
	const char *name = xattr();
	uint8_t v[512];
	size_t n = value(name, v);
	int f = PICK(flags);

	note(" %zu %d", n, f);
	if (one_in(3))
		came(fsetxattr(opened(0), name, v, n, f));
	else if (one_in(4))
		came(lsetxattr(named(0), name, v, n, f));
	else
		came(setxattr(named(0), name, v, n, f));
}

static void do_removexattr(void)
{
	const char *name = xattr();

	if (one_in(3))
		came(fremovexattr(opened(0), name));
	else
		came(removexattr(named(0), name));
}

static void do_getxattr(void)
{
	const char *name = xattr();
	uint8_t v[512];
	size_t n = one_in(2) ? rnd(30) : sizeof(v);
	ssize_t r = one_in(3) ? fgetxattr(opened(0), name, v, n)
			      : getxattr(named(0), name, v, n);

	came(r);
	for (ssize_t i = 0; i < r && n && i < 40; i++)
		note("%s%02x", i ? "" : " ", v[i]);
}

/* --- calls on open files --- */

static void hashed(const void *p, ssize_t n)
{
	if (n > 0)
		note(" #%08x", differ_hash(p, (size_t)n));
}

/* Direct ones, which ext4 wants to be aligned, go by whole blocks. */
static bool direct(int f)
{
	int flags = fcntl(f, F_GETFL);

	return flags >= 0 && flags & O_DIRECT;
}

static void do_write(void)
{
	static const int flags[] = { 0, 0, RWF_DSYNC, RWF_SYNC, RWF_APPEND };
	size_t n = length();
	off_t at = offset();
	int f = opened(0), how = (int)rnd(3), rwf = PICK(flags);
	struct iovec v[2];

	fill(n);
	if (direct(f)) {
		n &= ~4095ul;
		at &= ~4095ll;
		how = 1;
	}
	v[0] = (struct iovec) { bytes, n / 3 };
	v[1] = (struct iovec) { bytes + n / 3, n - n / 3 };
	note(" %zu at %lld %d %d", n, (long long)at, how, rwf);
	if (how == 0)
		came(write(f, bytes, n));
	else if (how == 1)
		came(pwrite(f, bytes, n, at));
	else
		came(pwritev2(f, v, 2, one_in(4) ? -1 : at, rwf));
}

static void do_read(void)
{
	size_t n = length();
	off_t at = offset();
	int f = opened(0);
	ssize_t r;

	if (direct(f))
		n &= ~4095ul;
	note(" %zu at %lld", n, (long long)at);
	if (direct(f))
		r = pread(f, bytes, n, at & ~4095ll);
	else
		r = one_in(2) ? read(f, bytes, n) : pread(f, bytes, n, at);
	came(r);
	hashed(bytes, r);
}

static void do_seek(void)
{
	static const int whences[] = { SEEK_SET, SEEK_CUR, SEEK_END, 7 };
	int f = opened(0), whence = PICK(whences);
	struct stat st;
	off_t at = offset();

	if (direct(f))
		at &= ~4095ll;
	if (fstat(f, &st) == 0 && S_ISDIR(st.st_mode))
		at = 0, whence = SEEK_SET;
	note(" %lld %d", (long long)at, whence);
	came(lseek(f, at, whence));
}

/* Where data is may differ, but what is told to be a hole must read as zeros. */
static void do_holes(void)
{
	int f = opened(0);
	off_t at = one_in(2) ? 0 : offset();
	int e = differ_holes(f, at);

	note(" %lld", (long long)at);
	note(" = %s", e ? strerrorname_np(e) : "fine");
}

static void do_fallocate(void)
{
	static const int modes[] = { 0, 0, 1, 3, 3, 16, 17, 2, 0x40 };
	int f = opened(0), m = PICK(modes);
	off_t at = offset();
	size_t n = length();

	note(" %d %lld %zu", m, (long long)at, n);
	came(fallocate(f, m, at, (off_t)n));
}

static void do_copy(void)
{
	int from = opened(0), to = opened(1), flags = one_in(30) ? 1 : 0;
	off_t a = offset(), b = offset();
	size_t n = length();
	ssize_t r = 0, all = 0;

	if (direct(from) || direct(to)) {
		note(" direct");
		return;
	}
	note(" %lld %lld %zu %d", (long long)a, (long long)b, n, flags);
	do
		r = copy_file_range(from, &a, to, &b, n - (size_t)all, (unsigned)flags);
	while (r > 0 && (all += r) < (ssize_t)n);
	came(all ? all : r);
}

static void do_sendfile(void)
{
	int from = opened(0), to = opened(1);
	off_t at = offset();
	size_t n = length();

	if (direct(from) || direct(to)) {
		note(" direct");
		return;
	}
	note(" %lld %zu", (long long)at, n);
	came(sendfile(to, from, &at, n));
}

static void do_splice(void)
{
	int from = opened(0), to = opened(1), ends[2];
	off_t a = offset(), b = offset();
	ssize_t r;

	if (direct(from) || direct(to) || pipe(ends) < 0) {
		note(" direct");
		return;
	}
	note(" %lld %lld", (long long)a, (long long)b);
	r = splice(from, &a, ends[1], NULL, 10000, SPLICE_F_NONBLOCK);
	came(r);
	if (r > 0)
		came(splice(ends[0], NULL, to, &b, (size_t)r, SPLICE_F_NONBLOCK));
	close(ends[0]);
	close(ends[1]);
}

static void do_sync(void)
{
	int f = opened(0);

	switch (rnd(4)) {
	case 0:
		came(fsync(f));
		break;
	case 1:
		came(fdatasync(f));
		break;
	case 2:
		came(sync_file_range(f, 0, 0, 7));
		break;
	default:
		came(posix_fadvise(f, 0, 0, POSIX_FADV_DONTNEED));
	}
}

static void do_close(void)
{
	int slot = (int)rnd(FDS), other = (int)rnd(FDS);

	note(" [%d] [%d]", slot, other);
	came(fds[slot] < 0 ? 0 : close(fds[slot]));
	fds[slot] = one_in(3) && other != slot ? dup(fds[other]) : -1;
}

static void do_flags(void)
{
	int f = opened(0);

	if (direct(f))
		return;
	came(fcntl(f, F_SETFL, one_in(2) ? O_APPEND | O_NONBLOCK : O_NONBLOCK));
}

static void do_lock(void)
{
	static const short kinds[] = { F_RDLCK, F_WRLCK, F_UNLCK };
	struct flock l = { PICK(kinds), SEEK_SET, (off_t)rnd(10), (off_t)rnd(10), 0 };
	int f = opened(0);

	note(" %d", l.l_type);
	came(fcntl(f, one_in(2) ? F_OFD_SETLK : F_SETLK, &l));
}

/* --- maps --- */

static void on_fault(int sig)
{
	(void)sig;
	siglongjmp(fault, 1);
}

static void do_map(void)
{
	int slot = (int)rnd(MAPS), f = opened(0);
	int prot = one_in(3) ? PROT_READ : PROT_READ | PROT_WRITE;
	off_t off = one_in(3) ? 4096 * (off_t)rnd(20) : 0;
	size_t n = 1 + rnd(100000);
	int flags = one_in(3) ? MAP_PRIVATE : MAP_SHARED;
	char *at;

	note(" {%d} %d %d %lld %zu", slot, prot, flags, (long long)off, n);
	at = mmap(NULL, n, prot, flags, f, off);
	came(at == MAP_FAILED ? -1 : 0);
	if (at == MAP_FAILED)
		return;
	if (maps[slot].at) {
		munmap(maps[slot].at, maps[slot].n);
		close(maps[slot].fd);
	}
	maps[slot].at = at, maps[slot].n = n, maps[slot].off = off;
	maps[slot].fd = dup(f), maps[slot].prot = prot, maps[slot].flags = flags;
}

/* Not behind the end in the last page: what is there is undefined. */
static void do_poke(void)
{
	int slot = (int)rnd(MAPS);
	size_t at = rnd(one_in(2) ? 100000 : 5000), n = 1 + rnd(3000);
	struct stat st;

	note(" {%d} %zu %zu", slot, at, n);
	fill(n);
	if (!maps[slot].at || !(maps[slot].prot & PROT_WRITE) || at + n > maps[slot].n ||
	    fstat(maps[slot].fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (off_t)(at + n) + maps[slot].off > st.st_size) {
		note(" = not there");
		return;
	}
	if (sigsetjmp(fault, 1)) {
		note(" = SIGBUS");
		return;
	}
	memcpy(maps[slot].at + at, bytes, n);
	note(" = done");
	touched_fd[0] = maps[slot].fd;
}

static void do_peek(void)
{
	int slot = (int)rnd(MAPS);
	volatile size_t at = rnd(one_in(2) ? 100000 : 5000), n = 1 + rnd(3000);
	struct stat st;

	note(" {%d} %zu %zu", slot, at, n);
	if (!maps[slot].at || at + n > maps[slot].n)
		return;
	if (fstat(maps[slot].fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (maps[slot].off + (off_t)at < st.st_size &&
	    maps[slot].off + (off_t)(at + n) > st.st_size)
		n = (size_t)(st.st_size - maps[slot].off) - at;
	if (sigsetjmp(fault, 1)) {
		note(" = SIGBUS");
		return;
	}
	memcpy(bytes, maps[slot].at + at, n);
	hashed(bytes, (ssize_t)n);
}

static void do_msync(void)
{
	int slot = (int)rnd(MAPS);

	note(" {%d}", slot);
	if (!maps[slot].at)
		return;
	if (one_in(3)) {
		came(munmap(maps[slot].at, maps[slot].n));
		close(maps[slot].fd);
		maps[slot].at = NULL;
	} else {
		came(msync(maps[slot].at, maps[slot].n, one_in(2) ? MS_SYNC : MS_ASYNC));
	}
}

/* --- all of it --- */

static const struct {
	const char *name;
	void (*run)(void);
	uint32_t weight;
} calls[] = {
	{ "open", do_open, 20 },
	{ "mkdir", do_mkdir, 8 },
	{ "mknod", do_mknod, 3 },
	{ "symlink", do_symlink, 3 },
	{ "link", do_link, 5 },
	{ "link_fd", do_link_fd, 3 },
	{ "unlink", do_unlink, 9 },
	{ "rmdir", do_rmdir, 4 },
	{ "rename", do_rename, 10 },
	{ "chmod", do_chmod, 8 },
	{ "chown", do_chown, 6 },
	{ "utimens", do_utimens, 5 },
	{ "truncate", do_truncate, 6 },
	{ "access", do_access, 3 },
	{ "readlink", do_readlink, 2 },
	{ "list", do_list, 3 },
	{ "chdir", do_chdir, 1 },
	{ "setxattr", do_setxattr, 10 },
	{ "removexattr", do_removexattr, 3 },
	{ "getxattr", do_getxattr, 4 },
	{ "write", do_write, 18 },
	{ "read", do_read, 10 },
	{ "seek", do_seek, 3 },
	{ "holes", do_holes, 3 },
	{ "fallocate", do_fallocate, 8 },
	{ "copy", do_copy, 8 },
	{ "sendfile", do_sendfile, 3 },
	{ "splice", do_splice, 2 },
	{ "sync", do_sync, 3 },
	{ "close", do_close, 4 },
	{ "flags", do_flags, 1 },
	{ "lock", do_lock, 1 },
	{ "map", do_map, 7 },
	{ "poke", do_poke, 10 },
	{ "peek", do_peek, 8 },
	{ "msync", do_msync, 2 },
};

static size_t pick_call(void)
{
	uint32_t sum = 0, at;
	size_t i = 0;

	for (size_t k = 0; k < sizeof(calls) / sizeof(calls[0]); k++)
		sum += calls[k].weight;
	for (at = rnd(sum); at >= calls[i].weight; i++)
		at -= calls[i].weight;
	return i;
}

static void show(const char *what, int r, const struct stat *st)
{
	note("\n   %s: ", what);
	if (r < 0)
		note("%s", strerrorname_np(errno));
	else
		note("%o %d:%d links %d size %lld rdev %llx", st->st_mode,
		     (int)st->st_uid,
		     S_ISCHR(st->st_mode) && !st->st_rdev ? 0 : (int)st->st_gid,
		     (int)st->st_nlink, S_ISDIR(st->st_mode) ? 0 : (long long)st->st_size,
		     (unsigned long long)st->st_rdev);
}

static void show_touched(void)
{
	struct stat st;

	for (int i = 0; i < 2; i++) {
		if (*touched[i])
			show("name", lstat(touched[i], &st), &st);
		if (touched_fd[i] >= 0) {
			show("file", fstat(touched_fd[i], &st), &st);
			if (!S_ISDIR(st.st_mode))
				note(" at %lld",
				     (long long)lseek(touched_fd[i], 0, SEEK_CUR));
		}
	}
}

/* When a map moves the times of its file is for the filesystem to say, until then. */
static void write_maps_back(void)
{
	for (int i = 0; i < MAPS; i++)
		if (maps[i].at && msync(maps[i].at, maps[i].n, MS_SYNC) < 0)
			abort();
}

static void call(unsigned i, bool timed)
{
	static const uid_t users[] = { 0, 0, 1001, 1001, 1002, 1003 };
	static const mode_t masks[] = { 022, 022, 0, 0, 0, 077, 027, 0777 };
	size_t which = pick_call();
	struct differ_times *before = NULL;
	uid_t uid = PICK(users);

	said = 0;
	*touched[0] = *touched[1] = 0;
	touched_fd[0] = touched_fd[1] = -1;
	is_timed = timed = timed && calls[which].run != do_poke;
	if (timed) {
		write_maps_back();
		before = differ_times_new();
		usleep(12000);
	}
	umask(PICK(masks));
	become(uid);
	note("%u %d %s", i, (int)uid, calls[which].name);
	calls[which].run();
	become(0);
	if (timed)
		before = differ_times_changed(before, note);
	show_touched();
	printf("%s\n", line);
}

int main(int argc, char **argv)
{
	unsigned count = argc > 3 ? (unsigned)atoi(argv[2]) : 0;

	if (argc < 4 || chroot(argv[3]) < 0 || chdir("/") < 0)
		return 2;
	state = strtoull(argv[1], NULL, 0) * 2654435761u + 1;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGBUS, on_fault);
	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	umask(0);
	if (chmod("/", 01777) < 0)
		return 2;
	for (unsigned i = 1; i <= count; i++) {
		call(i, i % 32 == 0);
		if (i % 100 == 0)
			chmod("/", 01777);
		if (i % 200 == 0 || i == count)
			differ_tree();
	}
	return 0;
}
