/* secret.h - memory for keys: between guard pages, locked where the system lets us, left out
 * of core dumps always, wiped when freed. Private to core/keys. */
#ifndef ROPEFS_KEYS_SECRET_H
#define ROPEFS_KEYS_SECRET_H

#include <stddef.h>

/* n zeroed bytes, aligned to 16 when n is a multiple of 16. -ENOMEM with a sentence. */
int secret_new(size_t n, void **ret);
void *secret_free(void *p); /* NULL is fine; returns NULL */
void secret_freep(void *p); /* for _cleanup_ on a pointer variable */

#endif
