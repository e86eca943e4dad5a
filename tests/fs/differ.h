/* differ.h - what differ.c shows of files. Everything as root. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef void differ_note_fn(const char *format, ...);

uint32_t differ_hash(const void *p, size_t n);

/* Names and kinds of an open folder, which it closes, in their order. */
void differ_list(int dir, differ_note_fn *note);

/* Walks data and holes of an open file: 0, the errno that the first step gave, or EBADMSG if a
 * hole has bytes or the answers contradict each other. */
int differ_holes(int fd, off_t from);

/* All below /: kinds, modes, owners, links, bytes, xattrs, one line each, to stdout. */
void differ_tree(void);

/* The times of all below /, and which of them have changed since; that releases it. */
struct differ_times *differ_times_new(void);
struct differ_times *differ_times_changed(struct differ_times *t, differ_note_fn *note);
