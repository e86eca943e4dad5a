/* ropefs_ioctl.h - edits of an open file through ioctl(2), for C programs on a mount.
 *
 * The descriptor must be open for writing (EBADF). An edit is one atomic step; when the call
 * has returned every other reader sees it. `at` (and `at + cut`) must lie within the file:
 * ERANGE. The number carries the payload's size, so that little is copied for little:
 *
 *	struct ropefs_ioc_edit *e = malloc(sizeof(*e) + n);
 *	*e = (struct ropefs_ioc_edit){ .at = at, .n = n };
 *	memcpy(e->data, bytes, n);
 *	r = ioctl(fd, ROPEFS_IOC_INSERT(n), e);
 *
 * More than ROPEFS_IOC_DATA_MAX bytes go through a view (docs/VIEWS.md). */
#ifndef ROPEFS_IOCTL_H
#define ROPEFS_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define ROPEFS_IOC_DATA_MAX 16000 /* the kernel takes 16,383 bytes with the head */

struct ropefs_ioc_edit {
	uint64_t at; /* bytes from the start of the file */
	uint64_t cut; /* bytes taken out at `at`; 0 for INSERT */
	uint32_t n; /* bytes of data put there; 0 for CUT */
	uint32_t reserved; /* 0 */
	uint8_t data[];
};

enum {
	ROPEFS_IOC_NR_INSERT = 1,
	ROPEFS_IOC_NR_CUT = 2,
	ROPEFS_IOC_NR_REPLACE = 3,
	ROPEFS_IOC_NR_CURSOR_COMMIT = 30,
	ROPEFS_IOC_NR_CURSOR_REMOVE = 31,
	ROPEFS_IOC_NR_CURSOR_NEXT = 32,
};

#define ROPEFS_IOC_TYPE 'R'
#define ROPEFS_IOC(nr, n)                                                                \
	_IOC(_IOC_WRITE, ROPEFS_IOC_TYPE, (nr), sizeof(struct ropefs_ioc_edit) + (n))
#define ROPEFS_IOC_INSERT(n)  ROPEFS_IOC(ROPEFS_IOC_NR_INSERT, n)
#define ROPEFS_IOC_CUT	      ROPEFS_IOC(ROPEFS_IOC_NR_CUT, 0)
#define ROPEFS_IOC_REPLACE(n) ROPEFS_IOC(ROPEFS_IOC_NR_REPLACE, n)

/* --- cursors of a queue, on its file or on a view of it (docs/QUEUES.md) --- */
#define ROPEFS_IOC_CURSOR_READ                                                           \
	UINT64_MAX /* id: as far as this descriptor, a view, has read */
struct ropefs_ioc_cursor {
	char name[136]; /* ended by a NUL */
	uint64_t id; /* the next record to read */
	uint64_t lag; /* given by NEXT: records behind the end */
	int64_t time_ns; /* given by NEXT: of the commit, since 1970 */
};
/* The cursor stands before record id from now on. ERANGE: there is none yet. */
#define ROPEFS_IOC_CURSOR_COMMIT                                                         \
	_IOW(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_CURSOR_COMMIT, struct ropefs_ioc_cursor)
#define ROPEFS_IOC_CURSOR_REMOVE                                                         \
	_IOW(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_CURSOR_REMOVE, struct ropefs_ioc_cursor)
/* The first cursor whose name is above `name`. ENOENT: no more. */
#define ROPEFS_IOC_CURSOR_NEXT                                                           \
	_IOWR(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_CURSOR_NEXT, struct ropefs_ioc_cursor)

/* --- transactions: edits of one or many files that take effect together ---
 *
 * An open file MOUNT/.ropefs/txn is a transaction; its id (TXN_ID) lets other open files join:
 *
 *	int t = open("/mnt/data/.ropefs/txn", O_RDONLY);
 *	struct ropefs_ioc_txn_use use = { 0 };
 *	ioctl(t, ROPEFS_IOC_TXN_ID, &use.txn);
 *	ioctl(fd, ROPEFS_IOC_TXN_USE, &use);		  use.file, use.size
 *	ioctl(fd, ROPEFS_IOC_TXN_EDIT(n), edit);	  any number, of any files
 *	ioctl(t, ROPEFS_IOC_TXN_COMMIT);
 *
 * Nobody sees an edit before the commit. That fails with EBUSY, and nothing has happened, when
 * somebody else changed a file since the transaction first used it, or the daemon was replaced
 * (-o supervise=on) and the next one can't go on with it: begin again. Closing t without a commit
 * forgets all; so does the end of the program. After a commit the transaction is over (EINVAL).
 * A refused edit (ERANGE, EBADF, EINVAL) changes nothing, and the transaction goes on. */
struct ropefs_ioc_txn_use {
	uint64_t txn; /* in: the id */
	uint64_t size; /* bytes of the file, as the transaction sees it */
	uint32_t
		file; /* its number in the transaction, with the rights of this descriptor */
	uint32_t reserved; /* 0 */
};

/* flags */
#define ROPEFS_IOC_TXN_MOVE 1u /* the source's bytes leave their place */
#define ROPEFS_IOC_TXN_APPEND                                                            \
	2u /* data go to the end (at, cut: 0); the only edit of a queue: records */
