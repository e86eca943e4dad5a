/* err.h - every function returns 0 or a negative int: an errno of the system, or one of
 * the codes below. A code of ours is thrown with err_set(), which also keeps a
 * sentence that says what and where; err_errno() maps it where the outside wants an errno.
 * Sentences never hold keys or file contents. */
#ifndef ROPEFS_BASE_ERR_H
#define ROPEFS_BASE_ERR_H

#include "core/base/util.h"

/* X(name, code, errno for the outside, exit status of the tools, sentence) */
#define ERR_LIST(X)                                                                      \
	X(E_WRONG_KEY, 10001, EACCES, 3, "the key does not open this store")             \
	X(E_IN_USE, 10002, EBUSY, 4, "another process has the store open")               \
	X(E_CORRUPT, 10003, EIO, 5, "bytes read do not verify")                          \
	X(E_NOT_STORE, 10004, EINVAL, 6, "this is not a ropefs store")                   \
	X(E_NEWER, 10005, EPROTONOSUPPORT, 7, "written by a newer version of ropefs")    \
	X(E_KEY_FILE, 10006, EACCES, 3, "the key file is missing, unreadable or unsafe") \
	X(E_READ_ONLY, 10007, EROFS, 1, "the store is read-only")                        \
	X(E_LOG_FAILED, 10008, EIO, 1, "the log could not be made durable")              \
	X(E_CIPHER, 10009, EOPNOTSUPP, 1, "this CPU does not have the cipher")           \
	X(E_REMOTE, 10040, EOPNOTSUPP, 1, "the object store can't be used so")           \
	X(E_REMOTE_AWAY, 10041, EIO, 1, "the object store does not answer now")          \
	X(E_REMOTE_DENIED, 10042, EACCES, 1, "the object store refuses the credentials") \
	X(E_REMOTE_FULL, 10046, ENOSPC, 1, "the object store has no room")               \
	X(E_FENCED, 10043, EROFS, 1, "another writer has taken the bucket over")         \
	X(E_LOST, 10045, EIO, 1, "the bytes are neither here nor in the bucket")         \
	X(E_TRIMMED, 10011, ERANGE, 1, "what was asked for has been trimmed")            \
	X(E_CONFLICT, 10010, EBUSY, 8, "somebody else changed the file meanwhile")

enum err_code {
#define X(name, code, os, status, text) name = code,
	ERR_LIST(X)
#undef X
};

/* Keeps the sentence for this thread and returns -code (code may be an errno too). In two
 * parts so that callers see the sign: else compilers take what is not filled in after an
 * error for used. */
#define err_set(code, ...) err_negative(err_keep(code, __VA_ARGS__))
int err_keep(int code, const char *fmt, ...) _printf_(2, 3);
static inline int err_negative(int r)
{
	if (r >= 0)
		__builtin_unreachable();
	return r;
}
/* The sentence kept last by this thread, or "" ; valid until the next err_set(). */
const char *err_detail(void);
void err_clear(void);

/* All take the negative value a function returned. */
bool err_has_words(int r); /* the sentence kept last is of that code */
/* That sentence, else the code's general one: one of another failure, which was got over, says
 * nothing of this one. */
const char *err_words(int r);
/* Before r is given to a caller outside, who takes the sentence kept last for its: forgets another
 * one's. */
void err_settle(int r);
int err_errno(int r); /* positive errno for the outside */
int err_exit_status(int r); /* of the tools: 0 done, 1 failed, 3 and up as listed */
const char *err_text(int r); /* the code's general sentence */

#endif
