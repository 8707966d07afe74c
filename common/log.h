/*
 * One line per event on standard error: time, level, text.  A line is written
 * with one write(), so that lines of several processes don't mix, and holds no
 * control characters, so that nothing a guest names can forge another line.
 */

#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

typedef enum {
    LOG_ERROR,              /* something was lost or can't go on */
    LOG_WARN,               /* handled, but an operator should look */
    LOG_INFO,               /* starts, stops, changes of state */
    LOG_DEBUG               /* each step */
} log_level;

/* Lines below this level are dropped; LOG_INFO at first. */
void log_set_level(log_level level);

/* The level of a name ("error", "warn", "info", "debug"); false if unknown. */
bool log_level_parse(const char *name, log_level *level);

bool log_enabled(log_level level);

/* One JSON object per line instead of text. */
void log_set_json(bool json);

void log_line(log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...)  log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)   log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                       \
    do {                                                                     \
        if (log_enabled(LOG_DEBUG)) {                                        \
            log_line(LOG_DEBUG, __VA_ARGS__);                                \
        }                                                                    \
    } while (0)

#endif
