/* json.h - the few pieces of JSON that the engine writes itself, a line at a time. */
#ifndef ROPEFS_BASE_JSON_H
#define ROPEFS_BASE_JSON_H

#include "core/base/buf.h"

/* Whole UTF-8, without surrogates and overlong forms. */
bool utf8_valid(struct span s);
/* "s", quoted and escaped; what is not UTF-8 becomes U+FFFD. -ENOMEM. */
int json_add_string(struct buf *b, struct span s);
/* "s" in base64 with padding (RFC 4648), quoted. */
int json_add_base64(struct buf *b, struct span s);
int buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

#endif
