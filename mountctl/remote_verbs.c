/* remote_verbs.c - the bucket of a store: remote, clone and verify, and the part of sync that
 * waits for it. Credentials come from the environment, a file or a prompt, never from argv. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "fs/ropefs_ioctl.h"
#include "mountctl/credentials.h"
#include "mountctl/mounts.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

/* --- what the user says of a bucket --- */

struct words {
	const char *key_file, *endpoint, *region, *credentials, *ca_file, *take_over;
	const char *virtual_host, *signature_v2, *interval, *keep, *local, *min_free,
		*rate, *profile, *hours, *when_full, *new_credentials, *json, *live,
		*look;
	struct ropefs_credentials who; /* ours to release */
};

/* 30s, 5m, 2h, 7d, 90; false when it is none, or nothing. */
static bool take_time(const char *word, unsigned *ret)
{
	static const struct {
		char unit;
		unsigned s;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 0, 1 } };
	unsigned long n;
	char *end;

	if (!word)
		return true;
	n = strtoul(word, &end, 10);
	for (size_t i = 0; end != word && i < sizeof(units) / sizeof(*units); i++)
		if (*end == units[i].unit && (!*end || !end[1]) && n > 0 &&
		    n <= 100000000 / units[i].s) {
			*ret = (unsigned)n * units[i].s;
			return true;
		}
	return false;
}

/* A time, or two: at least, and while little was written at most. */
static bool take_interval(const char *word, struct ropefs_remote_opts *ret)
{
	const char *most = word ? strstr(word, "..") : NULL;
	char least[32];

	if (!most)
		return take_time(word, &ret->interval_s);
	snprintf(least, sizeof(least), "%.*s", (int)(most - word), word);
	return take_time(least, &ret->interval_s) &&
	       take_time(most + 2, &ret->interval_most_s) &&
	       ret->interval_most_s >= ret->interval_s;
}

static int take_words(const struct verb *verb, struct words *w, const char *url,
		      struct ropefs_remote_opts *ret)
{
	int status = EXIT_DONE;

	*ret = (struct ropefs_remote_opts) {
		.url = url,
		.endpoint = w->endpoint,
		.region = w->region ? w->region : getenv("AWS_REGION"),
		.ca_file = w->ca_file,
		.virtual_host = w->virtual_host != NULL,
		.signature_v2 = w->signature_v2 != NULL,
		.take_over = w->take_over != NULL,
		.upload_hours = w->hours,
		.drop_oldest = w->when_full && !strcmp(w->when_full, "drop"),
	};
	if (!term_take_size(w->local, &ret->local_bytes))
		return term_usage(verb->name, "'%s' is no size such as 50G", w->local);
	if (!term_take_size(w->min_free, &ret->min_free_bytes))
		return term_usage(verb->name, "'%s' is no size such as 2G", w->min_free);
	if (!term_take_size(w->rate, &ret->bytes_per_s))
		return term_usage(verb->name, "'%s' is no rate such as 500K", w->rate);
	if (w->when_full && strcmp(w->when_full, "drop") != 0 &&
	    strcmp(w->when_full, "refuse") != 0)
		return term_usage(verb->name, "--when-full is refuse or drop, not '%s'",
				  w->when_full);
	if (!take_interval(w->interval, ret))
		return term_usage(verb->name, "'%s' is no time such as 60s or 1m..5m",
				  w->interval);
	if (w->live && !strcmp(w->live, "off"))
		ret->live_s = ROPEFS_LIVE_OFF;
	else if (!take_time(w->live, &ret->live_s))
		return term_usage(verb->name, "'%s' is no time such as 3s, nor off",
				  w->live);
	if (!take_time(w->look, &ret->look_s))
		return term_usage(verb->name, "'%s' is no time such as 20s", w->look);
	if (!take_time(w->keep, &ret->keep_s))
		return term_usage(verb->name, "'%s' is no time such as 1d", w->keep);
	if (strncmp(url, "s3://", 5) == 0)
		status = credentials_find(
			&(struct ropefs_credentials_source) { w->credentials,
							      w->profile },
			&w->who);
	ret->access_key = w->who.access_key;
	ret->secret_key = w->who.secret_key;
	ret->session_token = w->who.session_token;
	return status;
}

/* --- remote add, show, rm --- */

