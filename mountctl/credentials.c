#include "mountctl/credentials.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "mountctl/term.h"

#define TEXT_MAX 4096

void credentials_release(struct credentials *c)
{
	char **const secrets[] = { &c->access_key, &c->secret_key, &c->session_token };

	for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
		if (*secrets[i])
			explicit_bzero(*secrets[i], strlen(*secrets[i]));
		free(*secrets[i]);
		*secrets[i] = NULL;
	}
}

static char *copy(const char *s)
{
	char *c = s && *s ? strdup(s) : NULL;

	if (s && *s && !c)
		abort();
	return c;
}

static void take_line(struct credentials *c, const char *name, const char *value)
{
	char **to = !strcmp(name, "aws_access_key_id")	     ? &c->access_key
		    : !strcmp(name, "aws_secret_access_key") ? &c->secret_key
		    : !strcmp(name, "aws_session_token")     ? &c->session_token
							     : NULL;

	if (!to)
		return;
	free(*to);
	*to = copy(value);
}

/* Lines NAME = VALUE of one section; without a profile of the first. */
static int read_file(const char *path, const char *profile, struct credentials *c)
{
	char line[TEXT_MAX], name[64], value[TEXT_MAX];
	FILE *f = fopen(path, "re");
	bool ours = !profile;
	int sections = 0;

	if (!f)
		return term_fail_errno(errno, path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " [%63[^]]]", name) == 1)
			ours = profile ? !strcmp(name, profile) : sections++ == 0;
		else if (ours && sscanf(line, " %63[a-z_] = %4095s", name, value) == 2)
			take_line(c, name, value);
	}
	fclose(f);
	explicit_bzero(line, sizeof(line));
	explicit_bzero(value, sizeof(value));
	if (c->access_key && c->secret_key)
		return EXIT_DONE;
	return term_say("%s: %s%s has no aws_access_key_id and aws_secret_access_key",
			path, profile ? "profile " : "it", profile ? profile : "");
}

static char *prompt(const char *what, bool hide)
{
	char line[TEXT_MAX];
	struct termios old, quiet;
	bool hidden = hide && tcgetattr(STDIN_FILENO, &old) == 0;
	char *answer = NULL;

	fprintf(stderr, "%s: ", what);
	if (hidden) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	if (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		answer = copy(line);
	}
	if (hidden) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	explicit_bzero(line, sizeof(line));
	return answer;
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

static int find(const struct credentials_source *from, struct credentials *c)
{
	const char *profile = from->profile ? from->profile : getenv("AWS_PROFILE");
	char path[TEXT_MAX];

	if (from->file)
		return read_file(from->file, profile, c);
	if (!from->profile) {
		c->access_key = copy(getenv("AWS_ACCESS_KEY_ID"));
		c->secret_key = copy(getenv("AWS_SECRET_ACCESS_KEY"));
		c->session_token = copy(getenv("AWS_SESSION_TOKEN"));
		if (c->access_key && c->secret_key)
			return EXIT_DONE;
		credentials_release(c);
	}
	if (usual_file(path))
		return read_file(path, profile ? profile : "default", c);
	if (!from->profile && isatty(STDIN_FILENO)) {
		c->access_key = prompt("Access key", false);
		c->secret_key = prompt("Secret key", true);
	}
	if (c->access_key && c->secret_key)
		return EXIT_DONE;
	return term_say("the bucket needs credentials: set AWS_ACCESS_KEY_ID and "
			"AWS_SECRET_ACCESS_KEY, or give --credentials-file");
}

int credentials_find(const struct credentials_source *from, struct credentials *ret)
{
	int status = find(from, ret);

	if (status != EXIT_DONE)
		credentials_release(ret);
	return status;
}
