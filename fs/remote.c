#include "fs/remote.h"

#include "fs/far.h"
#include "fs/reply.h"
#include "fs/ropefs_ioctl.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One change of the bucket at a time. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

/* Without a bucket an empty object: "no" is an answer, too. */
int remote_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n)
{
	char *text;
	int r = ropefs_remote_status_json(d->fs, &text);

	if (r < 0)
		return r;
	*ret_text = text;
	*ret_n = strlen(text);
	return 0;
}

int upload_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n)
{
	uint64_t lsn;
	int r = ropefs_remote_kick(d->fs, &lsn);

	return r < 0 ? r : remote_text(d, names, ret_text, ret_n);
}

int dropped_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n)
{
	int r = ropefs_remote_dropped(d->fs, names, ret_text);

	if (r >= 0)
		*ret_n = strlen(*ret_text);
	return r;
}

static int change(struct daemon *d, struct ropefs_ioc_remote *c)
{
	struct ropefs_remote_opts opts;
	int r;

	if (c->verb == ROPEFS_IOC_REMOTE_RM)
		return ropefs_remote_rm(d->fs);
	if (c->verb == ROPEFS_IOC_REMOTE_RETRY)
		return ropefs_remote_retry(d->fs);
	if (c->verb == ROPEFS_IOC_REMOTE_SET)
		return ropefs_remote_set(d->fs, c->text);
	r = ropefs_remote_opts_parse(c->text, &opts);
	return r < 0 ? r : ropefs_remote_add(d->fs, &opts);
}

static void change_waiting(struct task *t)
{
	struct ropefs_ioc_remote *c = (void *)t->data;

	pthread_mutex_lock(&changing);
	c->result = change(t->d, c);
	pthread_mutex_unlock(&changing);
	explicit_bzero(c->text, sizeof(c->text)); /* credentials */
	ropefs_secrets_forget();
	if (c->result < 0)
		snprintf(c->text, sizeof(c->text), "%s", ropefs_error());
	fuse_reply_ioctl(t->req, 0, c, sizeof(*c));
	task_free(t);
}

struct lines {
	char *to;
	size_t n, left_out;
};

#define LINES_MOST (ROPEFS_IOC_REMOTE_TEXT - 100)

static void add_line(void *arg, const char *line)
{
	struct lines *l = arg;
	size_t n = strlen(line);

	if (l->left_out || l->n + n + 1 > LINES_MOST) {
		l->left_out++;
		return;
	}
	memcpy(l->to + l->n, line, n);
	l->n += n;
	l->to[l->n++] = '\n';
	l->to[l->n] = '\0';
}

/* The verify that runs, or NULL. A signal ends it, as the end of the mount does. */
static pthread_mutex_t verify_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct task *verifying;
static bool verify_no_more;

static bool verify_begin(struct task *t)
{
	bool may;

	pthread_mutex_lock(&verify_mutex);
	may = !verify_no_more;
	verifying = may ? t : NULL;
	pthread_mutex_unlock(&verify_mutex);
	return may;
}

static void verify_gone(struct task *t)
{
	pthread_mutex_lock(&verify_mutex);
	if (verifying == t)
		ropefs_remote_verify_end(t->d->fs);
	pthread_mutex_unlock(&verify_mutex);
}

void remote_end(struct daemon *d)
{
	pthread_mutex_lock(&verify_mutex);
	verify_no_more = true;
	if (verifying)
		ropefs_remote_verify_end(d->fs);
	pthread_mutex_unlock(&verify_mutex);
}

static int verify(struct task *t, struct ropefs_verify *v)
{
	int r = verify_begin(t) ? ropefs_remote_verify(t->d->fs, v) : -ESHUTDOWN;

	pthread_mutex_lock(&verify_mutex);
	verifying = NULL;
	pthread_mutex_unlock(&verify_mutex);
	return r;
}

static void verify_waiting(struct task *t)
{
	struct ropefs_ioc_remote *c = (void *)t->data;
	const char *rate = strstr(c->text, "rate=");
	struct lines l = { .to = c->text };
	struct ropefs_verify v = { .data = strstr(c->text, "data") != NULL,
				   .repair = strstr(c->text, "repair") != NULL,
				   .bytes_per_s = rate ? strtoull(rate + 5, NULL, 10) : 0,
				   .line = add_line,
				   .arg = &l };

	if (!far_begin(t))
		return;
	c->text[0] = '\0';
	pthread_mutex_lock(&changing);
	c->result = verify(t, &v);
	pthread_mutex_unlock(&changing);
	if (l.left_out)
		sprintf(c->text + l.n, "and %zu lines more, for which there is no room\n",
			l.left_out);
	else if (c->result < 0)
		add_line(&l, ropefs_error());
	if (!far_end(t))
		return;
	fuse_reply_ioctl(t->req, 0, c, sizeof(*c));
	task_free(t);
}

void remote_ioctl(fuse_req_t req, unsigned cmd, const void *in, size_t n_in)
{
	const struct ropefs_ioc_remote *c = in;
	uid_t uid = fuse_req_ctx(req)->uid;
	struct task *t;
	bool verifies;
	int r = 0;

	if (cmd != ROPEFS_IOC_REMOTE)
		r = -ENOTTY;
	else if (n_in != sizeof(*c) || !memchr(c->text, 0, sizeof(c->text)) ||
		 c->verb < ROPEFS_IOC_REMOTE_ADD || c->verb > ROPEFS_IOC_REMOTE_VERIFY)
		r = -EINVAL;
	else if (uid != 0 && uid != geteuid())
		r = -EPERM;
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	t = task_new(daemon_of(req), req, in, n_in);
	verifies = c->verb == ROPEFS_IOC_REMOTE_VERIFY;
	explicit_bzero((void *)(uintptr_t)in, n_in); /* the loop's buffer: credentials */
	ropefs_secrets_forget();
	if (t && verifies) {
		t->gone = verify_gone;
		far_run(t, verify_waiting);
	} else if (t) {
		task_run_far(t, change_waiting);
	}
}