static int open_store(const char *store, const struct words *w, bool read_only,
		      struct ropefs **ret)
{
	const struct ropefs_opts opts = { .key_file = w->key_file,
					  .read_only = read_only };
	int r = ropefs_open(store, &opts, ret);

	return r < 0 ? term_fail(r, store) : EXIT_DONE;
}

static int close_store(struct ropefs *fs, const char *store, int status)
{
	int r = ropefs_close(fs);

	return r < 0 && status == EXIT_DONE ? term_fail(r, store) : status;
}

/* A mount, named by itself or by its store: then its daemon does what is asked. */
static bool is_mounted(const char *name, struct mount *ret)
{
	return mount_find(name, ret) == 0 || mount_find_store(name, ret) == 0;
}

/* A line of the options as a mount is told them; false: no room. */
static bool put_line(struct ropefs_ioc_remote *c, const char *name, const char *value)
{
	size_t n = strlen(c->text), room = sizeof(c->text) - n;

	return !value || snprintf(c->text + n, room, "%s=%s\n", name, value) < (int)room;
}

static bool put_digits(struct ropefs_ioc_remote *c, const char *name, uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
	return put_line(c, name, digits);
}

static bool put_number(struct ropefs_ioc_remote *c, const char *name, uint64_t value)
{
	return !value || put_digits(c, name, value);
}

static bool put_options(struct ropefs_ioc_remote *c, const struct ropefs_remote_opts *o)
{
	bool fits = true;

#define TEXT(name)   fits = fits && put_line(c, #name, o->name)
#define NUMBER(name) fits = fits && put_number(c, #name, o->name)
	TEXT(url);
	TEXT(endpoint);
	TEXT(region);
	TEXT(access_key);
	TEXT(secret_key);
	TEXT(session_token);
	TEXT(ca_file);
	TEXT(upload_hours);
	NUMBER(virtual_host);
	NUMBER(signature_v2);
	NUMBER(take_over);
	NUMBER(interval_s);
	NUMBER(interval_most_s);
	NUMBER(live_s);
	NUMBER(look_s);
	NUMBER(keep_s);
	NUMBER(local_bytes);
	NUMBER(min_free_bytes);
	NUMBER(bytes_per_s);
	NUMBER(drop_oldest);
#undef TEXT
#undef NUMBER
	return fits;
}

/* Tells a mount's daemon; `about` begins what is said when it fails. */
/* The answer is in c. */
static int ask_mount(const struct mount *m, struct ropefs_ioc_remote *c)
{
	char path[PATH_MAX];
	int fd, r;

	snprintf(path, sizeof(path), "%s/.ropefs/remote", m->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -1 : ioctl(fd, ROPEFS_IOC_REMOTE, c);
	if (r < 0) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return err == EPERM
			       ? term_say("%s: only root and who mounted it may use or "
					  "change its bucket",
					  m->dir)
			       : mount_fail(err, m->dir);
	}
	close(fd);
	return EXIT_DONE;
}

static int tell_mount(const struct mount *m, struct ropefs_ioc_remote *c,
		      const char *about)
{
	int status = ask_mount(m, c);

	if (status != EXIT_DONE || c->result >= 0)
		return status;
	term_say("%s: %s", about, *c->text ? c->text : ropefs_error_text(c->result));
	return ropefs_error_exit_status(c->result);
}

static void tell_added(const char *store, const char *url, bool creates)
{
	printf("What is written to %s goes to %s from now on.\n", store, url);
	if (!creates)
		printf("That bucket has no atomic conditional put: never let two devices "
		       "write this store.\n");
}

static bool truth(const cJSON *o, const char *name);
static double number(const cJSON *o, const char *name);
static const char *string(const cJSON *o, const char *name);

static int add_to_mount(const struct mount *m, const struct ropefs_remote_opts *opts)
{
	struct ropefs_ioc_remote c = { .verb = ROPEFS_IOC_REMOTE_ADD };
	int status = put_options(&c, opts)
			     ? tell_mount(m, &c, opts->url)
			     : term_say("the options are too long for a mount");
	char *text = status ? NULL : mount_read_file(m, "remote");
	cJSON *o = text ? cJSON_Parse(text) : NULL;

	explicit_bzero(&c, sizeof(c));
	if (o)
		tell_added(m->store, opts->url, truth(o, "creates"));
	cJSON_Delete(o);
	free(text);
	return status;
}

