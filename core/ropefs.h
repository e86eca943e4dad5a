/* ropefs.h - libropefs: a store of byte-ropes and their names, without FUSE.
 *
 * Every function returns 0 or a count, or a negative error: an errno, or a code of ours,
 * which ropefs_error_text() puts into words. ret_ outputs are untouched on failure.
 * ropefs_error() gives the sentence that belongs to the last failure in the calling thread.
 * All functions may be called from many threads at once unless they say otherwise.
 *
 * Durability: a change is in memory and in the log's buffer when a function returns, on its
 * way to disk within `window_ms`, and durable when ropefs_sync() has returned. Changes
 * become durable in the order they were made: what is there after a power cut is a prefix
 * of the history, no shorter than what was synced. */
#ifndef ROPEFS_H
#define ROPEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ROPEFS_VERSION	 "0.1.0"
#define ROPEFS_NAME_MAX	 255
#define ROPEFS_ROOT_INO	 1
#define ROPEFS_WRITE_MAX (1u << 20) /* bytes that one write or insert takes as one step */

struct ropefs;

/* --- errors --- */
const char *ropefs_error(void); /* last sentence of this thread, or "" */
const char *ropefs_error_text(int r); /* general sentence of a negative result */
int ropefs_error_errno(int r); /* positive errno for it */
int ropefs_error_exit_status(int r); /* 1 failed, 3 wrong key, 4 in use, 5 corrupt,
						 * 6 not a store, 7 newer format,
						 * 8 a conflict */

/* --- making, opening, closing --- */
struct ropefs_init_opts {
	const char *key_file; /* NULL: the default place, see ropefs_key_path() */
	const char *cipher; /* NULL: "xchacha20-poly1305"; "aes256-gcm", "none" */
};
/* Makes a store in the folder path (made when absent; must be empty) and its key file, which
 * must lie outside of it. *ret_key_path (may be NULL) is the caller's to free. */
int ropefs_init(const char *path, const struct ropefs_init_opts *opts,
		char **ret_key_path);

enum ropefs_durability {
	ROPEFS_ASYNC = 0, /* synced within window_ms */
	ROPEFS_SYNC = 1, /* each change waits for the log */
	/* As ROPEFS_ASYNC, but a sync waits until the bucket has it too. */
	ROPEFS_REMOTE = 2,
};

struct ropefs_log_mark {
	uint64_t words[2]; /* atomic */
};

/* What a change may have to wait for. */
enum ropefs_waits {
	ROPEFS_WAITS_MEMORY, /* a checkpoint: every change */
	ROPEFS_WAITS_SPACE, /* room on the disk, or in the bucket: those that free none */
	ROPEFS_WAITS_LOG, /* to be durable, or pushed: every change */
	ROPEFS_WAITS_KINDS
};

struct ropefs_opts {
	const char *key_file; /* NULL: the default place */
	bool read_only; /* writes nothing to the store but the lock file */
	uint64_t memory_bytes; /* 0: 256 MiB; at least 32 MiB */
	enum ropefs_durability durability;
	unsigned window_ms; /* 0: 100 */
	int zstd_level; /* 0: 1 */
	unsigned checkpoint_s; /* 0: 30 */
	/* NULL, or told of each event: one JSON object, without a newline. From any thread,
	 * possibly in the midst of a call: it must return soon and not call back. */
	void (*event)(void *arg, const char *line);
	void *event_arg;
	/* Likewise of those that name a file by its path, which not everybody may see; NULL: event
	 * is told of them, too. */
	void (*event_named)(void *event_arg, const char *line);
	/* All that is stored is read and verified once in so many seconds, in slices; 0: only
	 * when asked (ropefs_scrub_start()). */
	unsigned scrub_s;
	/* NULL, or told of each change of what ropefs_watch() named, by the thread that made it,
	 * without locks of the store: it may call back. ino 0: any of them. */
	void (*changed)(void *event_arg, uint64_t ino);
	/* NULL, or told, without locks, of each inode that is held and has other bytes, names or
	 * attributes since a newer state came from a bucket (ropefs_open_bucket()). */
	void (*refreshed)(void *event_arg, uint64_t ino);
	/* The blocks (struct ropefs_attr) of these inodes changed, though nobody changed them: a
	 * checkpoint compressed their bytes. Only of those that ropefs_hold() holds, and of some
	 * in snapshots. From a thread of the store, which it must not make wait. May be NULL. */
	void (*blocks)(void *event_arg, const uint64_t *inos, size_t n);
	/* NULL, or told when a change begins to wait, and when that is over, by the thread that
	 * makes it; with locks of the store held: it must return soon and not call back. */
	void (*waits)(void *event_arg, enum ropefs_waits what, bool begins);
	/* For a process that another one may take over from when it is killed. push: a change is
	 * in the log's file, safe from that, when its call returns. keep_orphans: inodes without
	 * names are there until somebody held and released them (else opening removes them).
	 * lock_fd: 0, or an open file that holds the store's lock (ropefs_dup_lock() of the
	 * one before); ropefs_open() owns it. log_mark: NULL, or memory that outlives the process,
	 * zeros at first: the next one is spared to look for the log's end where nothing was
	 * written (64 MiB to read). */
	bool push, keep_orphans;
	int lock_fd;
	struct ropefs_log_mark *log_mark;
};
/* opts may be NULL. Recovers by itself. One process at a time: "in use" names its pid. */
int ropefs_open(const char *path, const struct ropefs_opts *opts, struct ropefs **ret);
/* Checkpoints, marks the store clean and frees fs whatever happens; the error tells what
 * could not be written (it is still in the log, then). */
int ropefs_close(struct ropefs *fs);

/* --- inodes and names --- */
struct ropefs_time {
	int64_t ns; /* since 1970 */
};
struct ropefs_attr {
	uint64_t ino;
	uint32_t mode, nlink, uid, gid;
	uint64_t rdev;
	uint64_t size; /* bytes; of a directory: its entries; of a symlink: its length */
	/* Of 512 bytes: what is stored after compression, about, holes left out; bytes that no
	 * checkpoint has packed yet count as they are. Not 0 where there are bytes. */
	uint64_t blocks;
	struct ropefs_time atime, mtime, ctime, btime;
	bool is_queue;
	uint64_t version; /* of a regular file: greater after each change of its bytes */
};
enum ropefs_set {
	ROPEFS_SET_MODE = 1,
	ROPEFS_SET_UID = 2,
	ROPEFS_SET_GID = 4,
	ROPEFS_SET_SIZE = 8,
	ROPEFS_SET_ATIME = 16,
	ROPEFS_SET_MTIME = 32,
	ROPEFS_SET_ATIME_NOW = 64,
	ROPEFS_SET_MTIME_NOW = 128,
	ROPEFS_SET_CTIME = 256,
};
int ropefs_getattr(struct ropefs *fs, uint64_t ino, struct ropefs_attr *ret);
int ropefs_setattr(struct ropefs *fs, uint64_t ino, const struct ropefs_attr *to,
		   unsigned set, struct ropefs_attr *ret);

