#include "fs/copies.h"

#include <string.h>

enum { MISSES_MAX = 4 };

void copies_init(struct copies *c)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->mutex, NULL);
}

void copies_release(struct copies *c)
{
	pthread_mutex_destroy(&c->mutex);
}

void copies_reads(struct copies *c, pid_t pid, uint64_t ino)
{
	struct reading *slot = NULL;

	pthread_mutex_lock(&c->mutex);
	for (unsigned i = 0; i < COPIES && !slot; i++)
		if (c->reading[i].pid == pid)
			slot = &c->reading[i];
	if (!slot)
		slot = &c->reading[c->next_reading++ % COPIES];
	*slot = (struct reading) { pid, ino };
	pthread_mutex_unlock(&c->mutex);
}

static struct copying *find_locked(struct copies *c, uint64_t ino)
{
	for (unsigned i = 0; i < COPIES; i++)
		if (c->copying[i].ino == ino)
			return &c->copying[i];
	return NULL;
}

bool copies_writes(struct copies *c, pid_t pid, uint64_t ino)
{
	struct copying *copy;
	uint64_t src = 0;

	pthread_mutex_lock(&c->mutex);
	for (unsigned i = 0; i < COPIES && !src; i++)
		if (c->reading[i].pid == pid)
			src = c->reading[i].ino;
	copy = find_locked(c, ino);
	if (src && src != ino) {
		if (!copy)
			copy = &c->copying[c->next_copying++ % COPIES];
		*copy = (struct copying) { .ino = ino, .src = src };
	} else if (copy) {
		copy->ino = 0;
	}
	pthread_mutex_unlock(&c->mutex);
	return src && src != ino;
}

uint64_t copies_source(struct copies *c, uint64_t ino)
{
	struct copying *copy;
	uint64_t src;

	pthread_mutex_lock(&c->mutex);
	copy = find_locked(c, ino);
	src = copy ? copy->src : 0;
	pthread_mutex_unlock(&c->mutex);
	return src;
}

void copies_found(struct copies *c, uint64_t ino, bool same)
{
	struct copying *copy;

	pthread_mutex_lock(&c->mutex);
	copy = find_locked(c, ino);
	if (copy && same)
		copy->misses = 0;
	else if (copy && ++copy->misses == MISSES_MAX)
		copy->ino = 0;
	pthread_mutex_unlock(&c->mutex);
}
