#include "fs/options.h"

#include "fs/bucket.h"
#include "fs/report.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: ropefs [options] STORE MOUNTPOINT\n"
	"       ropefs --read-only [options] s3://BUCKET[/PREFIX] MOUNTPOINT\n"
	"       ropefs --fleet [options] s3://BUCKET[/PREFIX] MOUNTPOINT\n"
	"\n"
	"Shows the files of a store (made by `ropectl init`) at MOUNTPOINT; or of one\n"
	"that another machine writes, from its bucket (s3:// or file://DIR), a few\n"
	"seconds behind.\n"
	"\n"
	"  -f, --foreground     stay in front\n"
	"  -r, --read-only      write nothing to the store (-o ro)\n"
	"      --key-file FILE  the store's key (-o key=FILE)\n"
	"      --memory SIZE    bytes of memory, with K, M or G; 256M (-o memory=SIZE)\n"
	"      --cache DIR      of a bucket: a folder for its names, else memory\n"
	"                       (-o cache=DIR)\n"
	"      --interval S     of a bucket: seconds between looks; 2 while somebody\n"
	"                       reads, else 30 (-o interval=S)\n"
	"      --quiet          of a bucket: its writer is not told that somebody "
	"reads,\n"
	"                       and uploads no sooner (-o quiet)\n"
	"      --fleet          all stores of a bucket, a folder each (-o fleet)\n"
	"      --keys DIR       their key files, which name them (-o keys=DIR)\n"
	"      --instance ID    of a bucket: which store (-o instance=ID)\n"
	"      --endpoint URL, --region NAME, --ca-file FILE, --virtual-host,\n"
	"      --signature-v2, --credentials-file FILE\n"
	"                       of a bucket: how it is reached (-o endpoint=URL,\n"
	"                       region=NAME,ca=FILE,virtual_host,signature_v2,\n"
	"                       credentials=FILE); keys come from that file or\n"
	"                       AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n"
	"  -o OPTION[,...]      durability=async|sync|remote, window=MS (100),\n"
	"                       memory=SIZE, key=FILE, views=off, awake=off,\n"
	"                       allow_other, supervise=on, watchdog=S (60),\n"
	"                       scrub=TIME (7d: all is read and verified once in 7 "
	"days;\n"
	"                       off), and those of mount(8)\n"
	"  -h, --help           say this\n"
	"  -V, --version        say the version\n"
	"\n"
	"Example:\n"
	"  ropectl init /data/store && ropefs /data/store /mnt/data\n"
	"  ropefs -r --key-file r7.key --endpoint https://s3.example s3://robots "
	"/mnt/r7\n"
	"  fusermount3 -u /mnt/data\n";

#define MEMORY_MIN   ((uint64_t)32 << 20)
#define MEMORY_MAX   ((uint64_t)1 << 40)
#define WATCHDOG_S   60
#define PERIOD_MAX_S (365u * 86400)

struct parser {
	struct options o;
	bool bad; /* said why */
};

static void complain(struct parser *p, const char *what, const char *which)
{
	report("%s: %s; see ropefs --help", which, what);
	p->bad = true;
}

static void set_string(char **to, const char *value)
{
	free(*to);
	*to = strdup(value);
}

/* Digits and one letter of K, M, G; 0 and what is beyond 64 bits are refused. */
static bool parse_size(const char *s, uint64_t *ret)
{
	static const char units[] = "KMG";
	unsigned long long n;
	const char *unit;
	unsigned shift = 0;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno || end == s || *s < '0' || *s > '9' || n == 0)
		return false;
	if (*end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			return false;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return false;
	*ret = (uint64_t)n << shift;
	return true;
}

static void opt_memory(struct parser *p, const char *value)
{
	uint64_t bytes;

	if (!parse_size(value, &bytes))
		complain(p, "no size such as 64M", value);
	else if (bytes < MEMORY_MIN || bytes > MEMORY_MAX)
		complain(p, "memory is from 32M to 1024G", value);
	else
		p->o.opts.memory_bytes = bytes;
}

