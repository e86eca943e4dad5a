#include "fs/listings.h"

#include <assert.h>
#include <string.h>

enum { TAGS = 127, TAGGED = 128, COOKIE_FIRST = 256 };

void listings_init(struct listings *l)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->mutex, NULL);
}

void listings_release(struct listings *l)
{
	pthread_mutex_destroy(&l->mutex);
}

/* The same for the same version, so that a listing that was left, and is no longer remembered,
 * is taken up again as long as the directory is as it was. */
static unsigned tag_of(int64_t version)
{
	return 1 + (unsigned)((uint64_t)version * 0x9e3779b97f4a7c15 >> 33) % TAGS;
}

static struct unfinished *find_locked(struct listings *l, uint64_t dir)
{
	for (unsigned i = 0; i < LISTINGS; i++)
		if (l->all[i].dir == dir)
			return &l->all[i];
	return NULL;
}

static struct unfinished *oldest_locked(struct listings *l)
{
	struct unfinished *oldest = &l->all[0];

	for (unsigned i = 0; i < LISTINGS; i++) {
		if (!l->all[i].dir)
			return &l->all[i];
		if (l->all[i].seen < oldest->seen)
			oldest = &l->all[i];
	}
	return oldest;
}

unsigned listings_begin(struct listings *l, uint64_t dir, int64_t version, int64_t now)
{
	unsigned tag = tag_of(version);
	struct unfinished *u;

	pthread_mutex_lock(&l->mutex);
	u = find_locked(l, dir);
	if (!u) {
		*(u = oldest_locked(l)) = (struct unfinished) { dir, version, now, tag };
	} else if (u->version == version || now - u->seen > LISTING_QUIET_S) {
		u->seen = now;
		tag = u->tag;
	} else if (tag == u->tag) {
		tag = tag % TAGS + 1;
	}
	pthread_mutex_unlock(&l->mutex);
	return tag;
}

void listings_go_on(struct listings *l, uint64_t dir, unsigned tag, int64_t now)
{
	struct unfinished *u;

	pthread_mutex_lock(&l->mutex);
	u = find_locked(l, dir);
	if (u && u->tag == tag)
		u->seen = now;
	pthread_mutex_unlock(&l->mutex);
}

void listings_end(struct listings *l, uint64_t dir, unsigned tag)
{
	struct unfinished *u;

	pthread_mutex_lock(&l->mutex);
	u = find_locked(l, dir);
	if (u && u->tag == tag)
		u->dir = 0;
	pthread_mutex_unlock(&l->mutex);
}

uint64_t listing_after_dot(unsigned tag)
{
	assert(tag > 0 && tag <= TAGS);
	return tag;
}

uint64_t listing_after_dots(unsigned tag)
{
	assert(tag > 0 && tag <= TAGS);
	return TAGGED + tag;
}

uint64_t listing_after(uint64_t cookie, unsigned tag)
{
	assert(tag > 0 && tag <= TAGS);
	assert(cookie >= COOKIE_FIRST && !(cookie & TAGGED));
	return cookie % COOKIE_FIRST ? cookie : cookie + TAGGED + tag;
}

enum listing_place listing_place(uint64_t off, uint64_t *ret_cookie, unsigned *ret_tag)
{
	bool tagged = off < COOKIE_FIRST || off & TAGGED;

	*ret_tag = tagged ? off % TAGGED : 0;
	*ret_cookie = 0;
	if (off == 0)
		return LISTING_START;
	if (off < TAGGED)
		return LISTING_DOT;
	if (off < COOKIE_FIRST)
		return LISTING_DOTS;
	*ret_cookie = tagged ? off - off % COOKIE_FIRST : off;
	return LISTING_ENTRY;
}
