/* undumped.c - blocks of powers of two out of regions that are not dumped; large ones are
 * mappings. */
#include "core/base/undumped.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/util.h"

#define PAGE	     4096u
#define REGION_BYTES ((size_t)1 << 20)
#define SHIFT_MIN    6u
#define SHIFT_MAX    16u /* larger ones are mappings of their own */

struct block {
	size_t n; /* bytes that the caller may use */
	struct block *next; /* of a free one */
	uint8_t p[];
};
static_assert(sizeof(struct block) == 16,
	      "what the caller gets is aligned as by malloc()");

static pthread_mutex_t mutex =
	PTHREAD_MUTEX_INITIALIZER; /* a leaf; guards what follows */
static struct block *free_blocks[SHIFT_MAX + 1];
static uint8_t *region; /* what is left of the newest */
static size_t region_left;

static void *map(size_t n)
{
	void *p =
		mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n, MADV_DONTDUMP);
	return p;
}

static unsigned shift_of(size_t bytes)
{
	unsigned shift = SHIFT_MIN;

	while ((size_t)1 << shift < bytes)
		shift++;
	return shift;
}

static struct block *carve_locked(size_t bytes)
{
	struct block *b;

	if (region_left < bytes) {
		uint8_t *more = map(REGION_BYTES);

		if (!more)
			return NULL;
		region = more;
		region_left = REGION_BYTES;
	}
	b = (void *)region;
	region += bytes;
	region_left -= bytes;
	return b;
}

static struct block *small_block(unsigned shift)
{
	struct block *b;

	pthread_mutex_lock(&mutex);
	b = free_blocks[shift];
	if (b)
		free_blocks[shift] = b->next;
	else
		b = carve_locked((size_t)1 << shift);
	if (b)
		b->n = ((size_t)1 << shift) - sizeof(*b);
	pthread_mutex_unlock(&mutex);
	return b;
}

static bool is_small(size_t n)
{
	return n + sizeof(struct block) <= (size_t)1 << SHIFT_MAX;
}

void *undumped_malloc(size_t n)
{
	struct block *b;
	size_t bytes;

	if (n > SIZE_MAX / 2)
		return NULL;
	if (is_small(n)) {
		b = small_block(shift_of(n + sizeof(*b)));
		return b ? b->p : NULL;
	}
	bytes = (n + sizeof(*b) + PAGE - 1) / PAGE * PAGE;
	b = map(bytes);
	if (!b)
		return NULL;
	b->n = bytes - sizeof(*b);
	return b->p;
}

static struct block *block_of(void *p)
{
	return container_of(p, struct block, p);
}

void undumped_free(void *p)
{
	struct block *b;
	unsigned shift;

	if (!p)
		return;
	b = block_of(p);
	if (!is_small(b->n)) {
		munmap(b, b->n + sizeof(*b));
		return;
	}
	explicit_bzero(b->p, b->n);
	shift = shift_of(b->n + sizeof(*b));
	pthread_mutex_lock(&mutex);
	b->next = free_blocks[shift];
	free_blocks[shift] = b;
	pthread_mutex_unlock(&mutex);
}

void undumped_freep(void *p)
{
	undumped_free(*(void **)p);
}

void *undumped_calloc(size_t n, size_t size)
{
	void *p;

	if (size && n > SIZE_MAX / size)
		return NULL;
	p = undumped_malloc(n * size);
	if (p)
		memset(p, 0, n * size);
	return p;
}

void *undumped_realloc(void *p, size_t n)
{
	void *bigger;

	if (p && n <= block_of(p)->n)
		return p;
	bigger = undumped_malloc(n);
	if (bigger && p) {
		memcpy(bigger, p, block_of(p)->n);
		undumped_free(p);
	}
	return bigger;
}

char *undumped_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = undumped_malloc(n);

	return p ? memcpy(p, s, n) : NULL;
}
