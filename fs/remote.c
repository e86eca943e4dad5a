#include "fs/remote.h"

#include "fs/daemon.h"

#include <stdlib.h>
#include <string.h>

/* Without a bucket an empty object: "no" is an answer, too. */
int remote_text(struct daemon *d, char **ret_text, size_t *ret_n)
{
	char *text;
	int r = ropefs_remote_status_json(d->fs, &text);

	if (r < 0)
		return r;
	*ret_text = text;
	*ret_n = strlen(text);
	return 0;
}

int upload_text(struct daemon *d, char **ret_text, size_t *ret_n)
{
	uint64_t lsn;
	int r = ropefs_remote_kick(d->fs, &lsn);

	return r < 0 ? r : remote_text(d, ret_text, ret_n);
}
