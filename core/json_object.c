/* json_object.c - an index is a hash table of names. Two names with one hash, or one name that is
 * there twice: then the list is walked as cJSON does, and the first one counts. */
#include "core/json_object.h"

#include <errno.h>
#include <string.h>

enum { FEW = 16 }; /* members that are walked before an index is made */

struct index {
	struct htab by_name; /* by hash: the member */
	bool plain; /* two with one hash: of no use */
};

static void index_free(struct index *x)
{
	htab_release(&x->by_name);
	free(x);
}

void json_objects_release(struct json_objects *o)
{
	struct htab_slot *slot;

	for (size_t at = 0; (slot = htab_next(&o->indexes, &at));)
		index_free(slot->value);
	htab_release(&o->indexes);
}

static uint64_t key_of(const cJSON *object)
{
	return (uint64_t)(uintptr_t)object;
}

static int index_add(struct index *x, cJSON *member)
{
	uint64_t h = htab_hash_text(member->string);

	if (x->plain || htab_get(&x->by_name, h)) {
		x->plain = true;
		return 0;
	}
	return htab_put(&x->by_name, h, member);
}

static struct index *index_new(struct json_objects *o, const cJSON *object)
{
	struct index *x = calloc(1, sizeof(*x));
	cJSON *member;

	cJSON_ArrayForEach(member, object)
	{
		o->steps++;
		if (x && index_add(x, member) >= 0)
			continue;
		if (x)
			index_free(x);
		return NULL;
	}
	return x;
}

static struct index *index_of(struct json_objects *o, const cJSON *object)
{
	struct index *x = htab_get(&o->indexes, key_of(object));

	if (x)
		return x;
	x = index_new(o, object);
	if (!x || htab_put(&o->indexes, key_of(object), x) >= 0)
		return x;
	index_free(x);
	return NULL;
}

static void index_drop(struct json_objects *o, const cJSON *object)
{
	struct index *x = htab_del(&o->indexes, key_of(object));

	if (x)
		index_free(x);
}

int json_object_get(struct json_objects *o, cJSON *object, const char *name, cJSON **ret)
{
	cJSON *member = object->child;
	const struct index *x;
	unsigned n = 0;

	for (; member && n < FEW; member = member->next, n++)
		if (!strcmp(member->string, name))
			break;
	o->steps += n + 1;
	if (member && n == FEW) {
		x = index_of(o, object);
		if (!x)
			return -ENOMEM;
		member = x->plain ? cJSON_GetObjectItemCaseSensitive(object, name)
				  : htab_get(&x->by_name, htab_hash_text(name));
		if (member && strcmp(member->string, name))
			member = NULL;
	}
	*ret = member;
	return 0;
}

/* What is no longer there; the memory may be another member's soon. */
static void index_del(struct json_objects *o, const cJSON *object, const cJSON *member)
{
	struct index *x = htab_get(&o->indexes, key_of(object));
	uint64_t h = htab_hash_text(member->string);

	if (x && htab_get(&x->by_name, h) == member)
		htab_del(&x->by_name, h);
}

int json_object_put(struct json_objects *o, cJSON *object, const char *name, cJSON *value)
{
	struct index *x;
	cJSON *old;
	int r = json_object_get(o, object, name, &old);

	if (r < 0)
		return r;
	if (old)
		index_del(o, object, old);
	if (old ? !cJSON_ReplaceItemInObjectCaseSensitive(object, name, value)
		: !cJSON_AddItemToObject(object, name, value)) {
		index_drop(o, object);
		return -ENOMEM;
	}
	x = htab_get(&o->indexes, key_of(object));
	if (x && index_add(x, value) < 0)
		index_drop(o, object); /* it is made again when it is needed */
	return 0;
}

void json_object_detach(struct json_objects *o, cJSON *object, cJSON *member)
{
	index_del(o, object, member);
	cJSON_DetachItemViaPointer(object, member);
}

void json_objects_forget(struct json_objects *o, const cJSON *value)
{
	const cJSON *item;

	if (cJSON_IsObject(value))
		index_drop(o, value);
	cJSON_ArrayForEach(item, value) json_objects_forget(o, item);
}
