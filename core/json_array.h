/* json_array.h - the items of cJSON's arrays by number. cJSON has them in a list, and walks it for
 * each that is asked for; here an array gets an index once it is asked for, and keeps it while it
 * is changed through these functions. A step is then about the root of the array's size. */
#ifndef ROPEFS_JSON_ARRAY_H
#define ROPEFS_JSON_ARRAY_H

#include <cjson/cJSON.h>

#include "core/base/htab.h"

/* All zero at first. */
struct json_arrays {
	struct htab indexes; /* by the address of the array */
	uint64_t steps; /* items and blocks of items that were looked at or moved */
};

/* The arrays stay. */
void json_arrays_release(struct json_arrays *a);
/* *ret NULL: there is no item i. -ENOMEM. */
int json_array_get(struct json_arrays *a, cJSON *array, size_t i, cJSON **ret);
int json_array_size(struct json_arrays *a, cJSON *array, size_t *ret);
/* Takes value over if it returns 0; i is not beyond the end. -ENOMEM. */
int json_array_insert(struct json_arrays *a, cJSON *array, size_t i, cJSON *value);
/* Item i, which is there, leaves the array and is the caller's. -ENOMEM. */
int json_array_detach(struct json_arrays *a, cJSON *array, size_t i, cJSON **ret);
/* Before cJSON_Delete() of what may hold arrays that have an index. */
void json_arrays_forget(struct json_arrays *a, const cJSON *value);

#endif
