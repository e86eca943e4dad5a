/* background.h - leaving the terminal, and words for who started us. */
#ifndef ROPEFS_FS_BACKGROUND_H
#define ROPEFS_FS_BACKGROUND_H

/* Tells the program that waits at ready_fd, and lets go of its terminal. -1: stays in front. */
void go_to_background(int ready_fd);
/* Lets go of it without telling. */
void leave_terminal(void);
/* sd_notify(), where systemd is. */
void notify_init(const char *state);

#endif