/* Names are n bytes, 1..255, any but '/' and NUL, not "." or ".." (-EINVAL; longer:
 * -ENAMETOOLONG). */
struct ropefs_name {
	const char *p;
	size_t n;
};
struct ropefs_name ropefs_name(const char *s);
int ropefs_lookup(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		  struct ropefs_attr *ret);
/* mode has S_IFMT: regular file, directory, fifo, socket, device. */
struct ropefs_new {
	uint32_t mode, uid, gid;
	uint32_t umask; /* taken off the mode unless dir has a default ACL */
	uint64_t rdev;
	uint64_t near; /* of a file without a name: whose default ACL it gets; 0: none */
};
int ropefs_create(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		  const struct ropefs_new *what, struct ropefs_attr *ret);
/* A file without a name: gone when its last hold is released, unless linked before. Comes
 * with one hold. */
int ropefs_create_unnamed(struct ropefs *fs, const struct ropefs_new *what,
			  struct ropefs_attr *ret);
int ropefs_symlink(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		   struct ropefs_name target, const struct ropefs_new *what,
		   struct ropefs_attr *ret);
/* *ret_target is the caller's to free; NUL-ended. */
int ropefs_readlink(struct ropefs *fs, uint64_t ino, char **ret_target);
int ropefs_link(struct ropefs *fs, uint64_t ino, uint64_t dir, struct ropefs_name name,
		struct ropefs_attr *ret);
int ropefs_unlink(struct ropefs *fs, uint64_t dir, struct ropefs_name name);
int ropefs_rmdir(struct ropefs *fs, uint64_t dir, struct ropefs_name name);
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT of <stdio.h>. The last leaves a
 * character device 0:0, owned by root, under the old name. */
int ropefs_rename(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		  uint64_t to_dir, struct ropefs_name to_name, unsigned flags);
/* Walks '/'-separated names from the root without following symlinks. */
int ropefs_resolve(struct ropefs *fs, const char *path, struct ropefs_attr *ret);

struct ropefs_entry {
	uint64_t ino;
	/* Pass as `after` to go on behind this entry. At least 256; bit 7 is clear. */
	uint64_t cookie;
	uint8_t type; /* DT_REG ... */
	char name[ROPEFS_NAME_MAX + 1];
	size_t name_len;
};
/* Fills up to max entries with cookies > after, in cookie order; returns how many. attrs
 * may be NULL, else gets their attributes. "." and ".." are not among them. Cookies are stable:
 * an entry that stays is given exactly once in a walk. */
int ropefs_readdir(struct ropefs *fs, uint64_t dir, uint64_t after,
		   struct ropefs_entry *ret, struct ropefs_attr *attrs, unsigned max);
/* The directory a directory is in (root: itself; root of a snapshot: what it is of). */
int ropefs_parent(struct ropefs *fs, uint64_t dir, uint64_t *ret_ino);

/* 1 with the first inode above `after` that has no name left; 0: none. */
int ropefs_next_orphan(struct ropefs *fs, uint64_t after, uint64_t *ret_ino);
/* Keeps an inode that loses its last name until released as often; not durable. */
int ropefs_hold(struct ropefs *fs, uint64_t ino);
void ropefs_release(struct ropefs *fs, uint64_t ino, uint64_t times);

/* xattrs: flags XATTR_CREATE, XATTR_REPLACE. get and list return the size; with n == 0 only
 * that; -ERANGE when n is too small. */
ssize_t ropefs_getxattr(struct ropefs *fs, uint64_t ino, const char *name, void *value,
			size_t n);
ssize_t ropefs_listxattr(struct ropefs *fs, uint64_t ino, char *list, size_t n);
int ropefs_setxattr(struct ropefs *fs, uint64_t ino, const char *name, const void *value,
		    size_t n, int flags);
int ropefs_removexattr(struct ropefs *fs, uint64_t ino, const char *name);

/* POSIX ACLs are the xattrs system.posix_acl_access and _default, in the kernel's bytes
 * (-EINVAL: they make no sense). Setting the first sets the mode's permissions, chmod changes
 * it, and what is created in a directory gets its default one. */
struct ropefs_who {
	uint32_t uid, gid;
	const uint32_t *groups; /* the supplementary ones */
	size_t n_groups;
};
/* Whether an inode's mode and ACL give all of want (4 read, 2 write, 1 execute) to who isn't root:
 * 0, -EACCES. */
int ropefs_access(struct ropefs *fs, uint64_t ino, const struct ropefs_who *who,
		  unsigned want);

/* --- snapshots (docs/SNAPSHOTS.md) --- */
/* Inodes of a snapshot have numbers with this bit. All functions that read take them; those
 * that change give -EROFS. Once the snapshot was dropped: -ESTALE. */
#define ROPEFS_SNAPSHOT_BIT ((uint64_t)1 << 60)
static inline bool ropefs_in_snapshot(uint64_t ino)
{
	return ino >> 60 == 1;
}
/* A read-only image of the directory and all below it, of this instant. Durable when it
 * returns. *ret (may be NULL): its root. -EEXIST; -EMLINK: there are too many; -EROFS: dir is
 * itself in a snapshot. */
int ropefs_snapshot_create(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
			   struct ropefs_attr *ret);
int ropefs_snapshot_lookup(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
			   struct ropefs_attr *ret);
/* -ENOENT; -EBUSY while an inode of it is held (ropefs_hold()). A collection in the background
 * gives its space back, or ropefs_collect(). */
int ropefs_snapshot_drop(struct ropefs *fs, uint64_t dir, struct ropefs_name name);
struct ropefs_snapshot {
	uint64_t id; /* rises; pass as `after` to go on behind it */
	uint64_t dir;
	uint64_t root; /* inode of the directory in the snapshot */
	struct ropefs_time time;
	uint64_t inodes, bytes; /* of the whole store, then */
	char name[ROPEFS_NAME_MAX + 1];
	size_t name_len;
};
/* Up to max snapshots with ids > after, of one directory, or of all with dir 0; returns how
 * many. */
int ropefs_snapshot_list(struct ropefs *fs, uint64_t dir, uint64_t after,
			 struct ropefs_snapshot *ret, unsigned max);

