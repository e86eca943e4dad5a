#include "fs/map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static size_t home(const struct map *m, uint64_t key)
{
	key ^= key >> 32;
	return (size_t)((key * 0x9e3779b97f4a7c15u) >> 24) & (m->cap - 1);
}

/* The slot that holds the key, or the empty one where it would go. */
static struct map_slot *find(const struct map *m, uint64_t key)
{
	size_t i = home(m, key);

	while (m->slots[i].value && m->slots[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

void map_release(struct map *m, void (*drop)(void *value))
{
	if (drop)
		for (size_t i = 0; i < m->cap; i++)
			if (m->slots[i].value)
				drop(m->slots[i].value);
	free(m->slots);
	*m = (struct map) { 0 };
}

void *map_get(const struct map *m, uint64_t key)
{
	return m->n ? find(m, key)->value : NULL;
}

static int grow(struct map *m)
{
	struct map bigger = { .n = m->n, .cap = m->cap ? m->cap * 2 : 64 };

	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].value)
			*find(&bigger, m->slots[i].key) = m->slots[i];
	free(m->slots);
	*m = bigger;
	return 0;
}

int map_put(struct map *m, uint64_t key, void *value)
{
	struct map_slot *s;

	assert(value);
	if ((m->n + 1) * 3 > m->cap * 2 && grow(m) < 0)
		return -ENOMEM;
	s = find(m, key);
	assert(!s->value);
	*s = (struct map_slot) { key, value };
	m->n++;
	return 0;
}

void *map_del(struct map *m, uint64_t key)
{
	struct map_slot *s;
	size_t hole, i;
	void *value;

	if (!m->n)
		return NULL;
	s = find(m, key);
	value = s->value;
	if (!value)
		return NULL;

	/* What stands behind in the same run moves up, unless that took it before its home. */
	hole = (size_t)(s - m->slots);
	for (i = (hole + 1) & (m->cap - 1); m->slots[i].value;
	     i = (i + 1) & (m->cap - 1)) {
		size_t from_home = (i - home(m, m->slots[i].key)) & (m->cap - 1);

		if (from_home < ((i - hole) & (m->cap - 1)))
			continue;
		m->slots[hole] = m->slots[i];
		hole = i;
	}
	m->slots[hole].value = NULL;
	m->n--;
	return value;
}
