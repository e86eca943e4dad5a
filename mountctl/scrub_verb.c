/* scrub_verb.c - ropectl scrub: has all that is stored read and verified, in a mount by its daemon,
 * else here; and shows how far it is. Both tell it as the same JSON object. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "fs/ropefs_ioctl.h"
#include "mountctl/mounts.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

#define EXIT_DAMAGED 5
#define LOOK_NS	     100000000

/* Where the scrub runs: a mount, or a store that is open here. */
struct place {
	const char *name;
	struct mount m;
	struct ropefs *fs; /* NULL: the mount */
};

static double number(const cJSON *json, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

static bool is_running(const cJSON *json)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "running"));
}

/* --- the place --- */

static int open_place(const char *name, const char *key_file, struct place *ret)
{
	struct ropefs_opts opts = { .key_file = key_file };
	struct ropefs_store_info info;
	int r;

	*ret = (struct place) { .name = name, .m = MOUNT_INIT };
	if (mount_find(name, &ret->m) == 0 || mount_find_store(name, &ret->m) == 0)
		return EXIT_DONE;
	r = ropefs_store_info(name, &info);
	if (r >= 0)
		r = ropefs_open(name, &opts, &ret->fs);
	return r < 0 ? term_fail(r, name) : EXIT_DONE;
}

static int close_place(struct place *p, int status)
{
	int r = p->fs ? ropefs_close(p->fs) : 0;

	mount_release(&p->m);
	if (r < 0 && status == EXIT_DONE)
		return term_fail(r, p->name);
	return status;
}

/* NULL: said why. */
static cJSON *look(const struct place *p)
{
	char *text = NULL;
	cJSON *json;
	int r = p->fs ? ropefs_scrub_json(p->fs, true, &text) : 0;

	if (r < 0) {
		term_fail(r, p->name);
		return NULL;
	}
	if (!p->fs)
		text = mount_read_file(&p->m, "scrub");
	if (!text) {
		mount_fail(errno, p->m.dir);
		return NULL;
	}
	json = cJSON_Parse(text);
	free(text);
	if (!json)
		term_say("%s: what it says of the scrub is no JSON object: is it of "
			 "another version?",
			 p->name);
	return json;
}

static int tell_mount(const struct mount *m, unsigned long cmd,
		      struct ropefs_ioc_scrub *arg)
{
	char path[PATH_MAX];
	int fd, r, err;

	snprintf(path, sizeof(path), "%s/.ropefs/scrub", m->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -1 : ioctl(fd, cmd, arg);
	err = errno;
	if (fd >= 0)
		close(fd);
	if (r >= 0)
		return EXIT_DONE;
	if (err == EPERM)
		return term_say("%s: only root and who mounted it may scrub it", m->dir);
	if (err == EROFS)
		return term_say("%s: what is read from a bucket is verified as it comes; "
				"there is nothing to scrub",
				m->dir);
	return mount_fail(err, m->dir);
}

static int start(struct place *p, uint64_t bytes_per_s)
{
	struct ropefs_ioc_scrub arg = { .bytes_per_s = bytes_per_s };
	int r;

	if (!p->fs)
		return tell_mount(&p->m, ROPEFS_IOC_SCRUB_START, &arg);
	r = ropefs_scrub_start(p->fs, bytes_per_s);
	return r < 0 ? term_fail(r, p->name) : EXIT_DONE;
}

static int stop(struct place *p)
{
	int r;

	if (!p->fs)
		return tell_mount(&p->m, ROPEFS_IOC_SCRUB_STOP, NULL);
	r = ropefs_scrub_stop(p->fs);
	return r < 0 ? term_fail(r, p->name) : EXIT_DONE;
}

/* --- the result --- */

static void print_found(const cJSON *report)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(report, "found"))
	{
		const char *path = cJSON_GetStringValue(
			cJSON_GetObjectItemCaseSensitive(one, "path"));
		const char *what = cJSON_GetStringValue(
			cJSON_GetObjectItemCaseSensitive(one, "what"));
		char *name = term_name(stdout, path ? path : "");

		printf("%sbad%s  %s%s%s\n", term_paint(stdout, TERM_BAD),
		       term_paint(stdout, TERM_PLAIN), name, path ? ": " : "",
		       what ? what : "");
		free(name);
	}
	if (number(report, "more") > 0)
		printf("%sbad%s  and %s more, which are counted and not listed\n",
		       term_paint(stdout, TERM_BAD), term_paint(stdout, TERM_PLAIN),
		       term_count((uint64_t)number(report, "more")).s);
}

const char *scrub_advice(const cJSON *report)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(report, "keep_mounted"))
		       ? "keep it mounted, make room on the disk below it, and scrub "
			 "again"
		       : "unmounted, ropefs-fsck --repair --dry-run says what can be "
			 "done";
}

