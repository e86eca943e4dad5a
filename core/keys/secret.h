/* secret.h - memory for keys: between guard pages, locked, left out of core dumps, wiped when
 * freed. Private to core/keys. */
#ifndef ROPEFS_KEYS_SECRET_H
#define ROPEFS_KEYS_SECRET_H

#include <stddef.h>

/* n zeroed bytes, aligned to 16 when n is a multiple of 16. -ENOMEM with a sentence: no memory, or
 * no more of it may be locked. */
int secret_new(size_t n, void **ret);
/* Whether what a store needs could be locked: better known before it is open. -ENOMEM likewise. */
int secret_probe(void);
void *secret_free(void *p); /* NULL is fine; returns NULL */
void secret_freep(void *p); /* for _cleanup_ on a pointer variable */

#endif
