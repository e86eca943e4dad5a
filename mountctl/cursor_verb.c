/* cursor_verb.c - cursors of a queue: where each of its readers goes on. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/ropefs_ioctl.h"
#include "mountctl/mounts.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

static bool is_name(const char *name)
{
	return *name && strlen(name) <= 128 && !strpbrk(name, "/,@=");
}

static int fail(const char *path, const char *name)
{
	switch (errno) {
	case ENOTTY:
		return term_say("%s is not a queue: it is in no ropefs mount, or no "
				"regular file",
				path);
	case EINVAL:
		if (*name && !is_name(name))
			return term_say("'%s' is no name of a cursor: it has 1 to 128 "
					"bytes, none of / , @ =",
					name);
		return term_say("%s is an ordinary file, and only queues have cursors; "
				"files are queues when they are made in a folder with "
				"the policy kind=queue",
				path);
	case EACCES:
		return term_say(
			"%s: who moves or removes a cursor needs the right to write "
			"the file",
			path);
	case ENOENT:
		return term_say("%s has no cursor '%s'", path, name);
	case ERANGE:
		return term_say("%s has no such record yet", path);
	default:
		return mount_fail(errno, path);
	}
}

static int commit(int fd, const char *path, char **words)
{
	struct ropefs_ioc_cursor c = { 0 };
	char *end;

	snprintf(c.name, sizeof(c.name), "%s", words[0]);
	errno = 0;
	c.id = strtoull(words[1], &end, 10);
	if (errno || *end || end == words[1] || *words[1] == '-')
		return term_usage("cursor", "'%s' is no id of a record", words[1]);
	return ioctl(fd, ROPEFS_IOC_CURSOR_COMMIT, &c) < 0 ? fail(path, words[0])
							   : EXIT_DONE;
}

static void add_cursor(cJSON *json, const struct ropefs_ioc_cursor *c)
{
	cJSON *o = cJSON_CreateObject();
	char *name = term_escape(c->name);

	cJSON_AddStringToObject(o, "name", name ? name : "");
	cJSON_AddNumberToObject(o, "id", (double)c->id);
	cJSON_AddNumberToObject(o, "behind", (double)c->lag);
	cJSON_AddItemToArray(json, o);
	free(name);
}

static int list(int fd, const char *path, bool as_json)
{
	cJSON *json = as_json ? cJSON_CreateArray() : NULL;
	struct ropefs_ioc_cursor c = { 0 };

	while (ioctl(fd, ROPEFS_IOC_CURSOR_NEXT, &c) == 0)
		if (json)
			add_cursor(json, &c);
		else
			printf("%s\t%llu\t%llu behind\n", c.name,
			       (unsigned long long)c.id, (unsigned long long)c.lag);
	if (errno != ENOENT) {
		int status = fail(path, "");

		cJSON_Delete(json);
		return status;
	}
	if (json)
		term_json(json);
	cJSON_Delete(json);
	return EXIT_DONE;
}

static int drop(int fd, const char *path, char **words)
{
	struct ropefs_ioc_cursor c = { 0 };

	snprintf(c.name, sizeof(c.name), "%s", words[0]);
	return ioctl(fd, ROPEFS_IOC_CURSOR_REMOVE, &c) < 0 ? fail(path, words[0])
							   : EXIT_DONE;
}

int verb_cursor(const struct verb *verb, int argc, char **argv)
{
	const char *what, *path, *json = NULL;
	const struct verb_option options[] = { { "json", 'j', false, &json }, { 0 } };
	int first, n, fd, status;

	n = verb_options(verb, argc, argv, options, 2, 4, &first);
	if (n < 0)
		return first;
	what = argv[first];
	path = argv[first + 1];
	if (strcmp(what, "commit") && strcmp(what, "ls") && strcmp(what, "rm"))
		return term_usage(verb->name, "'%s' is none of commit, ls, rm", what);
	if (n != (!strcmp(what, "commit") ? 4 : !strcmp(what, "rm") ? 3 : 2))
		return term_usage(verb->name, "cursor %s: it takes: %s", what,
				  verb->synopsis);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return mount_fail(errno, path);
	if (!strcmp(what, "commit"))
		status = commit(fd, path, argv + first + 2);
	else if (!strcmp(what, "ls"))
		status = list(fd, path, json != NULL);
	else
		status = drop(fd, path, argv + first + 2);
	close(fd);
	return status;
}