static void print_words(const struct place *p, const cJSON *report)
{
	double files = number(report, "files"), problems = number(report, "problems");
	double mended = number(report, "mended"), remote = number(report, "remote_packs");
	char *name = term_name(stdout, p->name);

	print_found(report);
	printf("%s: %s read in %s\n", name, term_bytes(number(report, "bytes")).s,
	       term_seconds(number(report, "ended") - number(report, "began")).s);
	if (mended > 0)
		printf("%s pages, headers or segments of the log were written anew from "
		       "what is whole\n",
		       term_count((uint64_t)mended).s);
	if (remote > 0)
		printf("%s packs of %s are in the bucket only and were not read: "
		       "unmounted, ropectl verify asks the bucket for them (--data: each "
		       "byte)\n",
		       term_count((uint64_t)remote).s,
		       term_bytes(number(report, "remote_bytes")).s);
	if (files + problems > 0)
		printf("%sdamaged%s (places: %s, files: %s): %s\n",
		       term_paint(stdout, TERM_BAD), term_paint(stdout, TERM_PLAIN),
		       term_count((uint64_t)problems).s, term_count((uint64_t)files).s,
		       scrub_advice(report));
	else
		printf("%sall %sis whole%s\n", term_paint(stdout, TERM_GOOD),
		       remote > 0 ? "that is here " : "", term_paint(stdout, TERM_PLAIN));
	free(name);
}

static int show_report(const struct place *p, cJSON *report, bool as_json)
{
	bool damaged = number(report, "files") + number(report, "problems") > 0;

	if (as_json) {
		cJSON_AddBoolToObject(report, "whole", !damaged);
		term_json(report);
	} else {
		print_words(p, report);
	}
	return damaged ? EXIT_DAMAGED : EXIT_DONE;
}

/* --- waiting --- */

static void show_bar(struct term_bar *bar, const cJSON *json)
{
	const cJSON *now = cJSON_GetObjectItemCaseSensitive(json, "now");

	term_bar_show(bar, (uint64_t)number(now, "bytes"),
		      (uint64_t)number(json, "total_bytes"));
}

/* Until the scrub is over. ended: when the one before was. */
static int wait_for_end(const struct place *p, double ended, bool as_json)
{
	const struct timespec pause = { 0, LOOK_NS };
	struct term_bar bar = term_bar_begin(!as_json);
	cJSON *json, *last;
	int status;

	while ((json = look(p)) && is_running(json)) {
		show_bar(&bar, json);
		cJSON_Delete(json);
		nanosleep(&pause, NULL);
	}
	term_bar_erase(&bar);
	if (!json)
		return EXIT_FAILED;
	last = cJSON_GetObjectItemCaseSensitive(json, "last");
	if (!last || number(last, "ended") == ended)
		status = term_say("%s: somebody stopped the scrub", p->name);
	else
		status = show_report(p, last, as_json);
	cJSON_Delete(json);
	return status;
}

static int scrub(struct place *p, uint64_t bytes_per_s, bool background, bool as_json)
{
	cJSON *json = look(p);
	double ended;
	int status;

	if (!json)
		return EXIT_FAILED;
	ended = number(cJSON_GetObjectItemCaseSensitive(json, "last"), "ended");
	cJSON_Delete(json);
	status = start(p, bytes_per_s);
	if (status != EXIT_DONE || background)
		return status;
	return wait_for_end(p, ended, as_json);
}

int verb_scrub(const struct verb *verb, int argc, char **argv)
{
	const char *key_file = NULL, *rate = NULL, *background = NULL, *ends = NULL,
		   *as_json = NULL;
	const struct verb_option options[] = {
		{ "key-file", 'k', true, &key_file },	   { "rate", 'r', true, &rate },
		{ "background", 'b', false, &background }, { "stop", 's', false, &ends },
		{ "json", 'j', false, &as_json },	   { 0 },
	};
	uint64_t bytes_per_s = 0;
	struct place p;
	int first, status;

	if (verb_options(verb, argc, argv, options, 1, 1, &first) < 0)
		return first;
	if (!term_take_size(rate, &bytes_per_s))
		return term_usage(verb->name, "'%s' is no rate such as 20M", rate);
	status = open_place(argv[first], key_file, &p);
	if (status == EXIT_DONE && p.fs && background)
		status = term_usage(verb->name, "--background is for a mounted store");
	else if (status == EXIT_DONE)
		status = ends ? stop(&p)
			      : scrub(&p, bytes_per_s, background != NULL,
				      as_json != NULL);
	return close_place(&p, status);
}
