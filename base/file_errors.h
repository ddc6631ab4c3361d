/* Private to base: what the system's error numbers become. */
#ifndef SLUICE_FILE_ERRORS_H
#define SLUICE_FILE_ERRORS_H

#include "base/base.h"

/* "PATH: cannot DOING: reason". A full disk is SLUICE_FULL, anything else SLUICE_IO. */
sluice_status file_fail(struct sluice_error *err, int number, const char *path, const char *doing);
/* The same for what is read: a path that is wrong (absent, a folder, not permitted) is SLUICE_USAGE, because the same
 * command will fail again; SLUICE_IO is left for a disk that may answer next time. */
sluice_status file_fail_read(struct sluice_error *err, int number, const char *path, const char *doing);

#endif
