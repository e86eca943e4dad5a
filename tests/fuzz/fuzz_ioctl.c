/* fuzz_ioctl.c - ioctls of a mount, as a process without rights may send them: to a whole daemon,
 * that takes over (supervise.h) a connection whose other end is here, in the place of the kernel.
 *
 * An input is pieces (pieces.h), each an ioctl: its kind is the open file, then its number, its
 * direction (_IOC_NONE ...) and its payload. A payload that begins with TXN_HERE means the
 * transaction that is open. Each is answered, and not with an error that means damage; the files
 * are as they were, or nearly, when the next input begins. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/keep.h"
#include "fs/mount.h"
#include "fs/ropefs_ioctl.h"
#include "fs/supervise.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pieces.h"

#define TXN_HERE 0x1111111111111111u

enum {
	UID = 12345,
	PAYLOAD_MAX = 16383, /* that the kernel takes */
	HAS_RESEND = 1u << 7, /* of flags2: so that it looks for no queue of its own */
	ANSWER_MS = 120000,
	ROPE_BYTES = 5000,
	REQUEST_MAX = 20000,
};

enum {
	ROPE,
	ROPE_RO,
	OTHER,
	ROOT,
	QUEUE,
	QUEUE_RO,
	LINES,
	RANGE,
	RANGE_TO,
	TXN,
	STATUS,
	EVENTS,
	REMOTE,
	SCRUB,
	FILES
};

struct open_file {
	const char *dir, *name;
	int flags;
	uint64_t node, fh;
};

static struct open_file files[FILES] = {
	[ROPE] = { NULL, "rope", O_RDWR, 0, 0 },
	[ROPE_RO] = { NULL, "rope", O_RDONLY, 0, 0 },
	[OTHER] = { NULL, "other", O_RDWR, 0, 0 },
	[ROOT] = { NULL, NULL, O_RDONLY | O_DIRECTORY, FUSE_ROOT_ID, 0 },
	[QUEUE] = { "q", "lines", O_RDWR | O_APPEND, 0, 0 },
	[QUEUE_RO] = { "q", "lines", O_RDONLY, 0, 0 },
	[LINES] = { "q", "lines@lines=0..2", O_RDONLY, 0, 0 },
	[RANGE] = { NULL, "rope@bytes=10..20", O_RDONLY, 0, 0 },
	[RANGE_TO] = { NULL, "other@bytes=10..20", O_WRONLY, 0, 0 },
	[TXN] = { ".ropefs", "txn", O_RDONLY, 0, 0 },
	[STATUS] = { ".ropefs", "status", O_RDONLY, 0, 0 },
	[EVENTS] = { ".ropefs", "events", O_RDONLY | O_NONBLOCK, 0, 0 },
	[REMOTE] = { ".ropefs", "remote", O_RDONLY, 0, 0 },
	[SCRUB] = { ".ropefs", "scrub", O_RDONLY, 0, 0 },
};

static char top[] = "/tmp/ropefs-fuzz.XXXXXX";
static int kernel = -1; /* our end of the connection */
static uint64_t unique;
static uint8_t reply[REQUEST_MAX];
static uint64_t txn_id;

/* --- the kernel's part --- */

/* Waits for the answer to the last request, and steps over what the daemon tells by itself. */
static int answer(void)
{
	struct pollfd p = { kernel, POLLIN, 0 };
	struct fuse_out_header head;

	for (;;) {
		int r = poll(&p, 1, ANSWER_MS);

		if (r < 0 && errno == EINTR) /* libFuzzer's alarm */
			continue;
		FUZZ_MUST(r == 1 ? 0 : -1);
		FUZZ_MUST(read(kernel, reply, sizeof(reply)) >= (ssize_t)sizeof(head)
				  ? 0
				  : -1);
		memcpy(&head, reply, sizeof(head));
		if (head.unique == unique)
			return head.error;
	}
}

static int request(uint32_t opcode, uint64_t node, uint32_t uid, const struct span *parts,
		   size_t n_parts)
{
	static uint8_t p[REQUEST_MAX];
	struct fuse_in_header head = { .len = sizeof(head),
				       .opcode = opcode,
				       .unique = unique += 2,
				       .nodeid = node,
				       .uid = uid,
				       .gid = uid,
				       .pid = 1 };

	for (size_t i = 0; i < n_parts; i++) {
		if (parts[i].n)
			memcpy(p + head.len, parts[i].p, parts[i].n);
		head.len += (uint32_t)parts[i].n;
	}
	memcpy(p, &head, sizeof(head));
	FUZZ_MUST(write(kernel, p, head.len) == (ssize_t)head.len ? 0 : -1);
	return answer();
}

