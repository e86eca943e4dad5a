/* credentials.h - who we are to a bucket: from a file of the AWS tools, the environment or a
 * prompt, never from argv. */
#ifndef ROPEFS_MOUNTCTL_CREDENTIALS_H
#define ROPEFS_MOUNTCTL_CREDENTIALS_H

struct credentials {
	char *access_key, *secret_key, *session_token; /* NULL: not known */
};

struct credentials_source {
	const char *file; /* NULL: the usual places */
	const char *profile; /* section of a file; NULL: $AWS_PROFILE, or the usual one */
};

/* An exit status, told why when it is not 0. */
int credentials_find(const struct credentials_source *from, struct credentials *ret);
void credentials_release(struct credentials *c);

#endif