static int add_to_store(const char *store, const struct words *w,
			const struct ropefs_remote_opts *opts)
{
	struct ropefs_remote_status st;
	struct ropefs *fs;
	int r, status = open_store(store, w, false, &fs);

	if (status)
		return status;
	r = ropefs_remote_add(fs, opts);
	if (r >= 0)
		r = ropefs_remote_status(fs, &st);
	if (r < 0)
		return close_store(fs, store, term_fail(r, opts->url));
	tell_added(store, opts->url, st.creates);
	return close_store(fs, store, EXIT_DONE);
}

static int remote_add(const struct verb *verb, struct words *w, char **argv)
{
	struct mount m = MOUNT_INIT;
	struct ropefs_remote_opts opts;
	int status = take_words(verb, w, argv[1], &opts);

	if (status)
		return status;
	if (!is_mounted(argv[0], &m))
		return add_to_store(argv[0], w, &opts);
	status = add_to_mount(&m, &opts);
	mount_release(&m);
	return status;
}

static int remote_rm(const struct verb *verb, struct words *w, char **argv)
{
	struct ropefs_ioc_remote c = { .verb = ROPEFS_IOC_REMOTE_RM };
	struct mount m = MOUNT_INIT;
	struct ropefs *fs;
	int r, status;

	(void)verb;
	if (is_mounted(argv[0], &m)) {
		status = tell_mount(&m, &c, m.dir);
		mount_release(&m);
		return status;
	}
	status = open_store(argv[0], w, false, &fs);
	if (status)
		return status;
	r = ropefs_remote_rm(fs);
	return close_store(fs, argv[0], r < 0 ? term_fail(r, argv[0]) : EXIT_DONE);
}

/* Only what was said; a limit of 0 is none. */
static bool put_changes(struct ropefs_ioc_remote *c, const struct words *w,
			const struct ropefs_remote_opts *o)
{
	bool fits = true;

#define TEXT(name, word)   fits = fits && (!(word) || put_line(c, #name, o->name))
#define NUMBER(name, word) fits = fits && (!(word) || put_digits(c, #name, o->name))
	TEXT(endpoint, w->endpoint);
	TEXT(region, w->region);
	TEXT(access_key, o->access_key);
	TEXT(secret_key, o->access_key);
	TEXT(ca_file, w->ca_file);
	TEXT(upload_hours, w->hours);
	NUMBER(interval_s, w->interval);
	NUMBER(interval_most_s, w->interval);
	NUMBER(look_s, w->look);
	NUMBER(keep_s, w->keep);
	NUMBER(local_bytes, w->local);
	NUMBER(min_free_bytes, w->min_free);
	NUMBER(bytes_per_s, w->rate);
	NUMBER(drop_oldest, w->when_full);
#undef TEXT
#undef NUMBER
	if (w->live)
		fits = fits && put_digits(c, "live_s",
					  o->live_s == ROPEFS_LIVE_OFF ? 0 : o->live_s);
	/* New keys may come without a token. */
	if (o->access_key)
		fits = fits && put_line(c, "session_token",
					o->session_token ? o->session_token : "");
	return fits;
}

/* With neither --credentials-file nor --profile nor --new-credentials they stay. */
static int remote_set(const struct verb *verb, struct words *w, char **argv)
{
	struct ropefs_ioc_remote c = { .verb = ROPEFS_IOC_REMOTE_SET };
	bool renews = w->credentials || w->profile || w->new_credentials;
	struct mount m = MOUNT_INIT;
	struct ropefs_remote_opts opts;
	struct ropefs *fs;
	int r, status = take_words(verb, w, renews ? "s3://" : "", &opts);

	if (status)
		return status;
	if (!put_changes(&c, w, &opts))
		return term_say("the options are too long");
	if (!*c.text)
		return term_usage(verb->name, "remote set: there is nothing to change");
	if (is_mounted(argv[0], &m)) {
		status = tell_mount(&m, &c, m.dir);
		mount_release(&m);
	} else {
		status = open_store(argv[0], w, false, &fs);
		if (status == EXIT_DONE) {
			r = ropefs_remote_set(fs, c.text);
			status = r < 0 ? term_fail(r, argv[0]) : EXIT_DONE;
			status = close_store(fs, argv[0], status);
		}
	}
	explicit_bzero(&c, sizeof(c));
	return status;
}

