/* edit_words.h - places and ranges as the verbs that edit take them: the words of a view's bytes=
 * selector, so that there is one grammar. */
#ifndef ROPEFS_MOUNTCTL_EDIT_WORDS_H
#define ROPEFS_MOUNTCTL_EDIT_WORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/ropefs.h"

struct range {
	uint64_t from, to;
};

/* "100..140", "4K..", "..1M", "-10..". */
bool parse_range(const char *words, struct ropefs_view *ret);
/* "100", "4K", "-10": the place before a byte is the range from it to itself. */
bool parse_place(const char *words, struct ropefs_view *ret);
/* In a file of `size` bytes. name and words are what the user wrote, for the message. */
int resolve_range(const char *name, const char *words, const struct ropefs_view *view,
		  uint64_t size, struct range *ret);

/* Reads until p is full or the input ends; the count, or a negative errno (-EINTR when a
 * signal came). */
ssize_t read_full(int fd, uint8_t *p, size_t n);

#endif
