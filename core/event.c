/* event.c - what happens by itself, or goes wrong where nobody waits for the error: one JSON
 * object a line, for whoever asked to be told. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/time_text.h"
#include "core/store_priv.h"

int ropefs_event_line(const struct ropefs_event *ev, char **ret_line)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	int r;

	r = buf_printf(&b, "{\"time\":\"%s\",\"event\":", time_text(ev->time.ns).s);
	if (r >= 0)
		r = json_add_string(&b, SPAN_STR(ev->kind));
	if (r >= 0 && ev->ino)
		r = buf_printf(&b, ",\"ino\":%llu", (unsigned long long)ev->ino);
	if (r >= 0 && ev->name)
		r = buf_append(&b, ",\"name\":", 8);
	if (r >= 0 && ev->name)
		r = json_add_string(&b, SPAN_STR(ev->name));
	if (r >= 0)
		r = buf_append(&b, ",\"text\":", 8);
	if (r >= 0)
		r = json_add_string(&b, SPAN_STR(ev->text));
	if (r >= 0)
		r = buf_append(&b, "}", 2);
	if (r < 0)
		return r;
	*ret_line = (char *)b.p;
	b = BUF_INIT;
	return 0;
}

static void tell(struct ropefs *fs, struct ropefs_event *ev,
		 void (*fn)(void *arg, const char *line))
{
	_cleanup_free_ char *line = NULL;

	if (!fn)
		return;
	ev->time.ns = (int64_t)io_real_ns(fs->io);
	if (ropefs_event_line(ev, &line) >= 0)
		fn(fs->opts.event_arg, line);
}

void event_raise(struct ropefs *fs, const char *kind, uint64_t ino, const char *fmt, ...)
{
	char text[512];
	struct ropefs_event ev = { .kind = kind, .ino = ino, .text = text };
	va_list ap;

	if (!fs->opts.event)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell(fs, &ev, fs->opts.event);
}

void event_raise_named(struct ropefs *fs, const char *kind, uint64_t ino,
		       const char *path, const char *text)
{
	struct ropefs_event ev = { .kind = kind, .ino = ino, .name = path, .text = text };

	tell(fs, &ev, fs->opts.event_named ? fs->opts.event_named : fs->opts.event);
}
