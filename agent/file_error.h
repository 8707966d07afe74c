/*
 * Failures of the file system as errors of the API: which code and status an
 * errno has, and what it says.  Pure; used from any thread.
 */

#ifndef AGENT_FILE_ERROR_H
#define AGENT_FILE_ERROR_H

#include <errno.h>

#include "common/error.h"

/* What our own functions set errno to where the kernel has no word for it. */
#define FILE_E_OUTSIDE      EXDEV       /* leads out of its root */
#define FILE_E_NOT_REGULAR  ENXIO       /* a FIFO, a socket or a device */

const char *file_error_text(int errnum);

/* Sets *err with the errno's code and status and the message
 * "<what>: <text of the errno>"; returns -1. */
int file_error_set(error **err, int errnum, const char *what, ...)
    __attribute__((format(printf, 3, 4)));

#endif
