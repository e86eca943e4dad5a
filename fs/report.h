/* report.h - sentences for people: on stderr in front, in syslog once in the background. */
#ifndef ROPEFS_FS_REPORT_H
#define ROPEFS_FS_REPORT_H

__attribute__((format(printf, 1, 2))) void report(const char *fmt, ...);
/* "WHAT: SENTENCE", or the sentence alone when it begins with what it is about. */
void report_about(const char *what, const char *sentence);
/* A mount whose daemon has died, and how to be rid of it. */
void report_dead_mount(const char *path);
void report_to_syslog(void);
/* Takes libfuse's messages over: keeps the last one, and reports those that come after
 * report_fuse_live(). */
void report_fuse(void);
void report_fuse_live(void);
/* Keeps the first line of text as if libfuse had said it. */
void report_fuse_keep(const char *text);
/* The last message of libfuse, one line without its end; "" when none. */
const char *report_fuse_last(void);

#endif
