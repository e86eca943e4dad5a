/* secret.h - memory for keys and passwords: between guard pages, locked, left out of core dumps,
 * wiped when freed. */
#ifndef ROPEFS_KEYS_SECRET_H
#define ROPEFS_KEYS_SECRET_H

#include <stddef.h>

/* n zeroed bytes, aligned to 16 when n is a multiple of 16. -ENOMEM with a sentence: no memory, or
 * no more of it may be locked. */
int secret_new(size_t n, void **ret);
/* A copy of a text; NULL of NULL. -ENOMEM likewise. */
int secret_text(const char *from, char **ret);
/* Whether what a store needs could be locked: better known before it is open. -ENOMEM likewise. */
int secret_probe(void);
/* What functions that worked on a secret text left of it in vector registers (from where they get
 * into cores, and onto stacks) and below this thread's stack goes, on x86-64 at least. */
void secret_forget(void);
void *secret_free(void *p); /* NULL is fine; returns NULL */
void secret_freep(void *p); /* for _cleanup_ on a pointer variable */

#endif
