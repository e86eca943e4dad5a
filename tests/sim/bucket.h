/* bucket.h - the object store of a simulated world: objects in memory, requests that fail by the
 * seed. All that the engine opens under any URL is the bucket in use. */
#ifndef ROPEFS_TESTS_SIM_BUCKET_H
#define ROPEFS_TESTS_SIM_BUCKET_H

#include "core/tier/object.h"

struct bucket;

struct bucket *bucket_new(uint64_t seed);
/* The same objects; its requests fail by a seed of its own. b may be NULL. */
struct bucket *bucket_copy(const struct bucket *b, uint64_t seed);
struct bucket *bucket_free(struct bucket *b);
void bucket_use(struct bucket *b); /* NULL: none */
/* One request in so many fails: it was not done, or done and not answered; 0: none does. */
void bucket_weather(struct bucket *b, unsigned one_in);
/* Before a request is done, and once it changed something, but is not answered yet. */
void bucket_watch(struct bucket *b, void (*watch)(void *arg), void *arg);

/* What a store that is made anew from the bucket may be, by digests of states: one that may be
 * in it now; any, until it is known again; one that is, and none before it. */
void bucket_expect(struct bucket *b, uint64_t digest);
void bucket_expect_any(struct bucket *b);
void bucket_committed(struct bucket *b, uint64_t digest);
bool bucket_expects(const struct bucket *b, uint64_t digest);
bool bucket_has_state(const struct bucket *b); /* for certain */

#endif