/* --- bytes --- */
enum ropefs_io_flags {
	/* -EAGAIN instead of reading a pack (a chunk that is not in memory) or waiting for
	 * memory (a change while the store is over its budget): call again without it in a
	 * thread that may wait. A page of a tree is read even so. */
	ROPEFS_NOWAIT = 1,
	ROPEFS_APPEND = 2, /* write at the end, whatever `at` says */
	/* With ROPEFS_NOWAIT: a read gives -EREMOTE instead of -EAGAIN when the bucket may have
	 * to be asked, for who keeps threads apart that may wait long. */
	ROPEFS_FAR = 4,
};
struct ropefs_range {
	uint64_t ino, at, n;
};
/* What this thread reads until the next call was asked for then (CLOCK_MONOTONIC, ns; 0: with each
 * call), and has waited for the thread since: a bucket that was found to be away meanwhile is not
 * waited for again. */
void ropefs_asked_at(uint64_t mono_ns);
/* Whatever this thread calls that reads bytes gives -EREMOTE where the bucket may have to be asked,
 * until it is told otherwise: for who calls it again in another thread, which may wait long. */
void ropefs_stay_near(bool near);
/* Reads up to n bytes at `at`; fewer only at the end of the file. Returns the count. */
ssize_t ropefs_read(struct ropefs *fs, uint64_t ino, uint64_t at, void *p, size_t n,
		    unsigned flags);
/* Overwrites and extends. Up to ROPEFS_WRITE_MAX bytes are one atomic step; more are
 * several. Returns n or a negative error; *ret_at (may be NULL) says where it went. */
ssize_t ropefs_write(struct ropefs *fs, uint64_t ino, uint64_t at, const void *p,
		     size_t n, unsigned flags, uint64_t *ret_at);
/* As ropefs_write() of p to dst (dst.n bytes, at most ROPEFS_WRITE_MAX; no ROPEFS_APPEND), which
 * are perhaps those that src has at src.at: if so, they are shared with it, and *ret_shared
 * says it. */
ssize_t ropefs_write_like(struct ropefs *fs, struct ropefs_range dst, const void *p,
			  unsigned flags, struct ropefs_range src, bool *ret_shared);
/* O(log size) edits. at (and at + n for cut) must lie within the file: -ERANGE. */
ssize_t ropefs_insert(struct ropefs *fs, uint64_t ino, uint64_t at, const void *p,
		      size_t n, unsigned flags);
int ropefs_cut(struct ropefs *fs, uint64_t ino, uint64_t at, uint64_t n);
int ropefs_truncate(struct ropefs *fs, uint64_t ino, uint64_t size);

/* dst's bytes are taken out and src's put in their place, as one step, sharing the stored
 * bytes. dst.n and src.n may differ and may be 0; src may be dst's own file when the
 * ranges do not overlap. Ranges must lie within the files: -ERANGE. */
int ropefs_replace(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src);
/* The same, and src's bytes leave their place: at is as before the call in both ranges. One step;
 * tried again when others change the files meanwhile. */
int ropefs_move(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src);
/* As copy_file_range: overwrites at dst.at (dst.n is ignored), up to src's end; returns
 * the count. Shares bytes; a whole file onto an empty one is O(1). */
ssize_t ropefs_copy(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src);
/* Makes [at, at+n) a hole; keep_size as FALLOC_FL_KEEP_SIZE, else the file may grow. */
int ropefs_punch(struct ropefs *fs, uint64_t ino, uint64_t at, uint64_t n,
		 bool keep_size);
/* SEEK_DATA and SEEK_HOLE: -ENXIO past the end. Holes are told in whole blocks of 4096 bytes; a
 * block with a byte of data is data. */
int ropefs_seek(struct ropefs *fs, uint64_t ino, uint64_t at, int whence,
		uint64_t *ret_at);

/* --- transactions: many edits of many files that happen as one step, or not at all ---
 *
 * A transaction edits private copies (which share the stored bytes: O(1) each, and an edit costs
 * what it costs without), seen by its own calls alone. The commit puts them in place by one record
 * of the log. Nothing is locked meanwhile: a commit fails with an error whose errno is EBUSY
 * (ropefs_error() names the file) when somebody else has changed a file since the transaction first
 * read or edited it; begin again then. A crash before the commit leaves nothing.
 *
 * Edits may be of any size: what they bring is in the log and in packs like other bytes. In
 * memory a transaction holds some 100 bytes for each file, and its names and xattrs, which
 * must fit 4 MiB together with 32 bytes for each file (-EFBIG).
 * A transaction is used by one thread at a time, and ended before its store is closed. */
struct ropefs_txn;
int ropefs_txn_begin(struct ropefs *fs, struct ropefs_txn **ret);
/* Frees t whatever happens; an error says that nothing of it has happened (but for an error of a
 * log that failed while it waited with durability=sync). Durable as any change is. */
int ropefs_txn_commit(struct ropefs_txn *t);
void ropefs_txn_abort(struct ropefs_txn *t); /* frees t; NULL is fine */

/* As without txn_, on regular files, seeing and making what the transaction did. ROPEFS_NOWAIT
 * is not known. */
int ropefs_txn_getattr(struct ropefs_txn *t, uint64_t ino, struct ropefs_attr *ret);
ssize_t ropefs_txn_read(struct ropefs_txn *t, uint64_t ino, uint64_t at, void *p,
			size_t n);
ssize_t ropefs_txn_write(struct ropefs_txn *t, uint64_t ino, uint64_t at, const void *p,
			 size_t n, unsigned flags, uint64_t *ret_at);
ssize_t ropefs_txn_insert(struct ropefs_txn *t, uint64_t ino, uint64_t at, const void *p,
			  size_t n);
int ropefs_txn_cut(struct ropefs_txn *t, uint64_t ino, uint64_t at, uint64_t n);
int ropefs_txn_truncate(struct ropefs_txn *t, uint64_t ino, uint64_t size);
int ropefs_txn_replace(struct ropefs_txn *t, struct ropefs_range dst,
		       struct ropefs_range src);
ssize_t ropefs_txn_copy(struct ropefs_txn *t, struct ropefs_range dst,
			struct ropefs_range src);
int ropefs_txn_move(struct ropefs_txn *t, struct ropefs_range dst,
		    struct ropefs_range src);

/* Names and xattrs: noted in their order, and done at the commit, where they can still fail
 * (and all fails with them). A created file is a regular one, and can be edited at once by its
 * number. */
int ropefs_txn_lookup(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name,
		      uint64_t *ret_ino);
int ropefs_txn_create(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name,
		      const struct ropefs_new *what, uint64_t *ret_ino);
int ropefs_txn_link(struct ropefs_txn *t, uint64_t ino, uint64_t dir,
		    struct ropefs_name name);
