#include "fs/background.h"

#include "fs/report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

void notify_init(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

void leave_terminal(void)
{
	int null;

	report_to_syslog();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	if (chdir("/") < 0)
		report("/: %s", strerror(errno));
}

void go_to_background(int ready_fd)
{
	const char ready = 0;

	if (ready_fd < 0)
		return;
	leave_terminal();
	if (write(ready_fd, &ready, 1) != 1)
		report("the program that started me has ended");
	close(ready_fd);
}
