/* object_fault.h - an object store that fails as told, before or after the request was done. */
#ifndef ROPEFS_TESTS_OBJECT_FAULT_H
#define ROPEFS_TESTS_OBJECT_FAULT_H

#include "core/tier/object.h"

/* Asked before each request, and after it (`done`): 0 lets it pass, else its result. */
struct object_fault {
	int (*fails)(void *arg, const char *what, const char *key, bool done);
	void *arg;
};
/* Owns inner. */
struct object_store *object_fault_new(const struct object_fault *fault,
				      struct object_store *inner);

#endif