int ropefs_txn_unlink(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name);
int ropefs_txn_rename(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name,
		      uint64_t to_dir, struct ropefs_name to_name, unsigned flags);
int ropefs_txn_setxattr(struct ropefs_txn *t, uint64_t ino, const char *name,
			const void *value, size_t n);
int ropefs_txn_removexattr(struct ropefs_txn *t, uint64_t ino, const char *name);

/* Records of a queue, added at the commit as ropefs_append() does, with their ids and times of
 * then. Appends of others are no conflict. Returns n. They count as names do (4 MiB). */
ssize_t ropefs_txn_append(struct ropefs_txn *t, uint64_t ino, const void *p, size_t n);
/* The cursor of a queue moves with the rest: what was made of the records before id is there
 * exactly if the cursor stands behind them. */
int ropefs_txn_cursor_commit(struct ropefs_txn *t, uint64_t ino, const char *name,
			     uint64_t id);

/* The file has its private copy from now on: each later edit of it, of up to ROPEFS_WRITE_MAX
 * bytes, is one change (ropefs_note_lsn()). */
int ropefs_txn_touch(struct ropefs_txn *t, uint64_t ino);
/* A move is two changes, once it is found possible and both files have their copies: step 0 puts
 * the bytes where they go, 1 takes them from their place. */
int ropefs_txn_move_begin(struct ropefs_txn *t, struct ropefs_range dst,
			  struct ropefs_range src);
int ropefs_txn_move_step(struct ropefs_txn *t, struct ropefs_range dst,
			 struct ropefs_range src, unsigned step);
/* What a process needs that goes on with the transaction when this one was killed (opts.push,
 * opts.keep_orphans): bytes that only grow, good until the next call. The edits are in the
 * store. Resuming fails with -ENOENT where a copy is gone. */
struct ropefs_txn_state {
	const void *files, *staged;
	size_t files_n, staged_n;
};
void ropefs_txn_state(const struct ropefs_txn *t, struct ropefs_txn_state *ret);
int ropefs_txn_resume(struct ropefs *fs, const struct ropefs_txn_state *is,
		      struct ropefs_txn **ret);

/* Each file whose bytes the transaction changes, by the number of the file itself. */
void ropefs_txn_each(struct ropefs_txn *t, void (*fn)(void *arg, uint64_t ino),
		     void *arg);

/* --- values: small files that are read and written as a whole --- */
#define ROPEFS_ETAG_MAX 40
/* A word that changes with each change of a file's bytes, and never comes back; it survives
 * restarts. */
int ropefs_etag(struct ropefs *fs, uint64_t ino, char ret[ROPEFS_ETAG_MAX]);
/* The file's bytes become these (at most ROPEFS_WRITE_MAX) as one step, if its etag is still
 * that one; NULL: in any case. EBUSY (ropefs_error_errno) when somebody changed it. ret_etag
 * (may be NULL, and is not if_etag) has room for ROPEFS_ETAG_MAX: what it has then. That stands
 * there before the change can be seen; after an error it says nothing. */
int ropefs_put(struct ropefs *fs, uint64_t ino, const char *if_etag, const void *p,
	       size_t n, char *ret_etag);
/* The same with all bytes of another file, of any size; shares them. */
int ropefs_replace_if(struct ropefs *fs, uint64_t ino, const char *if_etag, uint64_t from,
		      char *ret_etag);
/* All bytes of a file (-EFBIG past ROPEFS_WRITE_MAX) and the etag it has with them; *ret is the
 * caller's to free, and has a NUL behind the bytes. */
int ropefs_value(struct ropefs *fs, uint64_t ino, char **ret, size_t *ret_n,
		 char ret_etag[ROPEFS_ETAG_MAX]);
/* A decimal number of 64 bits with a sign, blanks around it: -EINVAL, -ERANGE. */
int ropefs_number_parse(const char *p, size_t n, int64_t *ret);
/* The number that a file holds (an empty one: 0). -EINVAL: it holds none. */
int ropefs_number(struct ropefs *fs, uint64_t ino, int64_t *ret);
/* Adds n to it as one step, however many do so at once; *ret (may be NULL) is the sum.
 * -ERANGE: it would take more than 64 bits. */
int ropefs_add(struct ropefs *fs, uint64_t ino, int64_t n, int64_t *ret);
/* Changes a JSON file of at most ROPEFS_WRITE_MAX bytes by a JSON Patch (RFC 6902) as one step:
 * all of the patch, or none. -EINVAL: one of the two is not JSON, or they don't fit, and
 * ropefs_error() says why. Numbers are those of 64-bit floating point: a file or a patch with a
 * number of more than 15 digits, or that is not such a one, is refused; so is a patch whose copies
 * add more than 1 MiB, or that makes more than 1000 values in one another. */
int ropefs_patch(struct ropefs *fs, uint64_t ino, const char *p, size_t n);
/* What those two make of a value, without a store; the caller frees *ret. */
int ropefs_value_add(const char *p, size_t n, int64_t add, char **ret, size_t *ret_n);
int ropefs_value_patch(const char *p, size_t n, const char *patch, size_t patch_n,
		       char **ret, size_t *ret_n);

/* --- files that expire --- */
struct ropefs_expire {
	/* Told of each file that was removed; may be NULL. */
	void (*removed)(void *arg, uint64_t dir, uint64_t ino, struct ropefs_name name);
	bool (*stop)(void *arg); /* true ends the look with -EINTR; may be NULL */
	void *arg;
};
/* Removes regular files that were not changed for longer than the policy ttl allows, if it is
 * time to look for some; returns how many. *ret_wait_ms says when to call again: nobody else
 * does. A file in use goes as by unlink. */
int ropefs_expire(struct ropefs *fs, const struct ropefs_expire *how,
		  uint64_t *ret_wait_ms);

/* --- strides: `size` bytes out of every `step`, from `at` on --- */
struct ropefs_stride {
	uint64_t at, size, step; /* step >= size > 0: else -EINVAL */
	uint64_t end; /* no byte from there on is of a piece; 0: the file's end */
};
/* Bytes of the pieces together in a file of `size` bytes; the last piece may be cut short. */
int ropefs_stride_bytes(const struct ropefs_stride *s, uint64_t size, uint64_t *ret);
/* Reads them one after another, from byte `from` of them on. */
ssize_t ropefs_stride_read(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s,
			   uint64_t from, void *p, size_t n, unsigned flags);
/* One step each, O(log size) a piece. write: n is ropefs_stride_bytes() (-EINVAL), and piece
 * for piece is overwritten. insert: n bytes are put in, in pieces of `size`, so that each begins
 * at its place in the new file (-ERANGE where that is beyond the end); `end` is not used. cut:
 * takes the pieces out. */
int ropefs_stride_write(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s,
			const void *p, size_t n);
