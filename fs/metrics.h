/* metrics.h - the texts of .ropefs/status (JSON) and .ropefs/metrics (Prometheus). */
#ifndef ROPEFS_FS_METRICS_H
#define ROPEFS_FS_METRICS_H

#include "fs/daemon.h"

/* Each makes one text, the caller's to free. */
int status_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n);
int metrics_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n);

#endif
