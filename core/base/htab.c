#include "core/base/htab.h"

#include <errno.h>

static size_t slot_of(const struct htab *t, uint64_t key)
{
	key ^= key >> 32;
	key *= 0x9e3779b97f4a7c15u;
	return (size_t)(key >> 20) & (t->cap - 1);
}

uint64_t htab_hash_text(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3u;
	return h;
}

void htab_release(struct htab *t)
{
	free(t->slots);
	*t = HTAB_INIT;
}

void *htab_get(const struct htab *t, uint64_t key)
{
	if (!t->cap)
		return NULL;
	for (size_t i = slot_of(t, key); t->slots[i].value; i = (i + 1) & (t->cap - 1))
		if (t->slots[i].key == key)
			return t->slots[i].value;
	return NULL;
}

static void put_fresh(struct htab *t, uint64_t key, void *value)
{
	size_t i = slot_of(t, key);

	while (t->slots[i].value) {
		assert(t->slots[i].key != key);
		i = (i + 1) & (t->cap - 1);
	}
	t->slots[i] = (struct htab_slot) { key, value };
}

static int grow(struct htab *t)
{
	struct htab bigger = { .cap = t->cap ? t->cap * 2 : 64, .n = t->n };

	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i].value)
			put_fresh(&bigger, t->slots[i].key, t->slots[i].value);
	free(t->slots);
	*t = bigger;
	return 0;
}

int htab_put(struct htab *t, uint64_t key, void *value)
{
	assert(value);
	if (t->n * 4 >= t->cap * 3) {
		int r = grow(t);

		if (r < 0)
			return r;
	}
	put_fresh(t, key, value);
	t->n++;
	return 0;
}

void *htab_del(struct htab *t, uint64_t key)
{
	size_t i, hole;
	void *value;

	if (!t->cap)
		return NULL;
	for (i = slot_of(t, key); t->slots[i].value; i = (i + 1) & (t->cap - 1))
		if (t->slots[i].key == key)
			break;
	value = t->slots[i].value;
	if (!value)
		return NULL;

	/* Close the gap: move back each later entry whose own slot lies at or before it. */
	hole = i;
	for (i = (i + 1) & (t->cap - 1); t->slots[i].value; i = (i + 1) & (t->cap - 1)) {
		size_t own = slot_of(t, t->slots[i].key);

		if (((i - own) & (t->cap - 1)) >= ((i - hole) & (t->cap - 1))) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole] = (struct htab_slot) { 0 };
	t->n--;
	return value;
}

struct htab_slot *htab_next(const struct htab *t, size_t *at)
{
	while (*at < t->cap) {
		struct htab_slot *s = &t->slots[(*at)++];

		if (s->value)
			return s;
	}
	return NULL;
}
