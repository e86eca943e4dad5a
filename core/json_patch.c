#include "core/json_patch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/util.h"
#include "core/ropefs.h"

/* cJSON parses no deeper, and goes down by recursion wherever it goes. A copy of a value into
 * itself doubles what there is, its depth too: thirty small operations would take all memory. */
enum {
	DEPTH_MAX = CJSON_NESTING_LIMIT,
	COPIED_MAX =
		ROPEFS_WRITE_MAX, /* bytes of text that the copies of a patch may add */
};

/* A pointer to a value: what holds it, and under which name there. */
struct place {
	cJSON *parent; /* NULL: the place is the whole document */
	char *key; /* the last word of the pointer; ours to free */
	unsigned depth; /* words of the pointer */
};

struct measure {
	unsigned depth; /* arrays and objects in one another */
	size_t bytes; /* of text, at least */
};

static struct measure measure_of(const cJSON *value)
{
	struct measure m = { .bytes = 2 }; /* such as "0," */
	const cJSON *item;

	m.bytes += value->string ? strlen(value->string) : 0;
	m.bytes += value->valuestring ? strlen(value->valuestring) : 0;
	cJSON_ArrayForEach(item, value)
	{
		struct measure of = measure_of(item);

		m.depth = MAX(m.depth, of.depth);
		m.bytes += of.bytes;
	}
	m.depth += cJSON_IsArray(value) || cJSON_IsObject(value);
	return m;
}

static void place_release(struct place *p)
{
	free(p->key);
}

/* The next word of a pointer, from behind its '/'; ~1 is a '/' and ~0 a '~'. NULL without
 * memory or with another escape. */
static char *take_word(const char **pointer)
{
	const char *p = *pointer;
	char *word = malloc(strlen(p) + 1), *to = word;

	if (!word)
		return NULL;
	for (; *p && *p != '/'; p++) {
		if (*p == '~' && p[1] != '0' && p[1] != '1') {
			free(word);
			return NULL;
		}
		*to++ = *p;
		if (*p == '~')
			to[-1] = *++p == '1' ? '/' : '~';
	}
	*to = '\0';
	*pointer = p;
	return word;
}

/* Digits without a zero in front; -1: no number, or a huge one. */
static int index_of(const char *word)
{
	size_t n = strlen(word);

	if (!n || n > 8 || strspn(word, "0123456789") != n || (n > 1 && *word == '0'))
		return -1;
	return atoi(word);
}

static cJSON *child(cJSON *parent, const char *word)
{
	if (cJSON_IsObject(parent))
		return cJSON_GetObjectItemCaseSensitive(parent, word);
	if (cJSON_IsArray(parent) && index_of(word) >= 0)
		return cJSON_GetArrayItem(parent, index_of(word));
	return NULL;
}

static int not_there(const char *pointer)
{
	return err_set(EINVAL, "there is no place \"%.80s\"", pointer);
}

/* Where a pointer leads; the value itself need not be there, what holds it must. */
static int find(cJSON *doc, const char *pointer, struct place *ret)
{
	struct place p = { 0 };
	const char *rest = pointer;

	while (*rest) {
		cJSON *parent = p.key ? child(p.parent, p.key) : doc;

		free(p.key);
		p.key = NULL;
		if (*rest != '/' || !parent)
			return not_there(pointer);
		rest++;
		p.parent = parent;
		p.depth++;
		p.key = take_word(&rest);
		if (!p.key)
			return err_set(EINVAL, "\"%.80s\" is no JSON pointer", pointer);
	}
	*ret = p;
	return 0;
}

/* What is at a place; NULL: nothing. */
static cJSON *at(cJSON *doc, const struct place *p)
{
	return p->parent ? child(p->parent, p->key) : doc;
}

static void move_items(cJSON *first, cJSON *from, cJSON *to)
{
	while (first) {
		cJSON *next = first->next;

		cJSON_AddItemToArray(to, cJSON_DetachItemViaPointer(from, first));
		first = next;
	}
}