static void opt_window(struct parser *p, const char *value)
{
	uint64_t ms;

	if (!parse_size(value, &ms) || ms > 60000)
		complain(p, "no milliseconds from 1 to 60000", value);
	else
		p->o.opts.window_ms = (unsigned)ms;
}

static void opt_durability(struct parser *p, const char *value)
{
	if (strcmp(value, "sync") == 0)
		p->o.opts.durability = ROPEFS_SYNC;
	else if (strcmp(value, "async") == 0)
		p->o.opts.durability = ROPEFS_ASYNC;
	else if (!strcmp(value, "remote"))
		p->o.opts.durability = ROPEFS_REMOTE;
	else
		complain(p, "durability is async, sync or remote", value);
}

static void opt_views(struct parser *p, const char *value)
{
	if (strcmp(value, "off") == 0 || strcmp(value, "on") == 0)
		p->o.no_views = strcmp(value, "off") == 0;
	else
		complain(p, "views is on or off", value);
}

static void opt_awake(struct parser *p, const char *value)
{
	if (strcmp(value, "off") == 0 || strcmp(value, "on") == 0)
		p->o.asleep = strcmp(value, "off") == 0;
	else
		complain(p, "awake is on or off", value);
}

static void opt_supervise(struct parser *p, const char *value)
{
	if (strcmp(value, "off") == 0 || strcmp(value, "on") == 0)
		p->o.supervise = strcmp(value, "on") == 0;
	else
		complain(p, "supervise is on or off", value);
}

/* Digits and one letter of s, m, h, d, w. */
static bool parse_period(const char *s, unsigned *ret)
{
	static const char units[] = "smhdw";
	static const unsigned seconds[] = { 1, 60, 3600, 86400, 604800 };
	const char *unit;
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(s, &end, 10);
	if (errno || end == s || *s < '0' || *s > '9' || n == 0 || !*end || end[1])
		return false;
	unit = strchr(units, *end);
	if (!unit || n > PERIOD_MAX_S / seconds[unit - units])
		return false;
	*ret = (unsigned)n * seconds[unit - units];
	return true;
}

/* The same, or seconds without a letter; at most a day. */
static bool parse_seconds(const char *s, unsigned *ret)
{
	bool plain = *s && strspn(s, "0123456789") == strlen(s);
	uint64_t n = 0;
	unsigned period = 0;

	if (plain ? !parse_size(s, &n) : !parse_period(s, &period))
		return false;
	n += period;
	if (n > 86400)
		return false;
	*ret = (unsigned)n;
	return true;
}

static void opt_watchdog(struct parser *p, const char *value)
{
	if (strcmp(value, "0") == 0)
		p->o.watchdog_s = 0;
	else if (!parse_seconds(value, &p->o.watchdog_s))
		complain(p, "watchdog is 0, or seconds (60, 60s) up to a day", value);
}

static void opt_scrub(struct parser *p, const char *value)
{
	if (strcmp(value, "off") == 0)
		p->o.opts.scrub_s = 0;
	else if (!parse_period(value, &p->o.opts.scrub_s))
		complain(p, "scrub is off, or a time such as 12h or 30d, at most 365d",
			 value);
}

static void opt_key(struct parser *p, const char *value)
{
	set_string(&p->o.key_file, value);
}

static void opt_endpoint(struct parser *p, const char *value)
{
	set_string(&p->o.endpoint, value);
}

static void opt_region(struct parser *p, const char *value)
{
	set_string(&p->o.region, value);
}

static void opt_credentials(struct parser *p, const char *value)
{
	set_string(&p->o.credentials, value);
}

static void opt_ca(struct parser *p, const char *value)
{
	set_string(&p->o.ca_file, value);
}

static void opt_cache(struct parser *p, const char *value)
{
	set_string(&p->o.cache, value);
}

static void opt_instance(struct parser *p, const char *value)
{
	set_string(&p->o.instance, value);
}

static void opt_keys(struct parser *p, const char *value)
{
	set_string(&p->o.key_dir, value);
}