static int remote_retry(const struct verb *verb, struct words *w, char **argv)
{
	struct ropefs_ioc_remote c = { .verb = ROPEFS_IOC_REMOTE_RETRY };
	struct mount m = MOUNT_INIT;
	int status;

	(void)verb;
	(void)w;
	if (!is_mounted(argv[0], &m))
		return term_say("%s is not mounted: what was refused is tried again when "
				"it is",
				argv[0]);
	status = tell_mount(&m, &c, m.dir);
	mount_release(&m);
	return status;
}

static void print_names(const cJSON *o)
{
	const cJSON *name;
	double told = 0;

	cJSON_ArrayForEach(name, cJSON_GetObjectItemCaseSensitive(o, "names"))
	{
		char *safe =
			term_name(stdout, cJSON_IsString(name) ? name->valuestring : "?");

		printf("\t%s\n", safe ? safe : "?");
		free(safe);
		told++;
	}
	if (number(o, "files") > told)
		printf("\tand %.0f files more\n", number(o, "files") - told);
}

static int print_as_it_is(const char *text)
{
	fputs(text, stdout);
	if (*text && text[strlen(text) - 1] != '\n')
		putchar('\n');
	return EXIT_DONE;
}

static int print_dropped(const char *text)
{
	for (size_t n; *text; text += n + (text[n] == '\n')) {
		cJSON *o;

		n = strcspn(text, "\n");
		o = cJSON_ParseWithLength(text, n);
		printf("%s  pack %s  %s  upload=%s\n", string(o, "time"),
		       string(o, "pack"), term_bytes(number(o, "bytes")).s,
		       string(o, "upload"));
		print_names(o);
		cJSON_Delete(o);
	}
	return EXIT_DONE;
}

/* A text of the store, from the mount's file of that name or from the store itself. */
static int tell(struct words *w, const char *where, const char *file,
		int (*get)(struct ropefs *fs, char **ret), int (*print)(const char *text))
{
	char *text = NULL;
	struct mount m = MOUNT_INIT;
	struct ropefs *fs;
	int r, status;

	if (is_mounted(where, &m)) {
		text = mount_read_file(&m, file);
		status = text ? print(text) : mount_fail(errno, m.dir);
		mount_release(&m);
		free(text);
		return status;
	}
	status = open_store(where, w, true, &fs);
	if (status)
		return status;
	r = get(fs, &text);
	status = r < 0 ? term_fail(r, where) : print(text);
	free(text);
	return close_store(fs, where, status);
}

static int get_dropped(struct ropefs *fs, char **ret)
{
	return ropefs_remote_dropped(fs, true, ret);
}

static int remote_dropped(const struct verb *verb, struct words *w, char **argv)
{
	(void)verb;
	return tell(w, argv[0], "dropped", get_dropped,
		    w->json ? print_as_it_is : print_dropped);
}

static int print_state(const char *text);

static int remote_show(const struct verb *verb, struct words *w, char **argv)
{
	(void)verb;
	return tell(w, argv[0], "remote", ropefs_remote_status_json,
		    w->json ? print_as_it_is : print_state);
}

