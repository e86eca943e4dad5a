/* stream.h - what an open stream reads next (view_stream.h): its position, in one file or in
 * several that had its name one after another, and the text made of records. */
#ifndef ROPEFS_FS_STREAM_H
#define ROPEFS_FS_STREAM_H

#include "fs/daemon.h"
#include "fs/kept.h"
#include "fs/names.h"
#include "fs/reply.h"

/* Files read at once: the one that has the name, and those that had it. */
enum { PLACES = 5 };

/* How far one file has been read. */
struct place {
	uint64_t ino;
	uint64_t age; /* rises with each file that is met; 0: none */
	uint64_t next; /* id, of a queue */
	uint64_t at; /* in a rope */
	uint32_t resets;
	bool is_queue, lines;
};

/* All that the next daemon must know to go on at the very next byte. */
struct position {
	struct place places[PLACES];
	uint64_t end; /* id */
	uint64_t given; /* bytes, of a stream that ends */
	uint64_t delivered; /* id: all records before it were given out whole */
	uint64_t
		text_from; /* id; the text at hand is that of the records from here to next */
	uint32_t text_at; /* bytes of it given */
	uint8_t now, reading; /* places: of the newest file; of the text at hand */
	bool text; /* is there one? */
};
KEPT_SIZE(struct position, 240);

struct stream {
	struct source source; /* first: they are one */
	struct kept kept;
	struct follower files[PLACES], dir_entry;
	struct name_watch name; /* whose files come next */
	struct noted noted; /* of name, without a row */
	struct view view;
	struct caller caller; /* who opened it */
	bool closed, follow;
	/* All below: under the source's mutex. */
	struct position p, was; /* was: as of the last reply */
	bool remake; /* the text at hand has to be made once more */
	uint64_t from; /* id */
	struct said {
		uint64_t ino, read_to;
	} said; /* of the last reply, for who asks meanwhile; guarded by said_mutex, a leaf */
	pthread_mutex_t said_mutex;
	uint64_t step;
	struct ropefs_text out;
	uint8_t *scratch; /* ROPEFS_WRITE_MAX bytes, or NULL */
};

/* The newest file: the one that had the name last, as far as this has come. */
static inline struct place *stream_now(struct stream *s)
{
	return &s->p.places[s->p.now];
}

/* Of struct source; with its mutex held, as all below. */
ssize_t stream_fill(struct source *source, void *p, size_t n, bool nowait);
bool stream_ready(struct source *source);
void stream_giving(struct source *source, uint64_t unique);
/* The position is `was` now. */
void stream_say_place(struct stream *s);
/* What is left of the text at hand is not given out. */
void stream_text_end(struct stream *s);
void stream_say(struct stream *s, const char *text);

#endif
