/* expire.h - the thread that removes files whose ttl is over (docs/POLICIES.md), and tells the
 * kernel that their names are gone. */
#ifndef ROPEFS_FS_EXPIRE_H
#define ROPEFS_FS_EXPIRE_H

#include "fs/worker.h"

struct daemon;

struct expirer {
	struct job job; /* first: they are one */
	struct pool thread; /* one; it has no other job */
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool stopping; /* guarded by mutex */
	struct daemon *d;
};

/* When the loops answer. 0 or a negative errno; expirer_stop() undoes a failed start, too. */
int expirer_start(struct daemon *d);
/* While they still do: the kernel may have to wait for them before it forgets a name. */
void expirer_stop(struct daemon *d);

#endif
