/* dotdir.h - .ropefs/ at the root: what the mount says about itself, as files. Hidden from
 * listings; their text is made when they are opened. */
#ifndef ROPEFS_FS_DOTDIR_H
#define ROPEFS_FS_DOTDIR_H

#include <fuse_lowlevel.h>

struct daemon;
struct kept_file;

#define DOT_NAME  ".ropefs"
#define DOT_SIZES (DOT_FIRST + 1) /* the directory of sizes.h */

void dot_entry(struct daemon *d, struct fuse_entry_param *ret);
/* A text that was open in the daemon before. */
int dot_text_restore(struct daemon *d, const struct kept_file *k);
/* The session has ended: frees what is still open. */
void dot_end(void);

#endif
