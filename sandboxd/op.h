/*
 * What a worker asks for: one frame's JSON object turned into a checked
 * struct.  Pure: no I/O, no libuv, no records.  docs/protocol.md, section 1,
 * says what each operation means.
 */

#ifndef SANDBOXD_OP_H
#define SANDBOXD_OP_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/error.h"
#include "common/frame.h"
#include "sandboxd/names.h"

#define OP_ZONE_LEN        32
#define OP_LIST_MAX       500
#define OP_SLOTS_MAX      500
#define OP_MATCH_MAX     1024
#define OP_KEY_NAME_MAX   160
#define OP_LIMIT_MAX  1000000

typedef enum {
    OP_HELLO,
    OP_SYNC,
    OP_RESOLVE,
    OP_CREATE,
    OP_FORK,
    OP_GET,
    OP_LIST,
    OP_START,
    OP_DESTROY,
    OP_EXPOSE,
    OP_UNEXPOSE,
    OP_PORTS,
    OP_POOL_STATS,
    OP_POOL_PRIME,
    OP_POOL_SHUTDOWN,
    OP_STATS,
    OP_EVENTS,
    OP_HEALTH,
    OP_METRICS,
    OP_TENANT,
    OP_DOMAINS,
    OP_DOMAIN_PUT,
    OP_DOMAIN_DELETE,
    OP_ACK,
    OP_IDLE,
    OP_UPDATE,
    OP_ENV,
    OP_SLEEP,
    OP_WAKE,
    OP_EXTERNAL
} op_kind;

/* For whom a worker asks, and what that client may. */
typedef struct {
    const char  *tenant;                /* "": the default one */
    const char  *key;                   /* for the log only */
    bool         create;                /* by its first use, too */
    unsigned     sandboxes;             /* of the tenant; 0: no limit */
    unsigned     starts;                /* a minute; 0: no limit */
} op_caller;

/* Which members are set depends on the kind; pointers are the frame's. */
typedef struct {
    op_kind      kind;
    json_int_t   id;                    /* 0: not given */
    char         sandbox[QUALIFIED_MAX + 1];    /* "" if not given (resolve) */
    op_caller    caller;                /* create, start, list, tenant */
    const char  *label;                 /* resolve: or a host name; or NULL */
    char         domain[DOMAIN_MAX + 2];    /* domain_*: behind a dot */
    bool         admin;                 /* expose: any host name */
    json_t      *options;               /* create, fork, expose, update, env,
                                           external; NULL if none */
    const char  *match;                 /* update, env, destroy, external;
                                           or NULL */
    const char  *idempotency;           /* create, fork: a key; or NULL */
    json_t      *labels;                /* list: name to value or null */
    unsigned     states;                /* list: bits; 0: all */
    uint64_t     seq;                   /* hello, sync (from), ack, idle,
                                         * events */
    bool         since;                 /* events: seq was given */
    json_t      *slots;                 /* idle: array */
    bool         full;                  /* sync */
    bool         all;                   /* ack */
    bool         create;                /* start */
    bool         preview;               /* start */
    bool         wake;                  /* start: what doesn't run, too */
    uint32_t     tried;                 /* start: the run that gave no answer */
    bool         patch;                 /* expose: only one that there is */
    uint64_t     cursor;                /* list: born above */
    unsigned     limit;                 /* list */
    bool         everybody;             /* list: of all tenants; domain_put:
                                         * for all of them, not the caller's */
    unsigned     port;                  /* unexpose; start: of the preview,
                                         * or 0 */
    int          version;               /* hello */
    long         pid;                   /* hello, for the log only */
    const char  *nonce;                 /* hello, FRAME_NONCE_LEN hex */
    const char  *zone;                  /* hello, OP_ZONE_LEN hex */
    const char  *proof;                 /* hello */
} op;

typedef enum {
    OP_OK,
    OP_BAD,                     /* answer id with the error */
    OP_BROKEN                   /* not the protocol: close the connection */
} op_result;

op_result op_parse(op *dst, json_t *frame, error **err);

/* The frame's text as an object, without duplicate members; or NULL. */
json_t *op_read(const char *text, size_t len);

#endif