int ropefs_stride_insert(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s,
			 const void *p, size_t n);
int ropefs_stride_cut(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s);

/* --- durability --- */
int ropefs_sync(struct ropefs *fs); /* all that returned before is durable */
/* The same without waiting: done(arg, result) is called once, from another thread or
 * from within the call. */
void ropefs_sync_async(struct ropefs *fs, void (*done)(void *arg, int result), void *arg);
/* The same for who can lend a thread, which spares the way to another one: true asks the
 * caller to call ropefs_sync_lead() soon. That syncs for all who wait, as long as more join. */
bool ropefs_sync_join(struct ropefs *fs, void (*done)(void *arg, int result), void *arg);
/* For nobody yet, but somebody is going to ask for it: who joins meanwhile waits for the rest of
 * it. True as above; false: somebody syncs already, or there is nothing to. A failure is told by
 * the next sync. */
bool ropefs_sync_ahead(struct ropefs *fs);
void ropefs_sync_lead(struct ropefs *fs);
/* The next change that the calling thread makes stores its LSN at *where, before anybody can
 * see it; NULL: it does not. (Of a short transaction, as ropefs_move() and ropefs_stride_write()
 * make, that is the commit.) What a process that was killed had noted there is done if it
 * is at most the `lsn` of ropefs_get_status() after the next opening. */
void ropefs_note_lsn(uint64_t *where);
/* A copy of the descriptor that holds the store's lock, the caller's to close. */
int ropefs_dup_lock(struct ropefs *fs);
/* Writes a checkpoint now: log emptied, packs and trees written. Waits. */
int ropefs_checkpoint(struct ropefs *fs);
/* Collects garbage now (dead packs, leaked pages), between two checkpoints. Waits. */
int ropefs_collect(struct ropefs *fs);

/* --- state --- */
struct ropefs_statfs {
	uint64_t total_bytes, free_bytes, inodes;
	uint64_t
		reserved_bytes; /* neither used nor free: the disk below keeps them for root */
};
int ropefs_statfs(struct ropefs *fs, struct ropefs_statfs *ret);

#define ROPEFS_READ_ONLY_ASKED "opened so"
struct ropefs_status {
	char store_id[33]; /* hex */
	const char *cipher;
	bool read_only;
	bool failed; /* and that because of damage, or of a disk that could not be written */
	/* "" when writable, ROPEFS_READ_ONLY_ASKED, or why */
	char read_only_why[256];
	bool was_clean; /* the last shutdown */
	double recovery_s;
	uint64_t recovered_records;
	uint64_t memory_budget, hot_bytes, dirty_node_bytes, cache_bytes;
	uint64_t inodes,
		file_bytes; /* with the root folder; sum of file sizes less holes */
	uint64_t log_bytes, log_records, log_syncs, log_body_bytes, log_file_bytes;
	uint64_t lsn, durable_lsn, checkpoint_lsn;
	uint64_t checkpoints, checkpoint_errors;
	double checkpoint_last_s, freeze_max_us;
	uint64_t packs, pack_bytes, plain_bytes, sealed_bytes, dead_bytes;
	uint64_t pages, pages_used, pages_leaked;
	uint64_t chunk_hits, chunk_misses, node_hits, node_misses;
	uint64_t expired_files; /* since the store was opened, as the next two */
	uint64_t txn_commits,
		txn_conflicts; /* transactions done, and refused for a conflict */
	uint64_t collections, packs_removed, packs_rewritten, leaves_defragmented;
	uint64_t snapshots,
		snapshot_bytes; /* bytes: that only they held, when last collected */
	uint64_t queue_appends, queue_seeks, queue_blocks_read; /* since the opening */
	uint64_t queue_trimmed_records, queue_trimmed_bytes, queue_refused;
	char last_error
		[256]; /* of a background job, or damage met by a read; "" when none */
	/* Of the scrub under way, or of the last one. */
	bool scrub_running;
	uint64_t scrub_bytes, scrub_total_bytes, scrub_mended;
	uint64_t scrub_problems,
		scrub_files; /* things that don't verify; damaged files */
	double scrub_ended_s; /* when the last one ended, since 1970; 0: never */
	uint64_t scrub_passes; /* since the opening */
};
void ropefs_get_status(struct ropefs *fs, struct ropefs_status *ret);
/* The same as one JSON object, with what scrubs found; *ret is the caller's to free. names: with
 * the paths of damaged files, which not everybody may see. */
int ropefs_status_json(struct ropefs *fs, bool names, char **ret);

/* --- scrub (docs/REPAIR.md) --- */
/* Begins to read and verify all that is stored, packs in this folder, pages and snapshots, at
 * so many bytes a second (0: no limit), in a thread of the store. What is found is in the status
 * and in events; what another copy is whole of is written anew. It goes on after the store was
 * closed and opened. One that is under way begins again. -EROFS: a store read from a bucket. */
int ropefs_scrub_start(struct ropefs *fs, uint64_t bytes_per_s);
/* "scrub" of the status alone. */
int ropefs_scrub_json(struct ropefs *fs, bool names, char **ret);
/* Ends it without a result; one by the clock (ropefs_opts.scrub_s) begins again. */
int ropefs_scrub_stop(struct ropefs *fs);

/* Reads a store's header without a key: id in hex, cipher, format version. */
struct ropefs_store_info {
	char store_id[33];
	const char *cipher;
	uint32_t format;
	pid_t pid; /* of the process that has it open; 0: none */
};
int ropefs_store_info(const char *path, struct ropefs_store_info *ret);
/* The default place of a store's key file; the caller frees *ret_path. */
int ropefs_key_path(const char *store_id, char **ret_path);

/* Checks every invariant and every byte of an unmounted store, read-only. Each thing wrong is a
 * line through bad(). 0; an error whose exit status is 5; or why it could not begin. */
struct ropefs_check {
	const char *key_file;
	void (*bad)(void *arg, const char *line);
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
	/* NULL, or told of each range of a file that a repair gave up: known, so no problem. */
	void (*lost)(void *arg, const char *line);
	void *arg;
	/* Results. files: all but the root folder; opened: more than its header could be read;
	 * mended: problems that the next mounting puts right; copied: of which a whole copy is
	 * there, that a repair uses; lost_bytes: given up by repairs. */
	uint64_t files, bytes, pages, packs, chunks, problems, mended, copied,
		leaked_pages, lost_bytes;
	bool opened;
};
int ropefs_check(const char *path, struct ropefs_check *check);
/* Makes a damaged, unmounted store whole again, without what is damaged (docs/REPAIR.md). Each
 * step is a line through step(): what it does, or, unless apply, what it would do. No steps: the
 * store is whole, and nothing was written. */
