/* fuzz_selectors.c - names with selectors (core/view.c): what is parsed is used as the daemon
 * uses it. An input is the size of a file (8 bytes), then the name. */
#include "core/ropefs.h"
#include "tests/fuzz/fuzz.h"

static void use(const struct ropefs_view *v, uint64_t size)
{
	struct ropefs_attr file = { .size = size },
			   queue = { .size = size, .is_queue = true };
	struct ropefs_stride stride;
	uint64_t from, to, bytes;

	ropefs_view_refused(v, &file);
	ropefs_view_refused(v, &queue);
	if (ropefs_view_range(v, size, &from, &to) == 0 && (from > to || to > size))
		abort();
	if (v->has & ROPEFS_SEL_STRIDE && ropefs_view_stride(v, size, &stride) == 0 &&
	    (ropefs_stride_bytes(&stride, size, &bytes) < 0 || bytes > size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = { p, n };
	uint64_t size = fuzz_number(&in, 8) & INT64_MAX;
	struct ropefs_view v = { 0 };
	const char *name = (const char *)in.p;

	if (ropefs_view_parse(name, in.n, &v) < 0)
		return 0;
	if (!v.has || !v.name_len || v.name_len >= in.n || name[v.name_len] != '@' ||
	    strlen(v.cursor) >= sizeof(v.cursor) || strlen(v.etag) >= sizeof(v.etag))
		abort();
	use(&v, size);
	return 0;
}

void fuzz_mend(uint8_t *p, size_t n)
{
	(void)p; /* no sum to mend */
	(void)n;
}

void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	static const char *const names[] = {
		"f@bytes=1..2",
		"f@bytes=-10..",
		"f@bytes=..5K,stride=4:16",
		"q@lines=-5..-1",
		"q@records=0..9223372036854775807,as=json",
		"q@last=5,follow",
		"q@every=1G",
		"q@time=2026-01-31T12:30:00.5Z..-10m",
		"q@since=1700000000.25,every=7",
		"q@time=..2026-02-28T23:59:60+01:30,as=hex",
		"q@cursor=up@loader,as=raw",
		"f@if=1f-2e",
		"f@add",
		"f@patch",
		"a@b@follow",
		"f@stride=1:1,bytes=5..7",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		uint8_t seed[128] = { 100 };
		char name[16];

		snprintf(name, sizeof(name), "name%02zu", i);
		memcpy(seed + 8, names[i], strlen(names[i]));
		give(arg, name, seed, 8 + strlen(names[i]));
	}
}
