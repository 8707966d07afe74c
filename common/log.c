/* The log; see log.h. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/json_text.h"
#include "common/log.h"

#define LOG_LINE  2048


static log_level          threshold = LOG_INFO;
static bool               as_json;

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


void
log_set_json(bool json)
{
    as_json = json;
}


bool
log_enabled(log_level level)
{
    return level <= threshold;
}


static size_t
log_text(char *line, const char *ts, log_level level, const char *message)
{
    char  *p;
    int    n;

    n = snprintf(line, LOG_LINE - 1, "%s %s: %s", ts, names[level], message);
    if (n > LOG_LINE - 2) {
        n = LOG_LINE - 2;
    }

    for (p = line; p < line + n; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }

    return (size_t) n;
}


static size_t
log_json(char *line, const char *ts, log_level level, const char *message)
{
    size_t  n, used;

    n = (size_t) snprintf(line, LOG_LINE, "{\"timestamp\":\"%s\","
                          "\"level\":\"%s\",\"message\":\"", ts,
                          names[level]);
    n += json_text_escape(line + n, LOG_LINE - n - 3, message,
                          strlen(message), &used, true);
    memcpy(line + n, "\"}", 2);

    return n + 2;
}


void
log_line(log_level level, const char *fmt, ...)
{
    char             line[LOG_LINE], message[LOG_LINE], ts[32];
    size_t           n;
    va_list          args;
    ssize_t          unused;
    struct tm        tm;
    struct timespec  now;

    if (!log_enabled(level)) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);

    n = strftime(ts, sizeof(ts), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ts + n, sizeof(ts) - n, ".%03ldZ", now.tv_nsec / 1000000);

    va_start(args, fmt);
    if (vsnprintf(message, sizeof(message), fmt, args) < 0) {
        message[0] = '\0';
    }
    va_end(args);

    n = as_json ? log_json(line, ts, level, message)
                : log_text(line, ts, level, message);
    line[n] = '\n';

    unused = write(STDERR_FILENO, line, n + 1);
    (void) unused;
}