/* i is not beyond the end. Not cJSON_InsertItemInArray(): that of Debian 12 (1.7.15-1+deb12u4)
 * refuses every place but the first. */
static int insert(cJSON *array, int i, cJSON *value)
{
	cJSON *rest = cJSON_CreateArray();

	if (!rest)
		return -ENOMEM;
	move_items(cJSON_GetArrayItem(array, i), array, rest);
	cJSON_AddItemToArray(array, value);
	move_items(rest->child, rest, array);
	cJSON_Delete(rest);
	return 0;
}

/* Takes value over, whatever happens. */
static int put(cJSON **doc, const struct place *p, cJSON *value)
{
	int size, i;

	if (p->depth + measure_of(value).depth > DEPTH_MAX) {
		cJSON_Delete(value);
		return err_set(EINVAL, "it would be more than %d values in one another",
			       DEPTH_MAX);
	}
	if (!p->parent) {
		cJSON_Delete(*doc);
		*doc = value;
		return 0;
	}
	if (cJSON_IsObject(p->parent)) {
		if (child(p->parent, p->key)
			    ? cJSON_ReplaceItemInObjectCaseSensitive(p->parent, p->key,
								     value)
			    : cJSON_AddItemToObject(p->parent, p->key, value))
			return 0;
		cJSON_Delete(value);
		return -ENOMEM;
	}
	size = cJSON_GetArraySize(p->parent);
	i = strcmp(p->key, "-") == 0 ? size : index_of(p->key);
	if (cJSON_IsArray(p->parent) && i >= 0 && i <= size &&
	    insert(p->parent, i, value) >= 0)
		return 0;
	cJSON_Delete(value);
	return err_set(EINVAL, "there is no place \"%.80s\" to put something", p->key);
}

static cJSON *detach(cJSON **doc, const struct place *p)
{
	cJSON *value = at(*doc, p);

	if (!p->parent)
		*doc = NULL;
	else if (value)
		cJSON_DetachItemViaPointer(p->parent, value);
	return value;
}

/* A member of an operation, NULL: it is missing. Two of one name are refused: which of them
 * was meant, nobody knows. */
static int one_member(const cJSON *op, const char *name, const cJSON **ret)
{
	const cJSON *m;

	*ret = NULL;
	cJSON_ArrayForEach(m, op)
	{
		if (!m->string || strcmp(m->string, name))
			continue;
		if (*ret)
			return err_set(EINVAL, "its \"%s\" is there twice", name);
		*ret = m;
	}
	return 0;
}

/* The text of a member. */
static int member(const cJSON *op, const char *name, const char **ret)
{
	const cJSON *m;
	int r = one_member(op, name, &m);

	if (r < 0)
		return r;
	if (!cJSON_IsString(m))
		return err_set(EINVAL, "its \"%s\" is missing, or no string", name);
	*ret = m->valuestring;
	return 0;
}

static int value_member(const cJSON *op, const cJSON **ret)
{
	int r = one_member(op, "value", ret);

	return r < 0 || *ret ? r : err_set(EINVAL, "its \"value\" is missing");
}

static int op_copy(const cJSON *op, cJSON **ret)
{
	const cJSON *value;
	int r = value_member(op, &value);

	if (r < 0)
		return r;
	*ret = cJSON_Duplicate(value, true);
	return *ret ? 0 : -ENOMEM;
}

static int op_add(cJSON **doc, const cJSON *op, const struct place *p)
{
	cJSON *value = NULL;
	int r = op_copy(op, &value);

	return r < 0 ? r : put(doc, p, value);
}

static int op_remove(cJSON **doc, const struct place *p, const char *pointer)
{
	if (!at(*doc, p))
		return not_there(pointer);
	if (!p->parent)
		return err_set(EINVAL, "the whole document can't be removed");
	cJSON_Delete(detach(doc, p));
	return 0;
}

