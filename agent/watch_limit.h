/* The kernel's limits of inotify, as a client is told of them. */

#ifndef AGENT_WATCH_LIMIT_H
#define AGENT_WATCH_LIMIT_H

#include "common/error.h"

/* There is a limit of the machine, and one of our user namespace: "<what>:
 * <name> is <n>". */
void watch_limit_set(error **err, const char *what, const char *machine,
    const char *ours);

#endif