static void opt_fleet(struct parser *p, const char *value)
{
	(void)value;
	p->o.fleet = true;
	p->o.opts.read_only = true;
}

static void opt_interval(struct parser *p, const char *value)
{
	if (!parse_seconds(value, &p->o.interval_s))
		complain(p,
			 "interval is seconds (5, 5s) or a time such as 2m, up to a day",
			 value);
}

static void opt_quiet(struct parser *p, const char *value)
{
	(void)value;
	p->o.quiet = true;
}

static void opt_virtual_host(struct parser *p, const char *value)
{
	(void)value;
	p->o.virtual_host = true;
}

static void opt_signature_v2(struct parser *p, const char *value)
{
	(void)value;
	p->o.signature_v2 = true;
}

static void opt_ro(struct parser *p, const char *value)
{
	(void)value;
	p->o.opts.read_only = true;
}

static void opt_rw(struct parser *p, const char *value)
{
	(void)value;
	p->o.opts.read_only = false;
}

static void opt_allow_other(struct parser *p, const char *value)
{
	(void)value;
	p->o.allow_other = true;
}

static void opt_sync(struct parser *p, const char *value)
{
	(void)value;
	p->o.opts.durability = ROPEFS_SYNC;
}

/* For mount(8), systemd or ourselves: nothing to do. */
static void opt_ignore(struct parser *p, const char *value)
{
	(void)p;
	(void)value;
}

static void opt_remount(struct parser *p, const char *value)
{
	(void)value;
	p->o.remount = true;
}

static const struct opt {
	const char *name; /* with '=' when it takes a value */
	void (*set)(struct parser *p, const char *value); /* NULL: the kernel's */
} opts[] = {
	{ "memory=", opt_memory },
	{ "window=", opt_window },
	{ "durability=", opt_durability },
	{ "views=", opt_views },
	{ "awake=", opt_awake },
	{ "supervise=", opt_supervise },
	{ "watchdog=", opt_watchdog },
	{ "scrub=", opt_scrub },
	{ "key=", opt_key },
	{ "endpoint=", opt_endpoint },
	{ "region=", opt_region },
	{ "credentials=", opt_credentials },
	{ "ca=", opt_ca },
	{ "cache=", opt_cache },
	{ "instance=", opt_instance },
	{ "fleet", opt_fleet },
	{ "keys=", opt_keys },
	{ "interval=", opt_interval },
	{ "quiet", opt_quiet },
	{ "virtual_host", opt_virtual_host },
	{ "signature_v2", opt_signature_v2 },
	{ "ro", opt_ro },
	{ "rw", opt_rw },
	{ "allow_other", opt_allow_other },
	{ "sync", opt_sync },
	{ "nosuid", NULL },
	{ "suid", NULL },
	{ "nodev", NULL },
	{ "dev", NULL },
	{ "noexec", NULL },
	{ "exec", NULL },
	{ "noatime", NULL },
	{ "nodiratime", opt_ignore }, /* libfuse 3.14 does not know it */
	{ "dirsync", NULL },
	{ "remount", opt_remount },
	{ "async", opt_ignore },
	{ "defaults", opt_ignore },
	{ "default_permissions", opt_ignore },
	{ "atime", opt_ignore },
	{ "relatime", opt_ignore },
	{ "strictatime", opt_ignore },
	{ "lazytime", opt_ignore },
	{ "auto", opt_ignore },
	{ "noauto", opt_ignore },
	{ "nofail", opt_ignore },
	{ "user", opt_ignore },
	{ "user=", opt_ignore },
	{ "users", opt_ignore },
	{ "nouser", opt_ignore },
	{ "owner", opt_ignore },
	{ "group", opt_ignore },
	{ "_netdev", opt_ignore },
	{ "user_xattr", opt_ignore }, /* they are always there */
	{ "acl", opt_ignore },
	{ "user_id=", opt_ignore }, /* mount(8) hands a remount those of the mount */
	{ "group_id=", opt_ignore },
	{ "comment=", opt_ignore },
};

