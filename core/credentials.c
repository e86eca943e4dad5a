/* credentials.c - where the keys for a bucket come from: a file as the AWS tools have it, or the
 * environment. Never a command's arguments, which others can see. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/util.h"
#include "core/keys/keys.h"
#include "core/keys/secret.h"
#include "core/ropefs.h"

#define TEXT_MAX 4096

void ropefs_credentials_release(struct ropefs_credentials *c)
{
	char **const secrets[] = { &c->access_key, &c->secret_key, &c->session_token };

	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		if (*secrets[i])
			explicit_bzero(*secrets[i], strlen(*secrets[i]));
		free(*secrets[i]);
		*secrets[i] = NULL;
	}
}

void ropefs_secrets_forget(void)
{
	secret_forget();
}

/* Nothing for nothing. */
static int copy(char **to, const char *from)
{
	char *text = from && *from ? strdup(from) : NULL;

	if (from && *from && !text)
		return -ENOMEM;
	free(*to);
	*to = text;
	return 0;
}

static int take_line(struct ropefs_credentials *c, const char *name, const char *value)
{
	if (!strcmp(name, "aws_access_key_id"))
		return copy(&c->access_key, value);
	if (!strcmp(name, "aws_secret_access_key"))
		return copy(&c->secret_key, value);
	if (!strcmp(name, "aws_session_token"))
		return copy(&c->session_token, value);
	return 0;
}

static bool is_whole(const struct ropefs_credentials *c)
{
	return c->access_key && c->secret_key;
}

/* Lines NAME = VALUE of one section; without a profile of the first. */
static int read_file(const char *path, const char *profile, struct ropefs_credentials *c)
{
	char line[TEXT_MAX], name[64], value[TEXT_MAX], buffer[TEXT_MAX];
	FILE *f = fopen(path, "re");
	bool ours = !profile;
	int sections = 0, r = 0;

	if (!f)
		return err_set(errno, "%s: %s", path, strerror(errno));
	setvbuf(f, buffer, _IOFBF, sizeof(buffer));
	while (r == 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " [%63[^]]]", name) == 1)
			ours = profile ? !strcmp(name, profile) : sections++ == 0;
		else if (ours && sscanf(line, " %63[a-z_] = %4095s", name, value) == 2)
			r = take_line(c, name, value);
	}
	fclose(f);
	explicit_bzero(line, sizeof(line));
	explicit_bzero(value, sizeof(value));
	explicit_bzero(buffer, sizeof(buffer));
	secret_forget();
	if (r < 0 || is_whole(c))
		return r;
	return err_set(EINVAL,
		       "%s: %s%s has no aws_access_key_id and aws_secret_access_key",
		       path, profile ? "profile " : "it", profile ? profile : "");
}

static const char *const names[] = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
				     "AWS_SESSION_TOKEN" };
static char *taken[ARRAY_LEN(names)]; /* of secret.h: NAME=VALUE */

/* The text is the environment's own, which the kernel shows as long as it is there. */
static int take_one(const char *name, char **ret)
{
	char *value = getenv(name);
	size_t n = value ? strlen(name) + 1 + strlen(value) + 1 : 0;
	void *p = NULL;
	int r;

	if (!value)
		return 0;
	r = keys_init_library();
	if (r == 0)
		r = secret_new(n, &p);
	if (r == 0) {
		snprintf(p, n, "%s=%s", name, value);
		secret_free(*ret);
		*ret = p;
	}
	explicit_bzero(value, strlen(value));
	unsetenv(name);
	return r;
}

int ropefs_credentials_take(void)
{
	int r = 0;

	err_clear();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int one = take_one(names[i], &taken[i]);

		r = one < 0 ? one : r;
	}
	secret_forget();
	return r;
}

char **ropefs_credentials_environ(void)
{
	size_t n = 0, at = 0;
	char **ret;

	while (environ && environ[n])
		n++;
	ret = calloc(n + ARRAY_LEN(names) + 1, sizeof(*ret));
	for (; ret && at < n; at++)
		ret[at] = environ[at];
	for (size_t i = 0; ret && i < ARRAY_LEN(names); i++)
		if (taken[i])
			ret[at++] = taken[i];
	return ret;
}

static const char *in_environment(size_t i)
{
	return taken[i] ? strchr(taken[i], '=') + 1 : getenv(names[i]);
}

static int read_environment(struct ropefs_credentials *c)
{
	int r = copy(&c->access_key, in_environment(0));

	if (r == 0)
		r = copy(&c->secret_key, in_environment(1));
	if (r == 0)
		r = copy(&c->session_token, in_environment(2));
	return r;
}

/* Where the AWS tools keep theirs: false when there is none. */
static bool usual_file(char ret[TEXT_MAX])
{
	const char *home = getenv("HOME"), *file = getenv("AWS_SHARED_CREDENTIALS_FILE");

	if (file && *file)
		snprintf(ret, TEXT_MAX, "%s", file);
	else
		snprintf(ret, TEXT_MAX, "%s/.aws/credentials", home ? home : "");
	return access(ret, R_OK) == 0;
}

static int find(const struct ropefs_credentials_source *from,
		struct ropefs_credentials *c)
{
	const char *profile = from->profile ? from->profile : getenv("AWS_PROFILE");
	char path[TEXT_MAX];
	int r;

	if (from->file)
		return read_file(from->file, profile, c);
	if (!from->profile) {
		r = read_environment(c);
		if (r < 0 || is_whole(c))
			return r;
		ropefs_credentials_release(c);
	}
	if (usual_file(path))
		return read_file(path, profile ? profile : "default", c);
	return 0;
}

int ropefs_credentials_find(const struct ropefs_credentials_source *from,
			    struct ropefs_credentials *ret)
{
	struct ropefs_credentials c = { 0 };
	int r;

	err_clear();
	r = find(from, &c);
	if (r < 0) {
		ropefs_credentials_release(&c);
		return r;
	}
	*ret = c;
	return 0;
}