struct ropefs_repair {
	const char *key_file;
	bool apply;
	bool rebuild; /* the page file, too, when it is gone */
	uint64_t memory_bytes; /* 0: as ropefs_opts */
	void (*step)(void *arg, const char *line);
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
	void *arg;
	/* Results. kept: the folder in the store with what was removed; "" when nothing was. */
	uint64_t steps, lost_bytes, lost_files;
	char kept[64];
};
int ropefs_repair(const char *path, struct ropefs_repair *repair);
/* Prints any file of a store in words; with a key file also what is sealed. */
int ropefs_dump(const char *store, const char *file, const char *key_file,
		void (*print)(void *arg, const char *line), void *arg);

/* --- queues --- */
/* A queue is a file of records, one after another: made by ropefs_create() in a folder with
 * the policy kind=queue. Each record has an id, dense from 0 and never given again until the queue
 * is emptied (ropefs_truncate() to 0), and a time, which never goes back. Bytes are only added,
 * by ropefs_append() or ropefs_write() at the end, and taken away at the head, by
 * ropefs_queue_trim(); all else is -EPERM. docs/QUEUES.md. */
enum ropefs_framing { /* what a record is */
		      ROPEFS_LINE = 1, /* up to and with a newline */
		      ROPEFS_WRITE = 2, /* all of one append */
		      ROPEFS_LENGTH = 3, /* so many bytes */
};
struct ropefs_queue {
	enum ropefs_framing framing;
	uint32_t length; /* of a record, ROPEFS_LENGTH */
	uint64_t first, next; /* id of the first that is left; of the next to come */
	uint64_t bytes;
	uint64_t trimmed; /* bytes that were before the file's first */
	uint32_t resets; /* how often it was emptied: ids before that are others */
	struct ropefs_time first_time, last_time;
	uint64_t refused; /* records that were refused for want of space */
	uint64_t crashes; /* times that records not yet synced may have been lost */
};
int ropefs_queue_info(struct ropefs *fs, uint64_t ino, struct ropefs_queue *ret);

struct ropefs_record {
	uint64_t id;
	struct ropefs_time time;
	size_t n; /* bytes */
	bool gap; /* says how many others were lost (policy gap=record) */
};
/* Adds the records in p, whole or not at all; more than ROPEFS_APPEND_MAX are several steps. A last
 * line without a newline is a record as it is. *ret_id (may be NULL): of the first. Returns n,
 * fewer when a later step failed, or an error: -EINVAL: no whole records (ROPEFS_LENGTH);
 * -EMSGSIZE: more than ROPEFS_WRITE_MAX (ROPEFS_WRITE). */
enum { ROPEFS_APPEND_MAX = 1024 };
ssize_t ropefs_append(struct ropefs *fs, uint64_t ino, const void *p, size_t n,
		      unsigned flags, uint64_t *ret_id);

/* Some records one after another, and their bytes. */
struct ropefs_batch {
	uint64_t id; /* the first that is wanted; then the one behind the last given */
	struct ropefs_record *records; /* NULL: only their bytes */
	unsigned max; /* records wanted at most */
	void *p; /* NULL: without bytes */
	size_t n; /* room there */
	/* Results. */
	unsigned count; /* records given; 0: there is none yet */
	size_t bytes;
	uint64_t first, next; /* of the queue, as of this reading; with -ERANGE, too */
	uint32_t resets;
};
/* Reads whole records. -ERANGE: id is before the first that is left; -ENOBUFS: p has no room
 * for one (ROPEFS_WRITE_MAX bytes always have); ROPEFS_NOWAIT as ropefs_read(). */
int ropefs_queue_read(struct ropefs *fs, uint64_t ino, struct ropefs_batch *b,
		      unsigned flags);
/* The first record that is not older; the next to come if there is none. O(log n). */
int ropefs_queue_find_time(struct ropefs *fs, uint64_t ino, struct ropefs_time time,
			   uint64_t *ret_id);
/* Where the record begins in the file; id may be the next one. -ERANGE. */
int ropefs_queue_offset(struct ropefs *fs, uint64_t ino, uint64_t id, uint64_t *ret_at);
/* What the wall clock, as it was set then, said at a record's time: record times go on evenly
 * where that clock was set back. */
int ropefs_queue_true_time(struct ropefs *fs, uint64_t ino,
			   const struct ropefs_record *rec, struct ropefs_time *ret);
/* Waits until record id is there, or the file's end: 0; -ETIMEDOUT. timeout_ms < 0: for ever. */
int ropefs_queue_wait(struct ropefs *fs, uint64_t ino, uint64_t id, int timeout_ms);
/* Trims all queues by their policy retain, now; the background does so every checkpoint_s and
 * when such a policy is set. */
int ropefs_retain(struct ropefs *fs);
/* Records before id go. */
int ropefs_queue_trim(struct ropefs *fs, uint64_t ino, uint64_t id);

/* Cursors: names that stand before a record; durable as any change. */
struct ropefs_cursor {
	char name[129];
	uint64_t id; /* the next record to read */
	struct ropefs_time time; /* of the commit */
	uint64_t lag; /* records behind the end */
};
int ropefs_cursor_commit(struct ropefs *fs, uint64_t ino, const char *name, uint64_t id);
int ropefs_cursor_remove(struct ropefs *fs, uint64_t ino, const char *name);
/* -ENOENT. */
int ropefs_cursor_get(struct ropefs *fs, uint64_t ino, const char *name,
		      struct ropefs_cursor *ret);
/* 1 with the first whose name is above `after` (""); 0: no more. */
int ropefs_cursor_next(struct ropefs *fs, uint64_t ino, const char *after,
		       struct ropefs_cursor *ret);

/* ropefs_opts.changed is called for changes of ino's bytes, or of a directory's names, from
 * now until it was unwatched as often. */
int ropefs_watch(struct ropefs *fs, uint64_t ino);
void ropefs_unwatch(struct ropefs *fs, uint64_t ino);

/* --- policies --- */
/* Settings of files and folders: xattrs user.ropefs.KEY (docs/POLICIES.md), which
 * ropefs_setxattr() checks, ropefs_listxattr() hides, and ropefs_getxattr() gives as they
 * hold: a folder's for all below it. user.ropefs.policy lists them, a line each: key, value,
 * inode that has it, with tabs between. */
int ropefs_policy_check(const char *key,
			const char *value); /* -EINVAL: see ropefs_error() */
/* Key number i and what it may be, in words; NULL behind the last. */
const char *ropefs_policy_key(unsigned i, const char **ret_values);

