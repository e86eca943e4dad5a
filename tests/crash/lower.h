/* lower.h - the filesystem that a store lies on, and its loss of power: it is shut down as by a
 * power cut (the ioctl that xfstests uses: nothing more reaches the device, not even the journal),
 * unmounted and mounted again. */
#ifndef ROPEFS_TESTS_LOWER_H
#define ROPEFS_TESTS_LOWER_H

#include <stdbool.h>

/* From LOWER_DEVICE, LOWER_DIR and LOWER_TYPE in the environment; false: there is none. */
bool lower_given(void);
/* From now on each call of it fails; but a sync that is under way may succeed and have done
 * nothing, in ext4 and xfs (Linux 6.18; 3 of 60 times with a bare loop of writes and syncs): what
 * is synced while this runs counts as unsynced. False, and a sentence on standard output: not
 * possible. */
bool lower_cut(void);
/* Nobody uses it any more: it is there again, with what had reached the device. */
bool lower_back(void);

#endif
