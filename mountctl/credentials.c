#include "mountctl/credentials.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "mountctl/term.h"

#define TEXT_MAX 4096

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
		answer = *line ? strdup(line) : NULL;
	}
	if (hidden) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	explicit_bzero(line, sizeof(line));
	return answer;
}

int credentials_find(const struct ropefs_credentials_source *from,
		     struct ropefs_credentials *ret)
{
	int r = ropefs_credentials_find(from, ret);

	if (r < 0)
		return term_say("%s",
				*ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	if (!ret->access_key && !from->profile && isatty(STDIN_FILENO)) {
		ret->access_key = prompt("Access key", false);
		ret->secret_key = prompt("Secret key", true);
	}
	if (ret->access_key && ret->secret_key)
		return EXIT_DONE;
	ropefs_credentials_release(ret);
	return term_say("the bucket needs credentials: set AWS_ACCESS_KEY_ID and "
			"AWS_SECRET_ACCESS_KEY, or give --credentials-file");
}