#define BYTES(x) ((struct span) { (const void *)&(x), sizeof(x) })

static struct span text(const char *s)
{
	return span_of(s, strlen(s) + 1);
}

/* 0: it is not there (an input may have removed it). */
static uint64_t look_up(uint64_t dir, const char *name)
{
	struct fuse_entry_out e;

	if (request(FUSE_LOOKUP, dir, 0, (struct span[]) { text(name) }, 1) < 0)
		return 0;
	memcpy(&e, reply + sizeof(struct fuse_out_header), sizeof(e));
	return e.nodeid;
}

static void open_file(struct open_file *f)
{
	uint64_t dir = f->dir ? look_up(FUSE_ROOT_ID, f->dir) : FUSE_ROOT_ID;
	struct fuse_open_in in = { .flags = (uint32_t)f->flags };
	struct fuse_open_out out;

	if (!f->name) /* a folder needs no OPENDIR */
		return;
	f->node = look_up(dir, f->name);
	if (!f->node)
		return;
	FUZZ_MUST(request(FUSE_OPEN, f->node, UID, (struct span[]) { BYTES(in) }, 1));
	memcpy(&out, reply + sizeof(struct fuse_out_header), sizeof(out));
	f->fh = out.fh;
}

static void close_file(const struct open_file *f)
{
	struct fuse_release_in in = { .fh = f->fh, .flags = (uint32_t)f->flags };

	request(FUSE_RELEASE, f->node, UID, (struct span[]) { BYTES(in) }, 1);
}

static void make_file(uint64_t dir, const char *name)
{
	struct fuse_mknod_in in = { .mode = S_IFREG | 0666 };

	request(FUSE_MKNOD, dir, 0, (struct span[]) { BYTES(in), text(name) }, 2);
}

static void set_size(const struct open_file *f, uint64_t size)
{
	struct fuse_setattr_in in = { .valid = FATTR_SIZE, .size = size };

	FUZZ_MUST(request(FUSE_SETATTR, f->node, 0, (struct span[]) { BYTES(in) }, 1));
}

static void append(const struct open_file *f, const char *bytes)
{
	struct fuse_write_in in = { .fh = f->fh,
				    .size = (uint32_t)strlen(bytes),
				    .flags = (uint32_t)f->flags };

	FUZZ_MUST(request(FUSE_WRITE, f->node, UID,
			  (struct span[]) { BYTES(in), span_of(bytes, in.size) }, 2));
}

static int send_ioctl(const struct open_file *f, unsigned nr, unsigned dir,
		      struct span payload)
{
	struct fuse_ioctl_in in = {
		.fh = f->fh,
		.flags = f->name ? 0 : FUSE_IOCTL_DIR,
		.cmd = _IOC(dir, ROPEFS_IOC_TYPE, nr, payload.n),
		.in_size = dir & _IOC_WRITE ? (uint32_t)payload.n : 0,
		.out_size = dir & _IOC_READ ? (uint32_t)payload.n : 0,
	};

	return request(FUSE_IOCTL, f->node, UID,
		       (struct span[]) { BYTES(in), span_of(payload.p, in.in_size) }, 2);
}

/* --- the daemon --- */

static void make_folder(void)
{
	struct fuse_mkdir_in mk = { .mode = 0777 };
	struct fuse_setxattr_in kind = { .size = 5 };

	FUZZ_MUST(request(FUSE_MKDIR, FUSE_ROOT_ID, 0,
			  (struct span[]) { BYTES(mk), text("q") }, 2));
	FUZZ_MUST(
		request(FUSE_SETXATTR, look_up(FUSE_ROOT_ID, "q"), 0,
			(struct span[]) { span_of(&kind, FUSE_COMPAT_SETXATTR_IN_SIZE),
					  text("user.ropefs.kind"), span_of("queue", 5) },
			3));
}

static void keep_init_of_kernel(void)
{
	struct {
		struct fuse_in_header head;
		struct fuse_init_in in;
	} init = { .head = { .len = sizeof(init), .opcode = FUSE_INIT, .unique = 1 },
		   .in = { .major = FUSE_KERNEL_VERSION,
			   .minor = 36,
			   .max_readahead = 1 << 17,
			   .flags = FUSE_INIT_EXT | FUSE_BIG_WRITES | FUSE_MAX_PAGES,
			   .flags2 = HAS_RESEND } };

	keep_save_init(&init, sizeof(init));
}