static int op_replace(cJSON **doc, const cJSON *op, const struct place *p,
		      const char *pointer)
{
	cJSON *old = at(*doc, p);

	if (!old)
		return not_there(pointer);
	if (cJSON_IsArray(p->parent))
		cJSON_Delete(detach(doc, p));
	return op_add(doc, op, p);
}

static int op_test(cJSON **doc, const cJSON *op, const struct place *p,
		   const char *pointer)
{
	const cJSON *is = at(*doc, p), *want;
	int r = value_member(op, &want);

	if (r < 0)
		return r;
	if (is && cJSON_Compare(is, want, true))
		return 0;
	return err_set(EINVAL, "\"%.80s\" is not what it tests for", pointer);
}

/* A value may not be moved into itself. */
static bool is_within(const char *path, const char *from)
{
	size_t n = strlen(from);

	return !strncmp(path, from, n) && path[n] == '/';
}

/* *room: bytes that copies may still add. */
static int duplicate(const cJSON *value, size_t *room, cJSON **ret)
{
	size_t n = measure_of(value).bytes;

	if (n > *room)
		return err_set(EINVAL, "the copies of the patch take more than %d bytes",
			       COPIED_MAX);
	*room -= n;
	*ret = cJSON_Duplicate(value, true);
	return *ret ? 0 : -ENOMEM;
}

/* path is looked for after the value has left its place: it counts in what is left. room: as of
 * duplicate(), for a copy; NULL: it moves. */
static int op_move(cJSON **doc, const char *path, const char *from, size_t *room)
{
	_cleanup_(place_release) struct place source = { 0 }, p = { 0 };
	cJSON *value = NULL;
	int r = find(*doc, from, &source);

	if (r >= 0 && !at(*doc, &source))
		r = not_there(from);
	if (r >= 0 && !room && is_within(path, from))
		r = err_set(EINVAL, "a value can't be moved into itself");
	if (r >= 0 && !room && !strcmp(path, from))
		return 0;
	if (r >= 0 && room)
		r = duplicate(at(*doc, &source), room, &value);
	if (r < 0)
		return r;
	if (!room)
		value = detach(doc, &source);
	r = find(*doc, path, &p);
	if (r >= 0)
		return put(doc, &p, value);
	cJSON_Delete(value);
	return r;
}

static int apply(cJSON **doc, const cJSON *op, size_t *room)
{
	_cleanup_(place_release) struct place p = { 0 };
	const char *name = NULL, *path = NULL, *from = NULL;
	int r = member(op, "op", &name);

	if (r >= 0)
		r = member(op, "path", &path);
	if (r < 0)
		return r;
	if (!strcmp(name, "move") || !strcmp(name, "copy")) {
		r = member(op, "from", &from);
		return r < 0 ? r : op_move(doc, path, from, *name == 'c' ? room : NULL);
	}
	r = find(*doc, path, &p);
	if (r < 0)
		return r;
	if (!strcmp(name, "add"))
		return op_add(doc, op, &p);
	if (!strcmp(name, "remove"))
		return op_remove(doc, &p, path);
	if (!strcmp(name, "replace"))
		return op_replace(doc, op, &p, path);
	if (!strcmp(name, "test"))
		return op_test(doc, op, &p, path);
	return err_set(EINVAL, "\"%.40s\" is no operation", name);
}

int json_patch(cJSON **doc, const cJSON *patch)
{
	size_t room = COPIED_MAX;
	const cJSON *op;
	unsigned n = 1;
	int r = 0;

	if (!cJSON_IsArray(patch))
		return err_set(EINVAL, "a JSON patch is an array of operations");
	cJSON_ArrayForEach(op, patch)
	{
		err_clear();
		r = apply(doc, op, &room);
		if (r == -EINVAL)
			r = err_set(EINVAL, "operation %u of the patch: %s", n,
				    err_detail());
		if (r < 0)
			return r;
		n++;
	}
	return 0;
}
