#include "core/json_patch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/util.h"
#include "core/json_array.h"
#include "core/json_object.h"
#include "core/ropefs.h"

/* cJSON parses no deeper, and goes down by recursion wherever it goes. A copy of a value into
 * itself doubles what there is, its depth too: thirty small operations would take all memory. */
enum {
	DEPTH_MAX = CJSON_NESTING_LIMIT,
	COPIED_MAX =
		ROPEFS_WRITE_MAX, /* bytes of text that the copies of a patch may add */
};

/* What a patch works on. */
struct patching {
	cJSON **doc;
	struct json_arrays arrays;
	struct json_objects objects;
	size_t room; /* bytes that copies may still add */
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

/* *ret NULL: there is none. */
static int child(struct patching *d, cJSON *parent, const char *word, cJSON **ret)
{
	if (cJSON_IsObject(parent))
		return json_object_get(&d->objects, parent, word, ret);
	*ret = NULL;
	if (!cJSON_IsArray(parent) || index_of(word) < 0)
		return 0;
	return json_array_get(&d->arrays, parent, (size_t)index_of(word), ret);
}

static int not_there(const char *pointer)
{
	return err_set(EINVAL, "there is no place \"%.80s\"", pointer);
}

/* Where a pointer leads; the value itself need not be there, what holds it must. */
static int find(struct patching *d, const char *pointer, struct place *ret)
{
	_cleanup_(place_release) struct place p = { 0 };
	const char *rest = pointer;
	cJSON *parent = *d->doc;

	while (*rest) {
		int r = p.key ? child(d, p.parent, p.key, &parent) : 0;

		if (r < 0)
			return r;
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
	p.key = NULL;
	return 0;
}

/* What is at a place; NULL: nothing. */
static int at(struct patching *d, const struct place *p, cJSON **ret)
{
	if (p->parent)
		return child(d, p->parent, p->key, ret);
	*ret = *d->doc;
	return 0;
}

/* Before cJSON_Delete() of it. */
static void forget(struct patching *d, const cJSON *value)
{
	json_arrays_forget(&d->arrays, value);
	json_objects_forget(&d->objects, value);
}

static void drop(struct patching *d, cJSON *value)
{
	forget(d, value);
	cJSON_Delete(value);
}

static int put_in_object(struct patching *d, const struct place *p, cJSON *value)
{
	cJSON *old;
	int r = json_object_get(&d->objects, p->parent, p->key, &old);

	if (r < 0)
		return r;
	forget(d, old);
	return json_object_put(&d->objects, p->parent, p->key, value);
}

static int put_in_array(struct patching *d, const struct place *p, cJSON *value)
{
	bool last = strcmp(p->key, "-") == 0;
	int i = last ? 0 : index_of(p->key), r;
	size_t size;

	r = json_array_size(&d->arrays, p->parent, &size);
	if (r < 0)
		return r;
	if (i < 0 || (size_t)i > size)
		return err_set(EINVAL, "there is no place \"%.80s\" to put something",
			       p->key);
	return json_array_insert(&d->arrays, p->parent, last ? size : (size_t)i, value);
}

/* Takes value over, whatever happens. */
static int put(struct patching *d, const struct place *p, cJSON *value)
{
	int r;

	if (p->depth + measure_of(value).depth > DEPTH_MAX) {
		drop(d, value);
		return err_set(EINVAL, "it would be more than %d values in one another",
			       DEPTH_MAX);
	}
	if (!p->parent) {
		drop(d, *d->doc);
		*d->doc = value;
		return 0;
	}
	if (cJSON_IsObject(p->parent))
		r = put_in_object(d, p, value);
	else if (cJSON_IsArray(p->parent))
		r = put_in_array(d, p, value);
	else
		r = err_set(EINVAL, "there is no place \"%.80s\" to put something",
			    p->key);
	if (r < 0)
		drop(d, value);
	return r;
}

/* What is at a place, and is there, leaves it. */
static int detach(struct patching *d, const struct place *p, cJSON **ret)
{
	int r = at(d, p, ret);

	if (r < 0)
		return r;
	if (!p->parent)
		*d->doc = NULL;
	else if (cJSON_IsArray(p->parent))
		return json_array_detach(&d->arrays, p->parent, (size_t)index_of(p->key),
					 ret);
	else
		json_object_detach(&d->objects, p->parent, *ret);
	return 0;
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

static int op_add(struct patching *d, const cJSON *op, const struct place *p)
{
	cJSON *value = NULL;
	int r = op_copy(op, &value);

	return r < 0 ? r : put(d, p, value);
}

static int remove_at(struct patching *d, const struct place *p)
{
	cJSON *old;
	int r = detach(d, p, &old);

	if (r >= 0)
		drop(d, old);
	return r;
}

static int op_remove(struct patching *d, const struct place *p, const char *pointer)
{
	cJSON *old;
	int r = at(d, p, &old);

	if (r < 0)
		return r;
	if (!old)
		return not_there(pointer);
	if (!p->parent)
		return err_set(EINVAL, "the whole document can't be removed");
	return remove_at(d, p);
}

static int op_replace(struct patching *d, const cJSON *op, const struct place *p,
		      const char *pointer)
{
	cJSON *old;
	int r = at(d, p, &old);

	if (r >= 0 && !old)
		r = not_there(pointer);
	if (r >= 0 && cJSON_IsArray(p->parent))
		r = remove_at(d, p);
	return r < 0 ? r : op_add(d, op, p);
}

static int op_test(struct patching *d, const cJSON *op, const struct place *p,
		   const char *pointer)
{
	const cJSON *want;
	cJSON *is;
	int r = at(d, p, &is);

	if (r >= 0)
		r = value_member(op, &want);
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

static int duplicate(struct patching *d, const cJSON *value, cJSON **ret)
{
	size_t n = measure_of(value).bytes;

	if (n > d->room)
		return err_set(EINVAL, "the copies of the patch take more than %d bytes",
			       COPIED_MAX);
	d->room -= n;
	*ret = cJSON_Duplicate(value, true);
	return *ret ? 0 : -ENOMEM;
}

/* path is looked for after the value has left its place: it counts in what is left. */
static int op_move(struct patching *d, const char *path, const char *from, bool copy)
{
	_cleanup_(place_release) struct place source = { 0 }, p = { 0 };
	cJSON *value = NULL;
	int r = find(d, from, &source);

	if (r >= 0)
		r = at(d, &source, &value);
	if (r >= 0 && !value)
		r = not_there(from);
	if (r >= 0 && !copy && is_within(path, from))
		r = err_set(EINVAL, "a value can't be moved into itself");
	if (r >= 0 && !copy && !strcmp(path, from))
		return 0;
	if (r >= 0)
		r = copy ? duplicate(d, value, &value) : detach(d, &source, &value);
	if (r < 0)
		return r;
	r = find(d, path, &p);
	if (r >= 0)
		return put(d, &p, value);
	drop(d, value);
	return r;
}

static int apply(struct patching *d, const cJSON *op)
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
		return r < 0 ? r : op_move(d, path, from, *name == 'c');
	}
	r = find(d, path, &p);
	if (r < 0)
		return r;
	if (!strcmp(name, "add"))
		return op_add(d, op, &p);
	if (!strcmp(name, "remove"))
		return op_remove(d, &p, path);
	if (!strcmp(name, "replace"))
		return op_replace(d, op, &p, path);
	if (!strcmp(name, "test"))
		return op_test(d, op, &p, path);
	return err_set(EINVAL, "\"%.40s\" is no operation", name);
}

static int apply_all(struct patching *d, const cJSON *patch)
{
	const cJSON *op;
	unsigned n = 1;

	cJSON_ArrayForEach(op, patch)
	{
		int r;

		err_clear();
		r = apply(d, op);
		if (r == -EINVAL)
			r = err_set(EINVAL, "operation %u of the patch: %s", n,
				    err_detail());
		if (r < 0)
			return r;
		n++;
	}
	return 0;
}

int json_patch(cJSON **doc, const cJSON *patch, uint64_t *ret_steps)
{
	struct patching d = { .doc = doc, .room = COPIED_MAX };
	int r;

	if (!cJSON_IsArray(patch))
		return err_set(EINVAL, "a JSON patch is an array of operations");
	r = apply_all(&d, patch);
	if (ret_steps)
		*ret_steps = d.arrays.steps + d.objects.steps;
	json_arrays_release(&d.arrays);
	json_objects_release(&d.objects);
	return r;
}
