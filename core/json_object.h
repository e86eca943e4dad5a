/* json_object.h - the members of cJSON's objects by name. cJSON has them in a list, and compares
 * one name after the other; here an object of many gets an index once its list was walked for a
 * while, and keeps it while it is changed through these functions. */
#ifndef ROPEFS_JSON_OBJECT_H
#define ROPEFS_JSON_OBJECT_H

#include <cjson/cJSON.h>

#include "core/base/htab.h"

/* All zero at first. */
struct json_objects {
	struct htab indexes; /* by the address of the object */
	uint64_t steps; /* members that were looked at */
};

/* The objects stay. */
void json_objects_release(struct json_objects *o);
/* *ret NULL: there is no such member. -ENOMEM. */
int json_object_get(struct json_objects *o, cJSON *object, const char *name, cJSON **ret);
/* Takes value over if it returns 0; the member that had the name before is freed, nothing in it may
 * have an index. -ENOMEM. */
int json_object_put(struct json_objects *o, cJSON *object, const char *name,
		    cJSON *value);
/* A member leaves the object and is the caller's. */
void json_object_detach(struct json_objects *o, cJSON *object, cJSON *member);
/* Before cJSON_Delete() of what may hold objects that have an index. */
void json_objects_forget(struct json_objects *o, const cJSON *value);

#endif
