/* manifest_text.c - a manifest in words, for the dump tool. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/tier/manifest.h"

struct printing {
	void (*print)(void *arg, const char *line);
	void *arg;
};

static void say(const struct printing *p, const char *fmt, ...) _printf_(2, 3);
static void say(const struct printing *p, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	p->print(p->arg, line);
}

static void print_rows(const struct printing *p, const struct manifest *m)
{
	static const char none[INSTANCE_BYTES] = "ID";

	for (size_t i = 0; i < m->n_packs; i++)
		say(p, "  %s  %" PRIu64 " B, %" PRIu32 " chunks, %" PRIu32 " rewrites",
		    key_of(none, 'p', m->packs[i].pack, m->packs[i].id).text,
		    m->packs[i].bytes, m->packs[i].chunks, m->packs[i].rewrites);
	for (size_t i = 0; i < m->n_segments; i++)
		say(p, "  %s  %" PRIu32 " pages",
		    key_of(none, 's', m->segments[i].number, m->segments[i].hash).text,
		    m->segments[i].pages);
	for (size_t i = 0; i < m->n_drops; i++)
		say(p, "  no more: %s",
		    key_of(none, m->drops[i].kind, m->drops[i].number, m->drops[i].id)
			    .text);
}

int manifest_inspect(struct span bytes, const struct keys *keys,
		     void (*print)(void *arg, const char *line), void *arg)
{
	const struct printing p = { print, arg };
	struct manifest m = { 0 };
	int r;

	if (!keys) {
		say(&p,
		    "a manifest of %zu B, sealed; name the key file (--key-file) to see "
		    "it",
		    bytes.n);
		return 0;
	}
	r = manifest_decode(bytes, keys, &m);
	if (r < 0)
		return r;
	say(&p,
	    "manifest %" PRIu64 " of writer epoch %" PRIu64 ", time %" PRIu64
	    " ns, oldest there %" PRIu64,
	    m.number, m.epoch, m.time_ns, m.oldest);
	say(&p,
	    "%zu packs, %zu segments (the next is %" PRIu64
	    "), %zu pages, %zu objects no more needed",
	    m.n_packs, m.n_segments, m.next_segment, m.n_pages, m.n_drops);
	print_rows(&p, &m);
	manifest_release(&m);
	return 0;
}
