/* fuzz_policies.c - policies as they are set (core/policy.c), and patches of values as they are
 * written (core/json_patch.c). An input is KEY NUL VALUE; without a key the value is a document, a
 * NUL and its patch. */
#include "core/policy.h"
#include "core/ropefs.h"
#include "tests/fuzz/fuzz.h"

static void set(struct span key, struct span value)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	struct framing framing;
	struct retain retain;
	uint64_t ns;

	FUZZ_MUST(buf_append(&name, POLICY_PREFIX, sizeof(POLICY_PREFIX) - 1));
	FUZZ_MUST(buf_append(&name, key.p, key.n));
	policy_check(buf_span(&name), value);
	if (framing_parse(value, &framing) == 0 && framing.mode == FRAMING_LENGTH &&
	    (!framing.length || framing.length > ROPEFS_WRITE_MAX))
		abort();
	if (retain_parse(value, &retain) == 0 && !retain.age_ns && !retain.bytes &&
	    !retain.records)
		abort();
	if (ttl_parse(value, &ns) == 0 && (!ns || ns > INT64_MAX))
		abort();
}

static void patch(struct span doc, struct span patch)
{
	char *text = NULL;
	size_t n;

	if (ropefs_value_patch((const char *)doc.p, doc.n, (const char *)patch.p, patch.n,
			       &text, &n) == 0)
		free(text);
}

/* Up to the first NUL, and what is behind it. */
static struct span split(struct span s, struct span *ret_rest)
{
	const uint8_t *nul = s.n ? memchr(s.p, '\0', s.n) : NULL;
	size_t n = nul ? (size_t)(nul - s.p) : s.n;

	*ret_rest = nul ? span_of(nul + 1, s.n - n - 1) : span_of(s.p + n, 0);
	return span_of(s.p, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span value, change, key = split(span_of(p, n), &value);

	if (key.n) {
		set(key, value);
		return 0;
	}
	value = split(value, &change);
	patch(value, change);
	return 0;
}

void fuzz_mend(uint8_t *p, size_t n)
{
	(void)p; /* no sum to mend */
	(void)n;
}

void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	/* '|' stands for the NUL. */
	static const char *const seeds[] = {
		"kind|queue",
		"framing|length:4096",
		"retain|7d,10G,1M records",
		"gap|record",
		"ttl|30s",
		"what|ever",
		"|{\"a\":[1,2,{\"b\":null}]}|[{\"op\":\"add\",\"path\":\"/a/"
		"1\",\"value\":5}]",
		"|{\"a\":1}|[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b~1~0\"},"
		"{\"op\":\"test\",\"path\":\"/b~1~0\",\"value\":1}]",
		"|[[1],2]|[{\"op\":\"copy\",\"from\":\"/0\",\"path\":\"/-\"},"
		"{\"op\":\"remove\",\"path\":\"/"
		"1\"},{\"op\":\"replace\",\"path\":\"\",\"value\":{}}]",
	};

	for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
		size_t n = strlen(seeds[i]);
		char *p = strdup(seeds[i]), name[16];

		for (size_t j = 0; j < n; j++)
			if (p[j] == '|')
				p[j] = '\0';
		snprintf(name, sizeof(name), "seed%zu", i);
		give(arg, name, p, n);
		free(p);
	}
}
