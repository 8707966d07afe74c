/* Limits of inotify; see watch_limit.h. */

#include <inttypes.h>
#include <stdio.h>

#include "agent/watch_limit.h"
#include "common/small_file.h"


void
watch_limit_set(error **err, const char *what, const char *machine,
    const char *ours)
{
    char     path[64];
    int64_t  a, b;

    snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", machine);
    (void) small_file_number(path, &a);
    snprintf(path, sizeof(path), "/proc/sys/user/%s", ours);
    (void) small_file_number(path, &b);

    if (b > 0 && b < a) {
        error_set(err, 500, "WATCH_START_ERROR", "%s: user.%s is %" PRId64,
                  what, ours, b);
    } else {
        error_set(err, 500, "WATCH_START_ERROR", "%s: fs.inotify.%s is %"
                  PRId64 ", for all who share it", what, machine, a);
    }
}
