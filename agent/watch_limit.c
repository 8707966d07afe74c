/* Limits of inotify; see watch_limit.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/watch_limit.h"


/* A number below /proc/sys; 0 if there is none. */

static long
watch_limit_read(const char *path)
{
    int      fd;
    char     text[32];
    ssize_t  n;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return 0;
    }

    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0) {
        return 0;
    }

    text[n] = '\0';

    return strtol(text, NULL, 10);
}


void
watch_limit_set(error **err, const char *what, const char *machine,
    const char *ours)
{
    long  a, b;
    char  path[64];

    snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", machine);
    a = watch_limit_read(path);
    snprintf(path, sizeof(path), "/proc/sys/user/%s", ours);
    b = watch_limit_read(path);

    if (b > 0 && b < a) {
        error_set(err, 500, "WATCH_START_ERROR", "%s: user.%s is %ld", what,
                  ours, b);
    } else {
        error_set(err, 500, "WATCH_START_ERROR", "%s: fs.inotify.%s is %ld, "
                  "for all who share it", what, machine, a);
    }
}