int verb_remote(const struct verb *verb, int argc, char **argv)
{
	static const struct {
		const char *name;
		int operands;
		int (*run)(const struct verb *verb, struct words *w, char **argv);
	} subs[] = { { "add", 2, remote_add },	       { "show", 1, remote_show },
		     { "set", 1, remote_set },	       { "retry", 1, remote_retry },
		     { "dropped", 1, remote_dropped }, { "rm", 1, remote_rm } };
	struct words w = { 0 };
	const struct verb_option options[] = {
		{ "key-file", 'k', true, &w.key_file },
		{ "endpoint", 'e', true, &w.endpoint },
		{ "region", 'r', true, &w.region },
		{ "credentials-file", 'c', true, &w.credentials },
		{ "profile", 0, true, &w.profile },
		{ "ca-file", 0, true, &w.ca_file },
		{ "virtual-host", 0, false, &w.virtual_host },
		{ "signature-v2", 0, false, &w.signature_v2 },
		{ "interval", 'i', true, &w.interval },
		{ "live", 0, true, &w.live },
		{ "look", 0, true, &w.look },
		{ "keep", 0, true, &w.keep },
		{ "local", 'l', true, &w.local },
		{ "min-free", 0, true, &w.min_free },
		{ "rate", 0, true, &w.rate },
		{ "hours", 0, true, &w.hours },
		{ "when-full", 0, true, &w.when_full },
		{ "new-credentials", 0, false, &w.new_credentials },
		{ "take-over", 0, false, &w.take_over },
		{ "json", 'j', false, &w.json },
		{ 0 },
	};
	int first, status, n = verb_options(verb, argc, argv, options, 2, 3, &first);

	if (n < 0)
		return first;
	for (size_t i = 0; i < sizeof(subs) / sizeof(*subs); i++) {
		if (strcmp(argv[first], subs[i].name) != 0)
			continue;
		if (n - 1 != subs[i].operands)
			return term_usage(verb->name, "remote %s takes %d words",
					  subs[i].name, subs[i].operands);
		status = subs[i].run(verb, &w, argv + first + 1);
		ropefs_credentials_release(&w.who);
		return status;
	}
	return term_usage(verb->name,
			  "there is no 'remote %s'; there are add, set, show, retry, "
			  "dropped and rm",
			  argv[first]);
}

/* --- what a bucket's state looks like --- */

static double number(const cJSON *o, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static const char *string(const cJSON *o, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsString(v) ? v->valuestring : "";
}

static bool truth(const cJSON *o, const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static int print_state(const char *text)
{
	cJSON *o = cJSON_Parse(text);
	const char *error;

	if (!o || !*string(o, "url")) {
		cJSON_Delete(o);
		return term_say(
			"the store has no bucket; give it one with: ropectl remote add");
	}
	error = string(o, "last_error");
	printf("bucket      %s\n", string(o, "url"));
	printf("instance    %s, manifest %.0f of writer %.0f\n", string(o, "instance"),
	       number(o, "manifest"), number(o, "epoch"));
	if (truth(o, "follows"))
		printf("role        a reader that follows the writer\n");
	else if (truth(o, "reader"))
		printf("role        a copy: it is only read\n");
	if (truth(o, "fenced"))
		printf("role        another writer has taken over\n");
	if (truth(o, "watched"))
		printf("watched     somebody looks on: an upload each %.0f s\n",
		       number(o, "live_s"));
	if (truth(o, "announced"))
		printf("live        its writer is told that somebody reads\n");
	if (*string(o, "announce_error"))
		printf("not live    its writer can't be told that somebody reads, so it "
		       "is "
		       "as far behind as the writer's --interval says: %s\n",
		       string(o, "announce_error"));
	if (!truth(o, "creates"))
		printf("take-over   refused: the bucket has no atomic conditional put\n");
	if (truth(o, "versions"))
		printf("versions    the bucket keeps what is removed: it costs until a "
		       "rule "
		       "of the bucket removes old versions\n");
	printf("to upload   %s in %.0f packs\n", term_bytes(number(o, "bytes_left")).s,
	       number(o, "packs_left"));
	printf("here        %s of packs\n", term_bytes(number(o, "local_bytes")).s);
	printf("only there  %s in %.0f packs\n", term_bytes(number(o, "remote_bytes")).s,
	       number(o, "remote_packs"));
	if (truth(o, "full"))
		printf("full        over the local limit: new bytes are refused\n");
	if (truth(o, "resting"))
		printf("resting     it is not the hour for uploads\n");
	if (number(o, "refused") > 0)
		printf("refused     %.0f packs: %s\n", number(o, "refused"),
		       string(o, "refused_why"));
	if (number(o, "dropped") > 0)
		printf("dropped     %s in %.0f packs; ropectl remote dropped lists "
		       "them\n",
		       term_bytes(number(o, "dropped_bytes")).s, number(o, "dropped"));
	if (number(o, "skew_s") != 0)
		printf("clock       that of this machine is %.0f s %s the bucket's: "
		       "requests are "
		       "signed by the bucket's until it is set\n",
		       fabs(number(o, "skew_s")),
		       number(o, "skew_s") > 0 ? "behind" : "ahead of");
	if (*error)
		printf("last error  %s\n", error);
	if (*string(o, "read_error"))
		printf("read error  %s\n", string(o, "read_error"));
	cJSON_Delete(o);
	return EXIT_DONE;
}

/* --- sync --- */

/* Opening upload asks for it, and tells the LSN to wait for. */
int sync_remote(const struct mount *m)
{
	char *text = mount_read_file(m, "upload");
	int status = EXIT_DONE, err = errno;
	cJSON *o = text ? cJSON_Parse(text) : NULL;
	double lsn = number(o, "wanted_lsn"), told = -1;
	double cycles = number(o, "cycles");
	const struct timespec pause = { .tv_nsec = 100000000 };
	bool tells = isatty(STDERR_FILENO);
	char said[256] = "";

	if (!text)
		return err == EOPNOTSUPP ? term_say("%s has no bucket that it uploads "
						    "to; give it one "
						    "with: ropectl remote add",
						    m->store)
					 : mount_fail(err, m->dir);
	while (o && number(o, "committed_lsn") < lsn) {
		double left = number(o, "bytes_left");

		if (truth(o, "ended")) {
			status = term_say("nothing goes up any more: %s",
					  string(o, "last_error"));
			break;
		}
		if (number(o, "refused") > 0 && number(o, "cycles") > cycles + 1) {
			status = term_say("%s", string(o, "refused_why"));
			break;
		}
		if (tells && left != told)
			fprintf(stderr, "\r%s left  %s", term_bytes(left).s,
				string(o, "last_error"));
		else if (!tells &&
			 strncmp(said, string(o, "last_error"), sizeof(said) - 1)) {
			snprintf(said, sizeof(said), "%s", string(o, "last_error"));
			if (*said)
				term_say("waiting: %s", said);
		}
		told = left;
		nanosleep(&pause, NULL);
		cJSON_Delete(o);
		free(text);
		text = mount_read_file(m, "remote");
		o = text ? cJSON_Parse(text) : NULL;
	}
	if (tells && told >= 0)
		fputc('\n', stderr);
	if (!o && status == EXIT_DONE)
		status = term_say("%s does not answer any more", m->dir);
	cJSON_Delete(o);
	free(text);
	return status;
}

/* --- clone --- */

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%s of %s%s", term_bytes((double)done).s,
			term_bytes((double)total).s, done >= total ? "\n" : "");
}

