/* remote_config.c - the file remote/config: lines NAME=VALUE, sealed (sealed_file.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/keys/sealed_file.h"
#include "core/keys/secret.h"
#include "core/remote_priv.h"

#define CONFIG_NAME REMOTE_FOLDER "/config"
#define CONFIG_MAX  65536u

#define INTERVAL_S	60u
#define INTERVAL_MOST_S 300u
#define LIVE_S		3u
#define LOOK_S		20u

static const struct sealed_kind kind = { CONFIG_NAME, "ROPEREMO", KEY_REMOTE,
					 CONFIG_MAX };

/* X(name): fields that are text, which may be secret, and that are numbers. */
#define OPEN_TEXTS(X)                                                                    \
	X(url)                                                                           \
	X(endpoint)                                                                      \
	X(region)                                                                        \
	X(access_key) X(ca_file) X(upload_hours)
#define SECRETS(X) X(secret_key) X(session_token)
#define TEXTS(X)   OPEN_TEXTS(X) SECRETS(X)
#define NUMBERS(X)                                                                       \
	X(virtual_host)                                                                  \
	X(signature_v2)                                                                  \
	X(reader)                                                                        \
	X(creates)                                                                       \
	X(versions)                                                                      \
	X(interval_s)                                                                    \
	X(interval_most_s)                                                               \
	X(live_s)                                                                        \
	X(look_s)                                                                        \
	X(keep_s) X(local_bytes) X(min_free_bytes) X(bytes_per_s) X(epoch) X(drop_oldest)

void remote_config_release(struct remote_config *c)
{
#define X(name) free(c->name);
	OPEN_TEXTS(X)
#undef X
#define X(name) secret_free(c->name);
	SECRETS(X)
#undef X
	*c = (struct remote_config) { 0 };
}

static int put_line(struct buf *b, const char *name, const char *value)
{
	return value ? buf_printf(b, "%s=%s\n", name, value) : 0;
}

int remote_config_write(struct io *io, const struct keys *keys,
			const struct remote_config *c)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char writer[2 * sizeof(c->writer) + 1];
	int r = buf_reserve(&text,
			    CONFIG_MAX); /* it must not move: only one copy is wiped */

	hex_put(c->writer, sizeof(c->writer), writer);
