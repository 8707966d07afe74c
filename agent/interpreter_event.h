/*
 * What an executor tells the agent: `length (4 bytes, little-endian), type (1
 * byte), payload`.  A cell can write to that descriptor as well as the
 * executor can: every byte is checked, every length is bounded.  Knows neither
 * the loop nor HTTP; fuzzed.
 */

#ifndef AGENT_INTERPRETER_EVENT_H
#define AGENT_INTERPRETER_EVENT_H

#include <stddef.h>
#include <stdint.h>

#define INTERPRETER_EVENT_HEAD   5
#define INTERPRETER_EVENT_MAX    (16 * 1024 * 1024)
#define INTERPRETER_ERROR_MAX    (4 * 1024 * 1024)
#define INTERPRETER_PROBLEM_MAX  512
#define INTERPRETER_JSON_DEPTH   8192

typedef enum {
    INTERPRETER_READY = 'r',        /* it takes requests */
    INTERPRETER_RENEWED = 'n',      /* it has taken what is different, or why
                                     * not */
    INTERPRETER_OPENED = 'c',       /* the context is set up, or why not */
    INTERPRETER_RESULT = 'd',       /* the members of a result, as an object */
    INTERPRETER_ERROR = 'e',        /* those of an error */
    INTERPRETER_DONE = 'z'          /* the run of this number is over */
} interpreter_event_type;

typedef struct {
    interpreter_event_type  type;
    const char             *p;
    size_t                  len;
    uint32_t                run;    /* of DONE */
} interpreter_event;

/* Returns how many of n bytes the first event takes, 0 if it isn't complete,
 * -1 if it is none. */
long interpreter_event_parse(const char *p, size_t n, interpreter_event *ev);

/* Is it one JSON object, without control characters between its tokens, so
 * that it fits on a line? */
int interpreter_json_valid(const char *p, size_t n);

#endif
