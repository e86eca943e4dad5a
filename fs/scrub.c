#include "fs/scrub.h"

#include "fs/reply.h"
#include "fs/ropefs_ioctl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int scrub_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n)
{
	char *text;
	int r = ropefs_scrub_json(d->fs, names, &text);

	if (r < 0)
		return r;
	*ret_text = text;
	*ret_n = strlen(text);
	return 0;
}

void scrub_ioctl(fuse_req_t req, unsigned cmd, const void *in, size_t n_in)
{
	struct ropefs *fs = daemon_of(req)->fs;
	const struct ropefs_ioc_scrub *start = in;
	uid_t uid = fuse_req_ctx(req)->uid;
	int r;

	if (cmd != ROPEFS_IOC_SCRUB_START && cmd != ROPEFS_IOC_SCRUB_STOP)
		r = -ENOTTY;
	else if (uid != 0 && uid != geteuid())
		r = -EPERM;
	else if (cmd == ROPEFS_IOC_SCRUB_STOP)
		r = ropefs_scrub_stop(fs);
	else if (n_in != sizeof(*start))
		r = -EINVAL;
	else
		r = ropefs_scrub_start(fs, start->bytes_per_s);
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_ioctl(req, 0, NULL, 0);
}
