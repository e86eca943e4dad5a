/* json_array.c - an index is a row of blocks, each with up to BLOCK_MAX addresses of items in
 * order: what comes in or goes moves a block's worth at most. The list of cJSON is kept as well,
 * in which child->prev is the last item. */
#include "core/json_array.h"

#include <errno.h>
#include <string.h>

#define BLOCK_MAX 512u
#define BLOCK_NEW (BLOCK_MAX / 2) /* filled so far at first */

struct block {
	cJSON **items;
	unsigned n;
};

struct index {
	size_t size;
	struct block *blocks;
	size_t n, cap;
};

/* Where an item is. */
struct spot {
	size_t block;
	unsigned i;
};

static void index_free(struct index *x)
{
	for (size_t i = 0; i < x->n; i++)
		free(x->blocks[i].items);
	free(x->blocks);
	free(x);
}

void json_arrays_release(struct json_arrays *a)
{
	struct htab_slot *slot;

	for (size_t at = 0; (slot = htab_next(&a->indexes, &at));)
		index_free(slot->value);
	htab_release(&a->indexes);
}

/* An empty block at place `at` of the row. */
static int block_add(struct index *x, size_t at)
{
	cJSON **items = malloc(BLOCK_MAX * sizeof(cJSON *));

	if (items && x->n == x->cap) {
		size_t cap = x->cap ? x->cap * 2 : 4;
		struct block *bigger = realloc(x->blocks, cap * sizeof(*bigger));

		if (bigger) {
			x->blocks = bigger;
			x->cap = cap;
		}
	}
	if (!items || x->n == x->cap) {
		free(items);
		return -ENOMEM;
	}
	memmove(x->blocks + at + 1, x->blocks + at, (x->n - at) * sizeof(*x->blocks));
	x->blocks[at] = (struct block) { .items = items };
	x->n++;
	return 0;
}

static struct index *index_new(const cJSON *array)
{
	struct index *x = calloc(1, sizeof(*x));
	cJSON *item;

	if (!x || block_add(x, 0) < 0) {
		free(x);
		return NULL;
	}
	cJSON_ArrayForEach(item, array)
	{
		struct block *b = &x->blocks[x->n - 1];

		if (b->n == BLOCK_NEW) {
			if (block_add(x, x->n) < 0) {
				index_free(x);
				return NULL;
			}
			b = &x->blocks[x->n - 1];
		}
		b->items[b->n++] = item;
		x->size++;
	}
	return x;
}

static uint64_t key_of(const cJSON *array)
{
	return (uint64_t)(uintptr_t)array;
}

static struct index *index_of(struct json_arrays *a, const cJSON *array)
{
	struct index *x = htab_get(&a->indexes, key_of(array));

	if (x)
		return x;
	x = index_new(array);
	if (!x)
		return NULL;
	a->steps += x->size;
	if (htab_put(&a->indexes, key_of(array), x) >= 0)
		return x;
	index_free(x);
	return NULL;
}

/* Of item i, or behind the last one. */
static struct spot spot_of(struct json_arrays *a, const struct index *x, size_t i)
{
	size_t block = 0;

	assert(i <= x->size);
	for (; i > x->blocks[block].n || (i == x->blocks[block].n && block + 1 < x->n);
	     block++)
		i -= x->blocks[block].n;
	a->steps += block + 1;
	return (struct spot) { block, (unsigned)i };
}

int json_array_get(struct json_arrays *a, cJSON *array, size_t i, cJSON **ret)
{
	const struct index *x = index_of(a, array);
	struct spot s;

	if (!x)
		return -ENOMEM;
	*ret = NULL;
	if (i >= x->size)
		return 0;
	s = spot_of(a, x, i);
	*ret = x->blocks[s.block].items[s.i];
	return 0;
}

int json_array_size(struct json_arrays *a, cJSON *array, size_t *ret)
{
	const struct index *x = index_of(a, array);

	if (!x)
		return -ENOMEM;
	*ret = x->size;
	return 0;
}

/* The upper half of a full block goes to one of its own. */
static int split(struct json_arrays *a, struct index *x, struct spot *s)
{
	struct block *b, *upper;
	int r = block_add(x, s->block + 1);

	if (r < 0)
		return r;
	b = &x->blocks[s->block];
	upper = b + 1;
	b->n = BLOCK_MAX / 2;
	upper->n = BLOCK_MAX - b->n;
	memcpy(upper->items, b->items + b->n, upper->n * sizeof(*b->items));
	a->steps += upper->n;
	if (s->i > b->n)
		*s = (struct spot) { s->block + 1, s->i - b->n };
	return 0;
}

static void list_insert(cJSON *array, cJSON *before, cJSON *value)
{
	if (!before) {
		cJSON_AddItemToArray(array, value);
		return;
	}
	value->next = before;
	value->prev = before->prev;
	before->prev = value;
	if (array->child == before)
		array->child = value;
	else
		value->prev->next = value;
}

int json_array_insert(struct json_arrays *a, cJSON *array, size_t i, cJSON *value)
{
	struct index *x = index_of(a, array);
	cJSON *before;
	struct block *b;
	struct spot s;
	int r;

	if (!x)
		return -ENOMEM;
	r = json_array_get(a, array, i, &before);
	if (r < 0)
		return r;
	s = spot_of(a, x, i);
	if (x->blocks[s.block].n == BLOCK_MAX) {
		r = split(a, x, &s);
		if (r < 0)
			return r;
	}
	b = &x->blocks[s.block];
	memmove(b->items + s.i + 1, b->items + s.i, (b->n - s.i) * sizeof(*b->items));
	a->steps += b->n - s.i;
	b->items[s.i] = value;
	b->n++;
	x->size++;
	list_insert(array, before, value);
	return 0;
}

int json_array_detach(struct json_arrays *a, cJSON *array, size_t i, cJSON **ret)
{
	struct index *x = index_of(a, array);
	struct block *b;
	struct spot s;

	if (!x)
		return -ENOMEM;
	assert(i < x->size);
	s = spot_of(a, x, i);
	b = &x->blocks[s.block];
	*ret = cJSON_DetachItemViaPointer(array, b->items[s.i]);
	b->n--;
	x->size--;
	memmove(b->items + s.i, b->items + s.i + 1, (b->n - s.i) * sizeof(*b->items));
	a->steps += b->n - s.i;
	if (b->n || x->n == 1)
		return 0;
	free(b->items);
	x->n--;
	memmove(b, b + 1, (x->n - s.block) * sizeof(*b));
	return 0;
}

void json_arrays_forget(struct json_arrays *a, const cJSON *value)
{
	const cJSON *item;
	struct index *x;

	x = cJSON_IsArray(value) ? htab_del(&a->indexes, key_of(value)) : NULL;
	if (x)
		index_free(x);
	cJSON_ArrayForEach(item, value) json_arrays_forget(a, item);
}