/* --- events --- */
struct ropefs_event {
	struct ropefs_time time;
	const char *kind; /* one word */
	uint64_t ino; /* 0: of no file */
	const char *name; /* NULL: none */
	const char *text; /* a sentence */
};
/* As the line that ropefs_opts.event is given; the caller frees *ret_line. */
int ropefs_event_line(const struct ropefs_event *ev, char **ret_line);

/* What is written to ino, a file without a name, is packed as the policies of like say. */
void ropefs_place_like(struct ropefs *fs, uint64_t ino, uint64_t like);

/* --- a bucket (docs/REMOTE.md) --- */
#define ROPEFS_LIVE_OFF (~0u)
/* Strings may be NULL but url. */
struct ropefs_remote_opts {
	const char *url; /* s3://BUCKET[/PREFIX] or file:///FOLDER */
	const char *endpoint; /* http[s]://HOST[:PORT] of s3 */
	const char *region;
	const char *access_key, *secret_key, *session_token;
	const char *ca_file;
	bool virtual_host, signature_v2;
	/* Between manifests, and, while less than a pack waits, at most; 0 and 0: 60 and 300.
	 * interval_most_s has no meaning unless it is the greater one. */
	unsigned interval_s, interval_most_s;
	/* Between uploads while somebody looks on, ROPEFS_LIVE_OFF: as ever, 0: 3; and between
	 * looks for whoever does, while something waits to go up, 0: 20. */
	unsigned live_s, look_s;
	unsigned keep_s; /* of what newer manifests don't need; 0: a day */
	uint64_t local_bytes; /* of packs in the store's folder; 0: no limit */
	uint64_t min_free_bytes; /* of the disk below it */
	uint64_t bytes_per_s; /* going up; 0: no limit */
	bool take_over; /* from whoever wrote there last */
	const char *upload_hours; /* HH:MM-HH:MM, local time; NULL: always */
	/* When the limits are passed and nothing goes up: drop what is least wanted and oldest,
	 * instead of refusing new bytes. */
	bool drop_oldest;
};
/* Probes the bucket and keeps it in the store, credentials sealed; what is there goes up from now
 * on. Without take_over -E_FENCED when the bucket has this store from another writer. */
int ropefs_remote_add(struct ropefs *fs, const struct ropefs_remote_opts *opts);
/* The options as lines NAME=VALUE, names and units as above: what a mount is told. Texts point
 * into lines, which are cut up. -EINVAL with a sentence. */
int ropefs_remote_opts_parse(char *lines, struct ropefs_remote_opts *ret);
/* Changes settings of the bucket, lines as above; "NAME=" takes a text away. Not url, nor how
 * requests are made (virtual_host, signature_v2). -EINVAL. */
int ropefs_remote_set(struct ropefs *fs, char *lines);
/* What the bucket refused is tried again. */
int ropefs_remote_retry(struct ropefs *fs);
/* What was dropped, a JSON object a line, with the files that had bytes in it (names: up to a
 * thousand by their paths); it looks at each file. *ret is the caller's to free. */
int ropefs_remote_dropped(struct ropefs *fs, bool names, char **ret);
/* Forgets the bucket; what is in it stays. -EBUSY when some bytes are only there. */
int ropefs_remote_rm(struct ropefs *fs);
struct ropefs_remote_status {
	char url[512], instance[33], last_error[256];
	char read_error[256]; /* why the last read that asked it failed, if it did */
	bool reader, creates, fenced, full, ended; /* ended: nothing goes up any more */
	bool versions; /* the bucket keeps what is replaced or removed */
	bool follows; /* committed_ns is of the state that is shown, then */
	int64_t skew_s; /* so far the bucket's clock is ahead of ours, if that was refused; or 0 */
	uint64_t epoch, manifest, wanted_lsn, committed_lsn;
	int64_t committed_ns; /* 0: nothing since the store was opened */
	uint64_t packs_left, bytes_left, evicted, local_bytes, remote_packs, remote_bytes;
	uint64_t cycles, cycle_errors;
	bool resting; /* it is not the hour */
	bool watched; /* somebody looks on, so uploads come each live_s (0: never for that) */
	bool announced; /* of one that follows: its writer may know that somebody reads */
	char announce_error[256]; /* why it can't be told */
	unsigned interval_s, interval_most_s, live_s;
	uint64_t refused, dropped,
		dropped_bytes; /* packs; the latter two since opening */
	char refused_why[256];
	uint64_t puts, gets, heads, lists, dels, failed, put_bytes,
		got_bytes; /* requests */
	uint64_t hedged; /* gets asked for a second time, as the first took long */
	uint64_t cache_bytes, cache_hits; /* got before, and read from the disk */
	uint64_t verify_done, verify_total; /* bytes of one under way; total 0: none is */
};
/* -E_REMOTE (10040): there is none. */
int ropefs_remote_status(struct ropefs *fs, struct ropefs_remote_status *ret);
/* The same as JSON, an empty object without a bucket; *ret is the caller's to free. */
int ropefs_remote_status_json(struct ropefs *fs, char **ret);
/* Asks for an upload of all that was written before; it is in the bucket once committed_lsn
 * is *ret_lsn or more. sync waits for that; -E_FENCED: another writer has the bucket now. */
int ropefs_remote_kick(struct ropefs *fs, uint64_t *ret_lsn);
int ropefs_remote_sync(struct ropefs *fs);
/* Makes the store that the key file belongs to anew from a bucket, in a folder that is not
 * there or empty: its names at once, its bytes as they are read. Without take_over it can
 * only be read. */
struct ropefs_clone {
	const char *key_file;
	const char *instance; /* NULL: looked for, that of the key file */
	struct ropefs_remote_opts remote;
	/* May be NULL. */
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
	void *arg;
	/* Results */
	uint64_t manifest, files, bytes;
};
int ropefs_clone(const char *store, struct ropefs_clone *c);
/* Opens what a bucket holds of a store, to be read only, without a folder for it, and follows
 * its writer: every interval_s (0: 2 while somebody reads, else 30) it looks for a newer state,
 * and goes on with that. While somebody reads it says so in the bucket, unless remote.live_s is
 * ROPEFS_LIVE_OFF: then the writer uploads more often. An inode stays the same file; one that is
 * gone then gives -ESTALE. opts->key_file must be given. */
struct ropefs_bucket {
	struct ropefs_remote_opts remote; /* how it is reached */
	const char *cache; /* a folder for a temporary copy of all names; NULL: memory */
	const char *instance; /* NULL: looked for, that of the key file */
};
int ropefs_open_bucket(const struct ropefs_bucket *bucket, const struct ropefs_opts *opts,
		       struct ropefs **ret);
