/* policy_verb.c - policies of files and folders: the xattrs user.ropefs.KEY of a mount. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/ropefs.h"
#include "mountctl/mounts.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

#define VALUE_MAX 65536

static char *xattr_name(const char *key)
{
	char *name;

	if (asprintf(&name, "user.ropefs.%s", key) < 0)
		abort();
	return name;
}

static int check_path(const char *path)
{
	struct mount m;
	struct stat st;

	if (stat(path, &st) < 0)
		return mount_fail(errno, path);
	if (mount_find_dev(st.st_dev, &m) < 0)
		return term_say("%s is not in a ropefs mount", path);
	mount_release(&m);
	return EXIT_DONE;
}

static int set_one(const char *path, const char *word)
{
	const char *equals = strchr(word, '=');
	char *key, *name;
	int status = EXIT_DONE, r;

	if (!equals || equals == word)
		return term_usage("policy", "'%s' is no KEY=VALUE", word);
	key = strndup(word, (size_t)(equals - word));
	if (!key)
		abort();
	name = xattr_name(key);
	r = ropefs_policy_check(key, equals + 1);
	if (r < 0)
		status = term_fail(r, path);
	else if (setxattr(path, name, equals + 1, strlen(equals + 1), 0) < 0)
		status = mount_fail(errno, path);
	free(name);
	free(key);
	return status;
}

static int set(const char *path, int n, char **words)
{
	int status = EXIT_DONE;

	for (int i = 0; i < n && !status; i++)
		status = set_one(path, words[i]);
	return status;
}

static bool is_key(const char *key)
{
	const char *values, *k;

	for (unsigned i = 0; (k = ropefs_policy_key(i, &values)); i++)
		if (!strcmp(k, key))
			return true;
	return false;
}

static int no_key(const char *key)
{
	return term_usage("policy",
			  "there is no policy '%s'; 'ropectl policy --help' lists them",
			  key);
}

static int get(const char *path, int n, char **keys)
{
	char *value = malloc(VALUE_MAX);
	int status = EXIT_DONE;

	if (!value)
		abort();
	for (int i = 0; i < n && !status; i++) {
		char *name = xattr_name(keys[i]);
		ssize_t got =
			is_key(keys[i]) ? getxattr(path, name, value, VALUE_MAX) : 0;

		if (!is_key(keys[i]))
			status = no_key(keys[i]);
		else if (got < 0 && errno == ENODATA)
			status = term_say("%s: %s is not set", path, keys[i]);
		else if (got < 0)
			status = mount_fail(errno, path);
		else
			printf("%.*s\n", (int)got, value);
		free(name);
	}
	free(value);
	return status;
}

static int unset(const char *path, int n, char **keys)
{
	int status = EXIT_DONE;

	for (int i = 0; i < n && !status; i++) {
		char *name = xattr_name(keys[i]);

		if (!is_key(keys[i]))
			status = no_key(keys[i]);
		else if (removexattr(path, name) < 0)
			status = errno == ENODATA ? term_say("%s has no %s of its own",
							     path, keys[i])
						  : mount_fail(errno, path);
		free(name);
	}
	return status;
}

/* A line is KEY, VALUE and the inode that has it, with tabs between. json: the array that it goes
 * to, else it is printed. */
static void take_line(char *line, const struct stat *st, cJSON *json)
{
	char *value = strchr(line, '\t');
	char *from = value ? strchr(value + 1, '\t') : NULL;
	cJSON *o;
	bool own;

	if (!from)
		return;
	*value++ = *from++ = '\0';
	own = strtoull(from, NULL, 10) == st->st_ino;
	if (!json) {
		printf("%-8s %-20s %s\n", line, value, own ? "its own" : "inherited");
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "key", line);
	cJSON_AddStringToObject(o, "value", value);
	cJSON_AddBoolToObject(o, "own", own);
	cJSON_AddItemToArray(json, o);
}

static int list(const char *path, bool as_json)
{
	cJSON *json = as_json ? cJSON_CreateArray() : NULL;
	char *text = malloc(VALUE_MAX + 1), *save = NULL;
	struct stat st;
	ssize_t n;

	if (!text)
		abort();
	n = getxattr(path, "user.ropefs.policy", text, VALUE_MAX);
	if (n < 0 || stat(path, &st) < 0) {
		int err = errno;

		free(text);
		cJSON_Delete(json);
		return mount_fail(err, path);
	}
	text[n] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		take_line(line, &st, json);
	free(text);
	if (json)
		term_json(json);
	cJSON_Delete(json);
	return EXIT_DONE;
}

int verb_policy(const struct verb *verb, int argc, char **argv)
{
	const char *what, *json = NULL;
	const struct verb_option options[] = { { "json", 'j', false, &json }, { 0 } };
	int first, n, status;
	char **rest;

	n = verb_options(verb, argc, argv, options, 2, 64, &first);
	if (n < 0)
		return first;
	what = argv[first];
	rest = argv + first + 2;
	n -= 2;
	if (strcmp(what, "set") && strcmp(what, "get") && strcmp(what, "ls") &&
	    strcmp(what, "unset"))
		return term_usage(verb->name, "'%s' is none of set, get, ls, unset",
				  what);
	if (!strcmp(what, "ls") ? n > 0 : n == 0)
		return term_usage(verb->name, "policy %s: it takes: %s", what,
				  verb->synopsis);
	status = check_path(argv[first + 1]);
	if (status)
		return status;
	if (!strcmp(what, "set"))
		return set(argv[first + 1], n, rest);
	if (!strcmp(what, "get"))
		return get(argv[first + 1], n, rest);
	return !strcmp(what, "ls") ? list(argv[first + 1], json != NULL)
				   : unset(argv[first + 1], n, rest);
}