#define X(name)                                                                          \
	if (r >= 0)                                                                      \
		r = put_line(&text, #name, c->name);
	TEXTS(X)
#undef X
#define X(name)                                                                          \
	if (r >= 0)                                                                      \
		r = buf_printf(&text, #name "=%" PRIu64 "\n", (uint64_t)c->name);
	NUMBERS(X)
#undef X
	if (r >= 0)
		r = put_line(&text, "writer", writer);
	if (r >= 0)
		r = sealed_file_write(io, keys, &kind, buf_span(&text));
	if (text.p)
		explicit_bzero(text.p, text.n);
	secret_forget();
	return r;
}

static int take_line(struct remote_config *c, const char *name, const char *value)
{
#define X(field)                                                                         \
	if (!strcmp(name, #field)) {                                                     \
		c->field = strdup(value);                                                \
		return c->field ? 0 : -ENOMEM;                                           \
	}
	OPEN_TEXTS(X)
#undef X
#define X(field)                                                                         \
	if (!strcmp(name, #field))                                                       \
		return secret_text(value, &c->field);
	SECRETS(X)
#undef X
#define X(field)                                                                         \
	if (!strcmp(name, #field))                                                       \
		c->field = strtoull(value, NULL, 10);
	NUMBERS(X)
#undef X
	if (!strcmp(name, "writer"))
		for (size_t i = 0; i < sizeof(c->writer); i++)
			sscanf(value + 2 * i, "%2hhx", &c->writer[i]);
	return 0;
}

static int take_text(struct remote_config *c, char *text)
{
	char *save, *line;
	int r = 0;

	for (line = strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value++ = '\0';
		r = take_line(c, line, value);
	}
	return r;
}

int remote_config_read(struct io *io, const struct keys *keys, struct remote_config *ret)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	/* Older files don't have these. */
	struct remote_config c = { .live_s = LIVE_S, .look_s = LOOK_S };
	int r;

	r = sealed_file_read(io, keys, &kind, &text);
	if (r == -E_CORRUPT)
		return err_set(E_CORRUPT, "the store's file " CONFIG_NAME
					  " does not verify: give the bucket anew with "
					  "ropectl remote add");
	if (r < 0)
		return r;
	r = take_text(&c, (char *)text.p);
	explicit_bzero(text.p, text.n);
	secret_forget();
	if (r < 0) {
		remote_config_release(&c);
		return r;
	}
	*ret = c;
	return 0;
}

static int check_text(const char *text)
{
	if (!text || !strchr(text, '\n'))
		return 0;
	return err_set(EINVAL, "a line break is part of no place and no credential");
}

static int copy_text(char **to, const char *from)
{
	int r = check_text(from);

	if (r < 0 || !from)
		return r;
	*to = strdup(from);
	return *to ? 0 : -ENOMEM;
}

static int copy_secret(char **to, const char *from)
{
	int r = check_text(from);

	return r < 0 ? r : secret_text(from, to);
}

/* --- options as lines --- */

/* X(name): of struct ropefs_remote_opts, numbers of each type. */
#define OPT_BOOLS(X)  X(virtual_host) X(signature_v2) X(take_over) X(drop_oldest)
#define OPT_SHORTS(X) X(interval_s) X(interval_most_s) X(live_s) X(look_s) X(keep_s)
#define OPT_LONGS(X)  X(local_bytes) X(min_free_bytes) X(bytes_per_s)

static int take_option(struct ropefs_remote_opts *o, const char *name, const char *value)
{
	uint64_t n = strtoull(value, NULL, 10);

#define X(field)                                                                         \
	if (!strcmp(name, #field)) {                                                     \
		o->field = value;                                                        \
		return 0;                                                                \
	}
	TEXTS(X)
#undef X
#define X(field)                                                                         \
	if (!strcmp(name, #field)) {                                                     \
		o->field = n != 0;                                                       \
		return 0;                                                                \
	}
	OPT_BOOLS(X)
#undef X
#define X(field)                                                                         \
	if (!strcmp(name, #field)) {                                                     \
		o->field = (unsigned)MIN(n, (uint64_t)UINT32_MAX);                       \
		return 0;                                                                \
	}
	OPT_SHORTS(X)
#undef X
#define X(field)                                                                         \
	if (!strcmp(name, #field)) {                                                     \
		o->field = n;                                                            \
		return 0;                                                                \
	}
	OPT_LONGS(X)
#undef X
	return err_set(EINVAL, "'%.40s' is no option of a bucket", name);
}

int ropefs_remote_opts_parse(char *lines, struct ropefs_remote_opts *ret)
{
	struct ropefs_remote_opts o = { 0 };
	char *save, *line;
	int r = 0;

	err_clear();
	for (line = strtok_r(lines, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (!value)
			return err_set(EINVAL, "'%.40s' is no NAME=VALUE", line);
		*value++ = '\0';
		r = take_option(&o, line, value);
	}
	if (r == 0)
		*ret = o;
	return r;
}

/* Settings that may be changed later. */
static bool may_change(const char *name)
{
	static const char *const names[] = {
		"endpoint",	   "region",	  "access_key",	  "secret_key",
		"session_token",   "ca_file",	  "upload_hours", "interval_s",
		"interval_most_s", "keep_s",	  "local_bytes",  "bytes_per_s",
		"min_free_bytes",  "drop_oldest", "live_s",	  "look_s"
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* The line, cut in two, takes the place of what c had. */
static int change_line(struct remote_config *c, const char *name, const char *value)
{
	if (!may_change(name))
		return err_set(EINVAL, "'%.40s' of a bucket can't be changed", name);
	if (!strcmp(name, "upload_hours") && *value) {
		int r = remote_hours_check(value);

		if (r < 0)
			return r;
	}
#define X(field)                                                                         \
	if (!strcmp(name, #field)) {                                                     \
		free(c->field);                                                          \
		c->field = NULL;                                                         \
	}
	OPEN_TEXTS(X)
#undef X
#define X(field)                                                                         \
	if (!strcmp(name, #field))                                                       \
		c->field = secret_free(c->field);
	SECRETS(X)
#undef X
	return *value ? take_line(c, name, value) : 0;
}

int remote_config_change(struct remote_config *c, char *lines)
{
	char *save, *line;
	int r = 0;

	for (line = strtok_r(lines, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (!value)
			return err_set(EINVAL, "'%.40s' is no NAME=VALUE", line);
		*value++ = '\0';
		r = change_line(c, line, value);
	}
	if (!c->interval_s || !c->keep_s || !c->look_s)
		return err_set(EINVAL, "the times must be more than nothing");
	return r;
}

int remote_config_fill(struct remote_config *c, const struct ropefs_remote_opts *opts)
{
	int r = 0;

#define X(name)                                                                          \
	if (r == 0)                                                                      \
		r = copy_text(&c->name, opts->name);
	OPEN_TEXTS(X)
#undef X
#define X(name)                                                                          \
	if (r == 0)                                                                      \
		r = copy_secret(&c->name, opts->name);
	SECRETS(X)
#undef X
	c->virtual_host = opts->virtual_host;
	c->signature_v2 = opts->signature_v2;
	c->interval_s = opts->interval_s ? opts->interval_s : INTERVAL_S;
	c->interval_most_s = opts->interval_s ? opts->interval_most_s : INTERVAL_MOST_S;
	c->live_s = opts->live_s == ROPEFS_LIVE_OFF ? 0
		    : opts->live_s		    ? opts->live_s
						    : LIVE_S;
	c->look_s = opts->look_s ? opts->look_s : LOOK_S;
	c->keep_s = opts->keep_s ? opts->keep_s : 24 * 3600;
	c->local_bytes = opts->local_bytes;
	c->min_free_bytes = opts->min_free_bytes;
	c->bytes_per_s = opts->bytes_per_s;
	c->drop_oldest = opts->drop_oldest;
	if (r == 0 && c->upload_hours)
		r = remote_hours_check(c->upload_hours);
	return r;
}