/* No look comes any more, and no call of opts.refreshed. Before close, or not at all. */
void ropefs_follow_stop(struct ropefs *fs);
/* All stores of a bucket, by what is readable without a key. */
struct ropefs_fleet;
struct ropefs_instance {
	char instance[33], store_id[33]; /* hex */
};
int ropefs_fleet_open(const struct ropefs_remote_opts *opts, struct ropefs_fleet **ret);
/* Calls each for those that were not told before; one listing, and a request for each new one. A
 * non-zero return stops and is returned. */
int ropefs_fleet_look(struct ropefs_fleet *fleet,
		      int (*each)(void *arg, const struct ropefs_instance *in),
		      void *arg);
void ropefs_fleet_close(struct ropefs_fleet *fleet);
/* Which store a key file is for. */
int ropefs_key_store_id(const char *key_file, char ret_store_id[33]);
/* Keys for a bucket, the caller's to release; NULL where none are found. */
struct ropefs_credentials {
	char *access_key, *secret_key, *session_token;
};
struct ropefs_credentials_source {
	const char
		*file; /* of the AWS tools; NULL: the environment, or their usual file */
	const char *profile; /* section of a file; NULL: $AWS_PROFILE, or the usual one */
};
int ropefs_credentials_find(const struct ropefs_credentials_source *from,
			    struct ropefs_credentials *ret);
/* What the environment has of them is taken into locked memory, where ropefs_credentials_find()
 * looks from now on, and wiped where /proc/PID/environ shows it. Before there are threads.
 * -ENOMEM: it could not be locked, and is wiped all the same. */
int ropefs_credentials_take(void);
/* The environment as it was before, for a program to be started: a vector, the caller's to free();
 * its texts are not. NULL: out of memory. */
char **ropefs_credentials_environ(void);
/* After work on a secret text: what is left of it in this thread's vector registers, and on its
 * stack below the caller, goes. */
void ropefs_secrets_forget(void);
void ropefs_credentials_release(struct ropefs_credentials *c);
/* Compares the bucket with what this store knows to be there: the chain of manifests, and each
 * object they need: manifests, segments and the header by their bytes, packs by their length.
 * Each thing wrong is a line, what a repair came to, and at the end the sum. 0; -E_CORRUPT: some
 * of it is still wrong; why not. */
struct ropefs_verify {
	bool data; /* gets and verifies all packs, too */
	bool repair; /* puts again what is still here; of a store open for writing */
	uint64_t bytes_per_s; /* of what is got; 0: no limit */
	void (*line)(void *arg, const char *line); /* or NULL */
	/* Or NULL: after each object, the bytes of those looked at and of all. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
	uint64_t manifests, objects, problems, mended;
};
int ropefs_remote_verify(struct ropefs *fs, struct ropefs_verify *v);
/* One that is under way in another thread ends soon, with -ECANCELED. */
void ropefs_remote_verify_end(struct ropefs *fs);

/* --- views --- */
/* NAME@SELECTOR[,SELECTOR...]; docs/VIEWS.md has the grammar. */
enum ropefs_selector { /* bits of ropefs_view.has */
		       ROPEFS_SEL_BYTES = 1 << 0,
		       ROPEFS_SEL_LINES = 1 << 8,
		       ROPEFS_SEL_RECORDS = 1 << 9,
		       ROPEFS_SEL_LAST = 1 << 10,
		       ROPEFS_SEL_TIME = 1 << 11, /* time= and since= */
		       ROPEFS_SEL_EVERY = 1 << 12,
		       ROPEFS_SEL_FOLLOW = 1 << 13,
		       ROPEFS_SEL_AS = 1 << 14,
		       ROPEFS_SEL_CURSOR = 1 << 15,
		       ROPEFS_SEL_IF = 1 << 16,
		       ROPEFS_SEL_ADD = 1 << 17,
		       ROPEFS_SEL_PATCH = 1 << 18,
		       ROPEFS_SEL_STRIDE = 1 << 19,
};
enum ropefs_as { ROPEFS_AS_RAW = 0, ROPEFS_AS_JSON = 1, ROPEFS_AS_HEX = 2 };
struct ropefs_when {
	bool given;
	bool relative; /* ns before now */
	int64_t ns;
};
struct ropefs_view {
	size_t name_len; /* of the part before the '@' */
	unsigned has; /* which selectors */
	struct { /* of bytes=, lines= or records= */
		bool has_from, has_to;
		bool from_end, to_end; /* counted back from the end of the file */
		uint64_t from, to;
	} range;
	struct ropefs_when from_time, to_time;
	uint64_t last, every;
	enum ropefs_as as;
	char cursor[129];
	char etag[ROPEFS_ETAG_MAX]; /* of if= */
	uint64_t stride_size, stride_step; /* of stride= */
};
/* 0; -ENOENT: the name's tail is no selector, so it is an ordinary name; -EINVAL: a known
 * selector with a bad value (ropefs_error() says which part). */
int ropefs_view_parse(const char *name, size_t n, struct ropefs_view *ret);
/* -EINVAL with a sentence: why no view of this file has these selectors. */
int ropefs_view_refused(const struct ropefs_view *v, const struct ropefs_attr *target);
/* The stride of a view on a file of `size` bytes; with bytes= within that range. -ERANGE. */
int ropefs_view_stride(const struct ropefs_view *v, uint64_t size,
		       struct ropefs_stride *ret);
/* Which records of a queue a view shows. -ERANGE: outside or reversed; an error of the same errno,
 * of which ropefs_was_trimmed(): none of them is left. */
struct ropefs_selected {
	uint64_t from, to; /* ids; with `follow` more come behind to */
	bool trimmed; /* and some that are not there any more */
	struct ropefs_queue queue; /* as of then */
};
int ropefs_view_records(struct ropefs *fs, uint64_t ino, const struct ropefs_view *v,
			struct ropefs_selected *ret);
bool ropefs_was_trimmed(int r);
/* Adds one record, whose bytes are at p, as text to what is there; to->p is the caller's to
 * free. */
struct ropefs_text {
	void *p;
	size_t n, cap;
	bool lines; /* as=json leaves the newline out that ends a record */
};
int ropefs_record_text(struct ropefs *fs, uint64_t ino, const struct ropefs_record *rec,
		       const void *p, enum ropefs_as as, struct ropefs_text *to);
/* Where the range of lines begins and ends in a file that is no queue; reads it all. */
int ropefs_view_lines(struct ropefs *fs, uint64_t ino, const struct ropefs_view *v,
		      uint64_t *ret_from, uint64_t *ret_to);
/* The range of a view on a file of `size` bytes. -ERANGE: outside of it or reversed. */
int ropefs_view_range(const struct ropefs_view *v, uint64_t size, uint64_t *ret_from,
		      uint64_t *ret_to);

#ifdef __cplusplus
}
#endif

#endif
