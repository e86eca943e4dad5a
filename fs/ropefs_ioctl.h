/* ropefs_ioctl.h - edits of an open file through ioctl(2), for C programs on a mount.
 *
 * The descriptor must be open for writing (EBADF). An edit is one atomic step; when the call
 * has returned every other reader sees it. `at` (and `at + cut`) must lie within the file:
 * ERANGE. The number carries the payload's size, so that little is copied for little:
 *
 *	struct ropefs_ioc_edit *e = malloc(sizeof(*e) + n);
 *	*e = (struct ropefs_ioc_edit){ .at = at, .n = n };
 *	memcpy(e->data, bytes, n);
 *	r = ioctl(fd, ROPEFS_IOC_INSERT(n), e);
 *
 * More than ROPEFS_IOC_DATA_MAX bytes go through a view (docs/VIEWS.md). */
#ifndef ROPEFS_IOCTL_H
#define ROPEFS_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define ROPEFS_IOC_DATA_MAX 16000 /* the kernel takes 16,383 bytes with the head */

struct ropefs_ioc_edit {
	uint64_t at; /* bytes from the start of the file */
	uint64_t cut; /* bytes taken out at `at`; 0 for INSERT */
	uint32_t n; /* bytes of data put there; 0 for CUT */
	uint32_t reserved; /* 0 */
	uint8_t data[];
};

enum {
	ROPEFS_IOC_NR_INSERT = 1,
	ROPEFS_IOC_NR_CUT = 2,
	ROPEFS_IOC_NR_REPLACE = 3,
};

#define ROPEFS_IOC_TYPE 'R'
#define ROPEFS_IOC(nr, n)                                                                \
	_IOC(_IOC_WRITE, ROPEFS_IOC_TYPE, (nr), sizeof(struct ropefs_ioc_edit) + (n))
#define ROPEFS_IOC_INSERT(n)  ROPEFS_IOC(ROPEFS_IOC_NR_INSERT, n)
#define ROPEFS_IOC_CUT	      ROPEFS_IOC(ROPEFS_IOC_NR_CUT, 0)
#define ROPEFS_IOC_REPLACE(n) ROPEFS_IOC(ROPEFS_IOC_NR_REPLACE, n)

#endif