static void start(void)
{
	static struct options o = { .opts.memory_bytes = 32 << 20 };
	static struct seat seat = { .took_over = true };
	struct ropefs_init_opts init = { 0 };
	struct mounted *m;
	int to[2], above[2];
	char *lock;

	FUZZ_MUST(mkdtemp(top) ? 0 : -1);
	FUZZ_MUST(asprintf(&o.store, "%s/store", top));
	FUZZ_MUST(asprintf(&o.mountpoint, "%s/mnt", top));
	FUZZ_MUST(asprintf(&o.key_file, "%s/key", top));
	FUZZ_MUST(asprintf(&lock, "%s/lock", o.store));
	o.mount = strdup("subtype=ropefs");
	init.key_file = o.key_file;
	FUZZ_MUST(ropefs_init(o.store, &init, NULL));
	seat.lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	FUZZ_MUST(seat.lock);
	FUZZ_MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, to));
	FUZZ_MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, above));
	kernel = to[0];
	seat.connection = to[1];
	seat.supervisor = above[0];
	seat.keep = keep_new();
	FUZZ_MUST(keep_open(seat.keep, true));
	FUZZ_MUST(keep_open_files(seat.keep));
	keep_init_of_kernel();
	FUZZ_MUST(mount_start(&o, &seat, &m) ? -1 : 0);
	free(lock);
}

static void begin_txn(void)
{
	open_file(&files[TXN]);
	FUZZ_MUST(
		send_ioctl(&files[TXN], ROPEFS_IOC_NR_TXN_ID, _IOC_READ, BYTES(txn_id)));
	memcpy(&txn_id,
	       reply + sizeof(struct fuse_out_header) + sizeof(struct fuse_ioctl_out),
	       sizeof(txn_id));
}

static void remove_all(void)
{
	char *command;

	if (asprintf(&command, "rm -rf %s", top) >= 0 && system(command) == 0)
		free(command);
}

static void set_up(void)
{
	struct fuse_setattr_in all = { .valid = FATTR_MODE, .mode = S_IFDIR | 0777 };

	start();
	atexit(remove_all);
	FUZZ_MUST(request(FUSE_SETATTR, FUSE_ROOT_ID, 0, (struct span[]) { BYTES(all) },
			  1));
	make_file(FUSE_ROOT_ID, "rope");
	make_file(FUSE_ROOT_ID, "other");
	make_folder();
	make_file(look_up(FUSE_ROOT_ID, "q"), "lines");
	for (int i = 0; i < FILES; i++)
		if (i != TXN && i != RANGE && i != RANGE_TO && i != LINES)
			open_file(&files[i]);
}

static void reset(void)
{
	make_file(FUSE_ROOT_ID, "rope");
	make_file(FUSE_ROOT_ID, "other");
	set_size(&files[ROPE], ROPE_BYTES);
	set_size(&files[OTHER], ROPE_BYTES);
	set_size(&files[QUEUE], 0);
	append(&files[QUEUE], "1\n2\n3\n");
	open_file(&files[LINES]);
	open_file(&files[RANGE]);
	open_file(&files[RANGE_TO]);
	begin_txn();
}

