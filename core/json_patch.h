/* json_patch.h - RFC 6902 JSON Patch, with RFC 6901 pointers, on cJSON's values. */
#ifndef ROPEFS_JSON_PATCH_H
#define ROPEFS_JSON_PATCH_H

#include <cjson/cJSON.h>
#include <stdint.h>

/* Changes *doc, which may become another value, by all operations of patch. -EINVAL with the
 * number of the operation that does not fit and why, -ENOMEM; *doc is then half changed, and good
 * for nothing but being freed. *ret_steps, which may be NULL, tells how many items, or blocks
 * of items, were looked at (core/json_array.h, core/json_object.h). */
int json_patch(cJSON **doc, const cJSON *patch, uint64_t *ret_steps);

#endif
