/* credentials.h - who we are to a bucket: what libropefs finds, or a prompt, never argv. */
#ifndef ROPEFS_MOUNTCTL_CREDENTIALS_H
#define ROPEFS_MOUNTCTL_CREDENTIALS_H

#include "core/ropefs.h"

/* An exit status, told why when it is not 0. */
int credentials_find(const struct ropefs_credentials_source *from,
		     struct ropefs_credentials *ret);

#endif