int verb_clone(const struct verb *verb, int argc, char **argv)
{
	struct ropefs_clone c = { .progress = show_progress };
	struct words w = { 0 };
	const struct verb_option options[] = {
		{ "key-file", 'k', true, &w.key_file },
		{ "endpoint", 'e', true, &w.endpoint },
		{ "region", 'r', true, &w.region },
		{ "credentials-file", 'c', true, &w.credentials },
		{ "profile", 0, true, &w.profile },
		{ "ca-file", 0, true, &w.ca_file },
		{ "virtual-host", 0, false, &w.virtual_host },
		{ "signature-v2", 0, false, &w.signature_v2 },
		{ "local", 'l', true, &w.local },
		{ "take-over", 0, false, &w.take_over },
		{ 0 },
	};
	int first, r, status;

	if (verb_options(verb, argc, argv, options, 2, 2, &first) < 0)
		return first;
	if (!w.key_file)
		return term_usage(verb->name,
				  "clone needs the store's key: --key-file FILE");
	status = take_words(verb, &w, argv[first], &c.remote);
	if (status == EXIT_DONE) {
		c.key_file = w.key_file;
		r = ropefs_clone(argv[first + 1], &c);
		if (r < 0)
			status = term_fail(r, argv[first]);
		else
			printf("%s is there as of manifest %llu: %s files, %s; bytes "
			       "come "
			       "as they are read.\n%s",
			       argv[first + 1], (unsigned long long)c.manifest,
			       term_count(c.files).s, term_bytes((double)c.bytes).s,
			       w.take_over
				       ? ""
				       : "It can only be read; --take-over makes a store "
					 "to go on with.\n");
	}
	ropefs_credentials_release(&w.who);
	return status;
}

/* --- verify --- */

/* What is told, at once or in the end as one object. */
struct telling {
	struct term_bar bar;
	cJSON *lines; /* NULL: at once */
};

static void tell_line(void *arg, const char *line)
{
	struct telling *t = arg;

	term_bar_erase(&t->bar);
	if (t->lines)
		cJSON_AddItemToArray(t->lines, cJSON_CreateString(line));
	else
		puts(line);
}