static void one(struct fuzz_piece *piece)
{
	uint8_t payload[PAYLOAD_MAX];
	uint64_t first = 0;
	size_t n;
	int r;

	if (piece->n < 2 || !files[piece->kind % FILES].node)
		return;
	n = MIN(piece->n - 2, sizeof(payload));
	memcpy(payload, piece->p + 2, n);
	memcpy(&first, payload, MIN(n, sizeof(first)));
	if (n >= sizeof(first) && first == TXN_HERE)
		memcpy(payload, &txn_id, sizeof(txn_id));
	r = send_ioctl(&files[piece->kind % FILES], piece->p[0], piece->p[1] & 3,
		       span_of(payload, n));
	if (r == -EIO || r == -EROFS || r == -EUCLEAN || r == -ENOTCONN || r == -ENOSYS) {
		fprintf(stderr, "an ioctl gives %s\n", strerror(-r));
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const int again[] = { LINES, RANGE, RANGE_TO, TXN };
	uint8_t *copy = malloc(n ? n : 1);
	struct fuzz_piece piece;
	size_t at = 0;

	if (kernel < 0)
		set_up();
	reset();
	memcpy(copy, p, n);
	for (int i = 0; i < 50 && fuzz_next_piece(copy, n, &at, &piece); i++)
		one(&piece);
	for (size_t i = 0; i < ARRAY_LEN(again); i++)
		if (files[again[i]].node)
			close_file(&files[again[i]]);
	free(copy);
	return 0;
}

/* Lengths that fit, and the transaction there is. */
void fuzz_mend(uint8_t *p, size_t n)
{
	const uint64_t here = TXN_HERE;
	struct fuzz_piece piece;
	size_t at = 0;

	while (fuzz_next_piece(p, n, &at, &piece)) {
		size_t head, len_at;
		uint32_t len;

		if (piece.n < 2)
			continue;
		head = piece.p[0] == ROPEFS_IOC_NR_TXN_EDIT
			       ? sizeof(struct ropefs_ioc_txn_edit)
			       : sizeof(struct ropefs_ioc_edit);
		len_at = piece.p[0] == ROPEFS_IOC_NR_TXN_EDIT
				 ? offsetof(struct ropefs_ioc_txn_edit, n)
				 : offsetof(struct ropefs_ioc_edit, n);
		if (piece.p[0] == ROPEFS_IOC_NR_TXN_EDIT ||
		    piece.p[0] == ROPEFS_IOC_NR_TXN_USE)
			memcpy(piece.p + 2, &here, MIN(sizeof(here), piece.n - 2));
		else if (piece.p[0] > ROPEFS_IOC_NR_REPLACE)
			continue;
		if (piece.n < 2 + head || piece.p[0] == ROPEFS_IOC_NR_TXN_USE)
			continue;
		len = (uint32_t)(piece.n - 2 - head);
		memcpy(piece.p + 2 + len_at, &len, sizeof(len));
	}
}

static void put(struct buf *b, int file, unsigned nr, unsigned dir_bits, struct span head,
		const char *data)
{
	uint8_t body[1024] = { (uint8_t)nr, (uint8_t)dir_bits };

	memcpy(body + 2, head.p, head.n);
	memcpy(body + 2 + head.n, data, strlen(data));
	fuzz_put_piece(b, (uint8_t)file, body, 2 + head.n + strlen(data));
}

static void give_one(fuzz_give_fn give, void *arg, const char *name, struct buf *b)
{
	give(arg, name, b->p, b->n);
	b->n = 0;
}

static void seed_edits(fuzz_give_fn give, void *arg, struct buf *b)
{
	const struct ropefs_ioc_edit insert = { .at = 100, .n = 5 },
				     cut = { 4000, 1000, 0, 0 },
				     replace = { .at = 5, .cut = 2000, .n = 3 },
				     beyond = { .at = 6000, .n = 1 };

	put(b, ROPE, ROPEFS_IOC_NR_INSERT, _IOC_WRITE, BYTES(insert), "hello");
	put(b, ROPE, ROPEFS_IOC_NR_CUT, _IOC_WRITE, BYTES(cut), "");
	put(b, OTHER, ROPEFS_IOC_NR_REPLACE, _IOC_WRITE, BYTES(replace), "abc");
	put(b, RANGE_TO, ROPEFS_IOC_NR_INSERT, _IOC_WRITE, BYTES(insert), "hello");
	give_one(give, arg, "edits", b);
	put(b, ROPE, ROPEFS_IOC_NR_INSERT, _IOC_WRITE, BYTES(beyond), "x");
	put(b, ROPE_RO, ROPEFS_IOC_NR_INSERT, _IOC_WRITE, BYTES(insert), "hello");
	put(b, QUEUE, ROPEFS_IOC_NR_INSERT, _IOC_WRITE, BYTES(insert), "hello");
	put(b, STATUS, ROPEFS_IOC_NR_CUT, _IOC_WRITE, BYTES(cut), "");
	give_one(give, arg, "refused", b);
}

static void seed_cursors(fuzz_give_fn give, void *arg, struct buf *b)
{
	struct ropefs_ioc_cursor c = { .name = "reader", .id = 2 };
	const struct ropefs_ioc_cursor first = { .name = "" };

	put(b, QUEUE_RO, ROPEFS_IOC_NR_CURSOR_COMMIT, _IOC_WRITE, BYTES(c), "");
	c.id = ROPEFS_IOC_CURSOR_READ;
	put(b, LINES, ROPEFS_IOC_NR_CURSOR_COMMIT, _IOC_WRITE, BYTES(c), "");
	put(b, QUEUE, ROPEFS_IOC_NR_CURSOR_NEXT, _IOC_READ | _IOC_WRITE, BYTES(first),
	    "");
	put(b, QUEUE, ROPEFS_IOC_NR_CURSOR_REMOVE, _IOC_WRITE, BYTES(c), "");
	memset(c.name, 'n', sizeof(c.name));
	put(b, QUEUE, ROPEFS_IOC_NR_CURSOR_COMMIT, _IOC_WRITE, BYTES(c), "");
	give_one(give, arg, "cursors", b);
}

static void seed_txn(fuzz_give_fn give, void *arg, struct buf *b)
{
	const struct ropefs_ioc_txn_use use = { .txn = TXN_HERE };
	struct ropefs_ioc_txn_edit e = { .txn = TXN_HERE, .at = 10, .cut = 20, .n = 3 };
	struct ropefs_ioc_txn_name name = {
		.what = ROPEFS_IOC_TXN_CREATE, .dir = 3, .mode = 0600, .name = "new"
	};
	const struct ropefs_ioc_txn_why why = { "" };

	put(b, ROPE, ROPEFS_IOC_NR_TXN_USE, _IOC_READ | _IOC_WRITE, BYTES(use), "");
	put(b, OTHER, ROPEFS_IOC_NR_TXN_USE, _IOC_READ | _IOC_WRITE, BYTES(use), "");
	put(b, ROOT, ROPEFS_IOC_NR_TXN_USE, _IOC_READ | _IOC_WRITE, BYTES(use), "");
	put(b, QUEUE, ROPEFS_IOC_NR_TXN_USE, _IOC_READ | _IOC_WRITE, BYTES(use), "");
	put(b, ROPE, ROPEFS_IOC_NR_TXN_EDIT, _IOC_WRITE, BYTES(e), "abc");
	e = (struct ropefs_ioc_txn_edit) {
		.txn = TXN_HERE, .src = 1, .src_n = 50, .flags = ROPEFS_IOC_TXN_MOVE
	};
	put(b, OTHER, ROPEFS_IOC_NR_TXN_EDIT, _IOC_WRITE, BYTES(e), "");
	e = (struct ropefs_ioc_txn_edit) { .txn = TXN_HERE,
					   .n = 5,
					   .flags = ROPEFS_IOC_TXN_APPEND };
	put(b, QUEUE, ROPEFS_IOC_NR_TXN_EDIT, _IOC_WRITE, BYTES(e), "line\n");
	put(b, TXN, ROPEFS_IOC_NR_TXN_NAME, _IOC_READ | _IOC_WRITE, BYTES(name), "");
	name.what = ROPEFS_IOC_TXN_RENAME;
	name.mode = 0;
	name.to_dir = 3;
	memcpy(name.to_name, "other", 6);
	put(b, TXN, ROPEFS_IOC_NR_TXN_NAME, _IOC_READ | _IOC_WRITE, BYTES(name), "");
	name.what = ROPEFS_IOC_TXN_UNLINK;
	put(b, TXN, ROPEFS_IOC_NR_TXN_NAME, _IOC_READ | _IOC_WRITE, BYTES(name), "");
	name = (struct ropefs_ioc_txn_name) {
		.what = ROPEFS_IOC_TXN_CURSOR, .dir = 4, .id = 1, .name = "c"
	};
	put(b, TXN, ROPEFS_IOC_NR_TXN_NAME, _IOC_READ | _IOC_WRITE, BYTES(name), "");
	put(b, TXN, ROPEFS_IOC_NR_TXN_COMMIT, _IOC_NONE, span_of("", 0), "");
	put(b, TXN, ROPEFS_IOC_NR_TXN_WHY, _IOC_READ, BYTES(why), "");
	give_one(give, arg, "txn", b);
}

static void seed_store(fuzz_give_fn give, void *arg, struct buf *b)
{
	const struct ropefs_ioc_scrub scrub = { 1000 };
	const uint32_t verb = ROPEFS_IOC_REMOTE_SET;

	put(b, SCRUB, ROPEFS_IOC_NR_SCRUB_START, _IOC_WRITE, BYTES(scrub), "");
	put(b, SCRUB, ROPEFS_IOC_NR_SCRUB_STOP, _IOC_NONE, span_of("", 0), "");
	put(b, REMOTE, ROPEFS_IOC_NR_REMOTE, _IOC_READ | _IOC_WRITE, BYTES(verb),
	    "....url=file:///tmp\n");
	put(b, EVENTS, 200, _IOC_READ, span_of("", 0), "?");
	give_one(give, arg, "store", b);
}

void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	seed_edits(give, arg, &b);
	seed_cursors(give, arg, &b);
	seed_txn(give, arg, &b);
	seed_store(give, arg, &b);
}
