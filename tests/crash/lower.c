#include "tests/crash/lower.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define SHUTDOWN       _IOR('X', 125, uint32_t) /* ext4, xfs, f2fs */
#define WITHOUT_LOG    2u
#define UNMOUNT_TRIES  600
#define UNMOUNT_NAP_NS 50000000

bool lower_given(void)
{
	return getenv("LOWER_DEVICE") && getenv("LOWER_DIR") && getenv("LOWER_TYPE");
}

static bool failed(const char *what)
{
	printf("%s (%s): %s: %s\n", getenv("LOWER_DIR"), getenv("LOWER_TYPE"), what,
	       strerror(errno));
	return false;
}

bool lower_cut(void)
{
	uint32_t how = WITHOUT_LOG;
	int fd = open(getenv("LOWER_DIR"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -1 : ioctl(fd, SHUTDOWN, &how);

	if (fd >= 0)
		close(fd);
	return r < 0 ? failed("shutting it down") : true;
}

bool lower_back(void)
{
	const char *dir = getenv("LOWER_DIR");
	struct timespec nap = { 0, UNMOUNT_NAP_NS };
	int r = umount2(dir, 0);

	for (int i = 0; r < 0 && errno == EBUSY && i < UNMOUNT_TRIES; i++) {
		nanosleep(&nap, NULL);
		r = umount2(dir, 0);
	}
	if (r < 0)
		return failed("unmounting it");
	r = mount(getenv("LOWER_DEVICE"), dir, getenv("LOWER_TYPE"), 0, NULL);
	return r < 0 ? failed("mounting it again") : true;
}
