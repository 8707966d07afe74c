/*
 * The image "host": a sandbox that sees the programs of this machine and
 * nothing else of it.  It is an allow-list: /usr itself, read-only, and a
 * skeleton that is written afresh by the function below, in which only the
 * named public files of the host's /etc are copied.  For development, since
 * programs inside change when the host's do.
 */

#ifndef SANDBOXD_IMAGE_HOST_H
#define SANDBOXD_IMAGE_HOST_H

#include <sys/types.h>

#include "common/error.h"

/* Fills the empty directory, all of it owned by uid and gid (which are the
 * root of a sandbox).  usr/ is left empty for the mount. */
int image_host_build(const char *dir, uid_t uid, gid_t gid, error **err);

#endif