static void add_mount_opt(struct parser *p, const char *name)
{
	char *longer = NULL;

	if (asprintf(&longer, "%s,%s", p->o.mount, name) < 0) {
		complain(p, "out of memory", name);
		return;
	}
	free(p->o.mount);
	p->o.mount = longer;
}

static void parse_opt(struct parser *p, const char *arg)
{
	if (!*arg || strncmp(arg, "x-", 2) == 0 || strncmp(arg, "X-", 2) == 0)
		return;
	for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		const struct opt *o = &opts[i];
		size_t n = strlen(o->name);
		bool takes_value = o->name[n - 1] == '=';

		if (takes_value ? strncmp(arg, o->name, n) != 0
				: strcmp(arg, o->name) != 0)
			continue;
		if (o->set)
			o->set(p, arg + (takes_value ? n : 0));
		else
			add_mount_opt(p, arg);
		return;
	}
	complain(p, "unknown mount option", arg);
}

static void parse_opts(struct parser *p, const char *list)
{
	char *copy = strdup(list), *rest = copy, *one;

	while ((one = strsep(&rest, ",")))
		parse_opt(p, one);
	free(copy);
}

enum { ARG_OPTION = 256 }; /* and more: its place in long_opts */

/* Long options that are mount options of another spelling. */
static const struct {
	const char *name;
	void (*set)(struct parser *p, const char *value);
	bool has_value;
} long_opts[] = {
	{ "key-file", opt_key, true },
	{ "memory", opt_memory, true },
	{ "endpoint", opt_endpoint, true },
	{ "region", opt_region, true },
	{ "credentials-file", opt_credentials, true },
	{ "ca-file", opt_ca, true },
	{ "cache", opt_cache, true },
	{ "instance", opt_instance, true },
	{ "fleet", opt_fleet, false },
	{ "keys", opt_keys, true },
	{ "interval", opt_interval, true },
	{ "quiet", opt_quiet, false },
	{ "virtual-host", opt_virtual_host, false },
	{ "signature-v2", opt_signature_v2, false },
};
enum { LONG_OPTS = sizeof(long_opts) / sizeof(long_opts[0]) };