#define ROPEFS_IOC_TXN_MORE 4u /* of an append: what the next one brings belongs to it */

/* The bytes [at, at + cut) of the file, whose descriptor may write, give way to data, or to
 * [src_at, src_at + src_n) of another file that joined, which share them. */
struct ropefs_ioc_txn_edit {
	uint64_t txn;
	uint64_t at, cut;
	uint64_t src_at, src_n;
	uint32_t src; /* a file's number; 0: data */
	uint32_t flags;
	uint32_t n; /* bytes of data; 0 with src */
	uint32_t dst; /* on the transaction itself: which file; else 0 */
	uint8_t data[];
};

/* On the transaction: a name is made, removed or moved at the commit, or a cursor of a queue moves.
 * Folders join by TXN_USE as files do; who asks must be allowed to write them (EACCES, EPERM).
 * Only names of files that are no folders. */
enum {
	ROPEFS_IOC_TXN_CREATE =
		1, /* gives `file`, which TXN_EDIT with dst can edit at once */
	ROPEFS_IOC_TXN_UNLINK = 2,
	ROPEFS_IOC_TXN_RENAME = 3,
	ROPEFS_IOC_TXN_CURSOR =
		4, /* the cursor `name` of file number `dir` goes before id */
};
struct ropefs_ioc_txn_name {
	uint32_t what;
	uint32_t dir, to_dir; /* numbers */
	uint32_t
		mode; /* CREATE: permissions; RENAME: RENAME_NOREPLACE, RENAME_EXCHANGE, 0 */
	uint32_t file; /* given by CREATE */
	uint32_t reserved; /* 0 */
	uint64_t id;
	char name[256], to_name[256]; /* ended by a NUL */
};

/* On the transaction: the sentence that belongs to the error its last edit or commit had; empty
 * when the errno says it all. */
struct ropefs_ioc_txn_why {
	char text[256]; /* ended by a NUL */
};

enum {
	ROPEFS_IOC_NR_TXN_ID = 50,
	ROPEFS_IOC_NR_TXN_USE = 51,
	ROPEFS_IOC_NR_TXN_EDIT = 52,
	ROPEFS_IOC_NR_TXN_COMMIT = 53,
	ROPEFS_IOC_NR_TXN_WHY = 54,
	ROPEFS_IOC_NR_TXN_NAME = 55,
};

#define ROPEFS_IOC_TXN_ID _IOR(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_TXN_ID, uint64_t)
#define ROPEFS_IOC_TXN_USE                                                               \
	_IOWR(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_TXN_USE, struct ropefs_ioc_txn_use)
#define ROPEFS_IOC_TXN_EDIT(n)                                                           \
	_IOC(_IOC_WRITE, ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_TXN_EDIT,                        \
	     sizeof(struct ropefs_ioc_txn_edit) + (n))
#define ROPEFS_IOC_TXN_COMMIT _IO(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_TXN_COMMIT)
#define ROPEFS_IOC_TXN_NAME                                                              \
	_IOWR(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_TXN_NAME, struct ropefs_ioc_txn_name)
#define ROPEFS_IOC_TXN_WHY                                                               \
	_IOR(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_TXN_WHY, struct ropefs_ioc_txn_why)

/* --- the store's bucket, on MOUNT/.ropefs/remote (docs/REMOTE.md) ---
 *
 * For root and whoever runs the daemon (EPERM). Takes as long as the bucket's answers do. */
#define ROPEFS_IOC_REMOTE_TEXT 8184
struct ropefs_ioc_remote {
	uint32_t verb; /* enum ropefs_ioc_remote_verb */
	int32_t result; /* given: 0, or what libropefs says (negative) */
	char text
		[ROPEFS_IOC_REMOTE_TEXT]; /* options as lines; given: a sentence, why not */
};
enum ropefs_ioc_remote_verb {
	ROPEFS_IOC_REMOTE_ADD = 1,
	ROPEFS_IOC_REMOTE_RM = 2,
	ROPEFS_IOC_REMOTE_SET = 3,
	ROPEFS_IOC_REMOTE_RETRY = 4,
	ROPEFS_IOC_REMOTE_VERIFY =
		5, /* text: "data", "repair", "rate=BYTES" or not; given:
				       * lines */
};
enum { ROPEFS_IOC_NR_REMOTE = 70 };
#define ROPEFS_IOC_REMOTE                                                                \
	_IOWR(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_REMOTE, struct ropefs_ioc_remote)

/* --- a scrub of the store, on MOUNT/.ropefs/scrub (docs/REPAIR.md): for root and whoever runs the
 * daemon (EPERM). The file tells how far it is. --- */
struct ropefs_ioc_scrub {
	uint64_t bytes_per_s; /* 0: no limit */
};
enum {
	ROPEFS_IOC_NR_SCRUB_START = 80,
	ROPEFS_IOC_NR_SCRUB_STOP = 81,
};
/* Begins at the beginning, also where one is under way. */
#define ROPEFS_IOC_SCRUB_START                                                           \
	_IOW(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_SCRUB_START, struct ropefs_ioc_scrub)
#define ROPEFS_IOC_SCRUB_STOP _IO(ROPEFS_IOC_TYPE, ROPEFS_IOC_NR_SCRUB_STOP)

#endif
