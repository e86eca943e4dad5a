#include "fs/restore.h"

#include "fs/daemon.h"
#include "fs/dotdir.h"
#include "fs/kept.h"
#include "fs/ops.h"
#include "fs/report.h"
#include "fs/view.h"
#include "fs/view_range.h"
#include "fs/view_stream.h"
#include "fs/view_value.h"

#include <linux/fuse.h>
#include <unistd.h>

static int (*const kinds[])(struct daemon *d, const struct kept_file *k) = {
	[KEPT_TEXT] = dot_text_restore,	   [KEPT_EVENT_FILE] = events_restore,
	[KEPT_TXN] = txn_restore,	   [KEPT_STREAM] = view_stream_restore,
	[KEPT_RANGE] = view_file_restore,  [KEPT_VALUE] = view_value_restore,
	[KEPT_QUEUE] = queue_file_restore, [KEPT_HELD] = file_restore,
	[KEPT_NODE] = view_node_restore,
};

void restore_files(struct daemon *d)
{
	struct kept_file k;
	unsigned at = 0;

	while (kept_next(&at, &k)) {
		if (k.kind == KEPT_EVENTS) /* they have it */
			kept_drop(&k.k);
		else if (kinds[k.kind](d, &k) < 0 && k.kind != KEPT_NODE)
			report("%s: an open file could not be taken over; who has it "
			       "open gets \"Stale file handle\"",
			       d->mountpoint);
	}
}

void restore_polls(struct daemon *d, int connection)
{
	unsigned at = 0;
	uint64_t kh;

	while ((kh = kept_next_poll(&at)) != 0) {
		struct {
			struct fuse_out_header head;
			struct fuse_notify_poll_wakeup_out poll;
		} told = { .head = { .len = sizeof(told), .error = FUSE_NOTIFY_POLL },
			   .poll.kh = kh };

		if (write(connection, &told, sizeof(told)) < 0)
			continue; /* nobody polls any more */
	}
	events_go_on(d);
}
