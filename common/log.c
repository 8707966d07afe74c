/* The log; see log.h. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

#define LOG_LINE  2048


static log_level          threshold = LOG_INFO;

static const char *const  names[] = { "error", "warn", "info", "debug" };


void
log_set_level(log_level level)
{
    threshold = level;
}


bool
log_level_parse(const char *name, log_level *level)
{
    size_t  i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *level = (log_level) i;
            return true;
        }
    }

    return false;
}


bool
log_enabled(log_level level)
{
    return level <= threshold;
}


void
log_line(log_level level, const char *fmt, ...)
{
    int              n, len;
    char             line[LOG_LINE];
    va_list          args;
    ssize_t          unused;
    struct tm        tm;
    struct timespec  now;

    if (!log_enabled(level)) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);

    len = (int) strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    len += snprintf(line + len, sizeof(line) - (size_t) len, ".%03ldZ %s: ",
                    now.tv_nsec / 1000000, names[level]);

    va_start(args, fmt);
    n = vsnprintf(line + len, sizeof(line) - (size_t) len - 1, fmt, args);
    va_end(args);

    if (n < 0) {
        return;
    }

    n += len;
    if (n > LOG_LINE - 2) {
        n = LOG_LINE - 2;
    }

    for (; len < n; len++) {
        if ((unsigned char) line[len] < 0x20 || line[len] == 0x7f) {
            line[len] = '?';
        }
    }

    line[n] = '\n';

    unused = write(STDERR_FILENO, line, (size_t) n + 1);
    (void) unused;
}
