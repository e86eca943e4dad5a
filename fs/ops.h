/* ops.h - the requests of the kernel, by who owns the node: files of the store (ops_*.c),
 * views (view_ops.c), .ropefs/ (dotdir.c). ops.c counts each and hands it on. */
#ifndef ROPEFS_FS_OPS_H
#define ROPEFS_FS_OPS_H

#include "fs/daemon.h"

/* What libfuse calls. */
extern const struct fuse_lowlevel_ops fs_ops;

extern const struct fuse_lowlevel_ops view_ops;
extern const struct fuse_lowlevel_ops dot_ops;

/* Files of the store. Names: ops_name.c. */
/* -EPERM for a name of ours: .ropefs, and what shows a view now. */
int name_is_theirs(fuse_req_t req, fuse_ino_t parent, const char *name);
/* -EPERM for a name that must not be made: .snap besides. */
int name_is_free(fuse_req_t req, fuse_ino_t parent, const char *name);
void file_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void file_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		dev_t dev);
void file_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void file_symlink(fuse_req_t req, const char *to, fuse_ino_t parent, const char *name);
void file_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void file_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void file_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void file_rename(fuse_req_t req, fuse_ino_t from, const char *name, fuse_ino_t to,
		 const char *to_name, unsigned flags);
void file_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		 struct fuse_file_info *fi);
void file_readlink(fuse_req_t req, fuse_ino_t ino);
/* Attributes: ops_attr.c. */
void file_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what,
		  struct fuse_file_info *fi);
void file_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n);
/* Any xattr, known or not. */
void reply_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n);
void file_listxattr(fuse_req_t req, fuse_ino_t ino, size_t n);
void file_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		   size_t n, int flags);
void file_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void file_statfs(fuse_req_t req, fuse_ino_t ino);
/* Directories: ops_dir.c. */
void file_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		  struct fuse_file_info *fi);
void file_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi);
/* Bytes: ops_file.c. */
/* Fills in the handle. */
void file_opened(fuse_req_t req, struct fuse_file_info *fi, bool is_queue);
/* It is open, or no longer (-1): as inodes_writers(). */
void file_counted(struct daemon *d, fuse_ino_t ino, const struct fuse_file_info *fi,
		  int change);
/* Of a handle just filled in: it may be for copying (copies.h). */
void copies_note(struct daemon *d, pid_t pid, fuse_ino_t ino, struct fuse_file_info *fi);
void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* A program that runs, or an open file of a snapshot, of a daemon before (KEPT_HELD). */
int file_restore(struct daemon *d, const struct kept_file *k);
void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	       struct fuse_file_info *fi);
void file_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		struct fuse_file_info *fi);
void file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void file_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		struct fuse_file_info *fi);
void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t n,
		    struct fuse_file_info *fi);
/* Any pair of files, views too. */
void any_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t off,
			 struct fuse_file_info *fi, fuse_ino_t to_ino, off_t to_off,
			 struct fuse_file_info *to_fi, size_t n, int flags);
/* ops_ioctl.c */
void file_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		struct fuse_file_info *fi, unsigned flags, const void *in, size_t n_in,
		size_t n_out);

/* Sends what ropefs_read() gave, or the error r. */
void reply_read(fuse_req_t req, const void *p, int64_t r);
/* A buffer of the calling loop or worker, of ROPEFS_WRITE_MAX bytes. NULL: no memory. */
void *loop_buffer(void);
/* Answers a POLL of what never lets wait. */
void poll_always(fuse_req_t req, struct fuse_pollhandle *ph);
/* For far_run(): t->n bytes of the file t->ino from t->off on. */
void file_read_far(struct task *t);
/* Answers when all that was changed so far is durable; frees t. */
void task_sync(struct task *t);
/* A write of the file was answered by this loop: which syncs, if that is what comes next. */
void write_answered(struct daemon *d, fuse_ino_t ino);

#endif