static const struct option longs[] = {
	{ "foreground", no_argument, NULL, 'f' },
	{ "read-only", no_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
};
enum { LONGS = sizeof(longs) / sizeof(longs[0]) };

static void list_longs(struct option ret[LONGS + LONG_OPTS + 1])
{
	memset(ret, 0, (LONGS + LONG_OPTS + 1) * sizeof(*ret));
	memcpy(ret, longs, sizeof(longs));
	for (int i = 0; i < LONG_OPTS; i++)
		ret[LONGS + i] = (struct option) {
			long_opts[i].name,
			long_opts[i].has_value ? required_argument : no_argument,
			NULL,
			ARG_OPTION + i,
		};
}

/* OPTIONS_RUN, or what to exit with. */
static int parse_args(struct parser *p, int argc, char **argv)
{
	struct option all[LONGS + LONG_OPTS + 1];
	int c;

	list_longs(all);
	while ((c = getopt_long(argc, argv, "fro:hVnv", all, NULL)) != -1) {
		if (c >= ARG_OPTION) {
			long_opts[c - ARG_OPTION].set(p, optarg);
			continue;
		}
		switch (c) {
		case 'f':
			p->o.foreground = true;
			break;
		case 'r':
			p->o.opts.read_only = true;
			break;
		case 'o':
			parse_opts(p, optarg);
			break;
		case 'n': /* of mount(8): no mtab, verbose */
		case 'v':
			break;
		case 'h':
			fputs(usage, stdout);
			return OPTIONS_DONE;
		case 'V':
			puts("ropefs " ROPEFS_VERSION);
			return OPTIONS_DONE;
		default: /* getopt has said it */
			return OPTIONS_USAGE;
		}
	}
	if (p->bad)
		return OPTIONS_USAGE;
	if (argc - optind != 2) {
		report("two arguments are needed, STORE and MOUNTPOINT; see ropefs "
		       "--help");
		return OPTIONS_USAGE;
	}
	return OPTIONS_RUN;
}

static int resolve(const char *path, const char *what, const char *make_with, char **ret)
{
	char *full = realpath(path, NULL);

	if (full) {
		*ret = full;
		return OPTIONS_RUN;
	}
	if (errno == ENOTCONN)
		report_dead_mount(path);
	else if (errno == ENOENT)
		report("%s: this %s is not there; make it with: %s %s", path, what,
		       make_with, path);
	else
		report("%s: this %s can't be reached: %s", path, what, strerror(errno));
	return OPTIONS_FAILED;
}

/* Absolute, as whoever takes over is elsewhere. What is not there is left to the opening. */
static void resolve_file(char **path)
{
	char *full = *path ? realpath(*path, NULL) : NULL;

	if (!full)
		return;
	free(*path);
	*path = full;
}

/* A store that is elsewhere can only be read, by a daemon that keeps nothing. */
static int check_bucket(const struct options *o)
{
	const char *missing = !o->opts.read_only ? "can only be read, so give --read-only"
			      : !o->key_file && !o->fleet
				      ? "needs the store's key: --key-file FILE"
			      : o->supervise ? "can't be combined with supervise=on"
					     : NULL;

	if (!missing)
		return OPTIONS_RUN;
	report("%s: a bucket %s; see ropefs --help", o->store, missing);
	return OPTIONS_USAGE;
}

static int resolve_words(struct options *o, char **words, bool on_mount)
{
	int r;

	resolve_file(&o->key_file);
	resolve_file(&o->credentials);
	resolve_file(&o->ca_file);
	resolve_file(&o->cache);
	resolve_file(&o->key_dir);
	if (on_mount) {
		set_string(&o->store, words[0]);
		set_string(&o->mountpoint, words[1]);
		return o->store && o->mountpoint ? OPTIONS_RUN : OPTIONS_FAILED;
	}
	if (bucket_is(words[0])) {
		set_string(&o->store, words[0]);
		r = o->store ? check_bucket(o) : OPTIONS_FAILED;
	} else if (o->fleet) {
		report("%s: a fleet is in a bucket, s3://BUCKET or file://FOLDER",
		       words[0]);
		r = OPTIONS_USAGE;
	} else {
		r = resolve(words[0], "store", "ropectl init", &o->store);
	}
	if (r == OPTIONS_RUN)
		r = resolve(words[1], "mount point", "mkdir", &o->mountpoint);
	if (r == OPTIONS_RUN && o->fleet && geteuid() != 0 && !o->allow_other) {
		report("the stores of a fleet are mounted below it, which fusermount3 "
		       "does for "
		       "an ordinary user only with -o allow_other, and user_allow_other "
		       "in "
		       "/etc/fuse.conf");
		r = OPTIONS_FAILED;
	}
	return r;
}

int options_parse(int argc, char **argv, bool on_mount, struct options *ret)
{
	struct parser p = { .o.mount = strdup("subtype=ropefs,default_permissions"),
			    .o.watchdog_s = WATCHDOG_S };
	int r = p.o.mount ? parse_args(&p, argc, argv) : OPTIONS_FAILED;

	if (r == OPTIONS_RUN) {
		p.o.first_word = optind;
		r = resolve_words(&p.o, argv + optind, on_mount);
	}
	if (r == OPTIONS_RUN && p.o.opts.read_only && !(p.o.fleet && geteuid() != 0))
		add_mount_opt(&p,
			      "ro"); /* fusermount3 mounts on what its user may write */
	if (r == OPTIONS_RUN && p.o.allow_other)
		add_mount_opt(&p, "allow_other");
	if (r != OPTIONS_RUN) {
		options_release(&p.o);
		return r;
	}
	*ret = p.o;
	return r;
}

void options_release(struct options *o)
{
	free(o->store);
	free(o->mountpoint);
	free(o->key_file);
	free(o->mount);
	free(o->endpoint);
	free(o->region);
	free(o->credentials);
	free(o->ca_file);
	free(o->cache);
	free(o->instance);
	free(o->key_dir);
	*o = (struct options) { 0 };
}
