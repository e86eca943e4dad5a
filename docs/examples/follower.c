/* follower.c - prints the records of a queue that a named cursor has not seen yet, with their ids,
 * and moves the cursor: follower STORE KEYFILE NAME CURSOR. Ends when a second brings no more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ropefs.h>

static int print_some(struct ropefs *fs, uint64_t ino, const char *cursor, uint64_t *id)
{
	struct ropefs_record records[64];
	struct ropefs_batch b = { .id = *id,
				  .records = records,
				  .max = 64,
				  .p = malloc(ROPEFS_WRITE_MAX),
				  .n = ROPEFS_WRITE_MAX };
	const char *at = b.p;
	int r = b.p ? ropefs_queue_read(fs, ino, &b, 0) : -1;

	for (unsigned i = 0; r >= 0 && i < b.count; i++) {
		printf("%llu ", (unsigned long long)records[i].id);
		fwrite(at, 1, records[i].n, stdout);
		at += records[i].n;
	}
	/* Only what was worked on is committed: after a crash the rest comes again. */
	if (r >= 0 && b.count)
		r = ropefs_cursor_commit(fs, ino, cursor, b.id);
	free(b.p);
	*id = r == -ERANGE ? b.first : b.id; /* those before it were trimmed */
	return r == -ERANGE ? 0 : r;
}

int main(int argc, char **argv)
{
	struct ropefs_opts opts = { 0 };
	struct ropefs_cursor cursor = { 0 };
	struct ropefs_attr queue;
	struct ropefs *fs;
	int r;

	if (argc != 5)
		return 2;
	opts.key_file = argv[2];
	r = ropefs_open(argv[1], &opts, &fs);
	if (r < 0) {
		fprintf(stderr, "follower: %s\n", ropefs_error());
		return 1;
	}
	r = ropefs_lookup(fs, ROPEFS_ROOT_INO, ropefs_name(argv[3]), &queue);
	if (r >= 0)
		ropefs_cursor_get(fs, queue.ino, argv[4], &cursor); /* none: from 0 */
	while (r >= 0 && ropefs_queue_wait(fs, queue.ino, cursor.id, 1000) >= 0)
		r = print_some(fs, queue.ino, argv[4], &cursor.id);
	if (r < 0)
		fprintf(stderr, "follower: %s\n", ropefs_error_text(r));
	return ropefs_close(fs) < 0 || r < 0;
}