static void show_verified(void *arg, uint64_t done, uint64_t total)
{
	term_bar_show(&((struct telling *)arg)->bar, done, total);
}

static int verify_store(const char *store, const struct words *w, struct ropefs_verify *v)
{
	struct telling *t = v->arg;
	struct ropefs *fs;
	int r, status = open_store(store, w, !v->repair, &fs);

	if (status)
		return status;
	t->bar = term_bar_begin(!t->lines);
	r = ropefs_remote_verify(fs, v);
	term_bar_erase(&t->bar);
	return close_store(fs, store, r < 0 ? term_fail(r, store) : EXIT_DONE);
}

/* A question to a mount, asked by a thread: this one shows how far it is. */
struct asking {
	const struct mount *m;
	struct ropefs_ioc_remote c;
	int status;
	atomic_bool answered;
};

static void *ask_main(void *arg)
{
	struct asking *a = arg;

	a->status = ask_mount(a->m, &a->c);
	atomic_store(&a->answered, true);
	return NULL;
}

static void show_until_answered(struct asking *a, struct term_bar *bar)
{
	const struct timespec pause = { .tv_nsec = 200000000 };

	while (!atomic_load(&a->answered)) {
		char *text = mount_read_file(a->m, "remote");
		cJSON *o = text ? cJSON_Parse(text) : NULL;

		if (number(o, "verify_total") > 0)
			term_bar_show(bar, (uint64_t)number(o, "verify_done"),
				      (uint64_t)number(o, "verify_total"));
		cJSON_Delete(o);
		free(text);
		nanosleep(&pause, NULL);
	}
	term_bar_erase(bar);
}

static void ask_with_bar(struct asking *a, struct telling *t)
{
	pthread_t thread;

	if (t->lines || !isatty(STDERR_FILENO) ||
	    pthread_create(&thread, NULL, ask_main, a) != 0) {
		ask_main(a);
		return;
	}
	t->bar = term_bar_begin(true);
	show_until_answered(a, &t->bar);
	pthread_join(thread, NULL);
}

/* The last of the lines that came is why it failed, if it did. */
static int verify_mount(const struct mount *m, const struct ropefs_verify *v)
{
	struct asking a = { .m = m, .c.verb = ROPEFS_IOC_REMOTE_VERIFY };
	char *line, *rest = NULL;

	snprintf(a.c.text, sizeof(a.c.text), "%s %s rate=%llu", v->data ? "data" : "",
		 v->repair ? "repair" : "", (unsigned long long)v->bytes_per_s);
	ask_with_bar(&a, v->arg);
	if (a.status != EXIT_DONE)
		return a.status;
	for (line = strtok_r(a.c.text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		v->line(v->arg, line);
	return a.c.result < 0 ? ropefs_error_exit_status(a.c.result) : EXIT_DONE;
}

static void print_verified(cJSON *lines, int status)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddBoolToObject(json, "whole", status == EXIT_DONE);
	cJSON_AddItemToObject(json, "lines", lines);
	term_json(json);
	cJSON_Delete(json);
}

int verb_verify(const struct verb *verb, int argc, char **argv)
{
	struct telling t = { 0 };
	struct ropefs_verify v = { .line = tell_line,
				   .progress = show_verified,
				   .arg = &t };
	const char *data = NULL, *repair = NULL, *rate = NULL, *as_json = NULL;
	struct words w = { 0 };
	const struct verb_option options[] = {
		{ "key-file", 'k', true, &w.key_file }, { "data", 'd', false, &data },
		{ "repair", 'r', false, &repair },	{ "rate", 0, true, &rate },
		{ "json", 'j', false, &as_json },	{ 0 },
	};
	struct mount m = MOUNT_INIT;
	int first, status;

	if (verb_options(verb, argc, argv, options, 1, 1, &first) < 0)
		return first;
	if (!term_take_size(rate, &v.bytes_per_s))
		return term_usage(verb->name, "'%s' is no rate such as 20M", rate);
	v.data = data != NULL;
	v.repair = repair != NULL;
	t.lines = as_json ? cJSON_CreateArray() : NULL;
	if (!is_mounted(argv[first], &m)) {
		status = verify_store(argv[first], &w, &v);
	} else {
		status = verify_mount(&m, &v);
		mount_release(&m);
	}
	if (t.lines)
		print_verified(t.lines, status);
	return status;
}
