/*
 * How the agent was started: its arguments, and the environment where an
 * argument is not given.  Pure; reads nothing else.
 */

#ifndef AGENT_OPTIONS_H
#define AGENT_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define OPTIONS_STOP_MS      5000
#define OPTIONS_STOP_MS_MAX  600000
#define OPTIONS_REQUEST_MS   30000

typedef struct {
    int           version;          /* asked for, and nothing else */
    int           help;
    int           init;             /* as PID 1 of a virtual machine */
    int           inherit;          /* the environment, for commands too */
    int           raw_stdio;        /* of the command */
    int           listen_fd;        /* -1: none */
    int           boot_fd;
    const char   *listen;           /* NULL: none */
    const char   *key_file;
    const char   *boot_file;
    const char   *workspace;
    const char   *backups;
    const char   *log_level;        /* NULL: the default */
    const char   *log_format;
    const char   *told_version;     /* SANDBOX_VERSION */
    const char   *power;            /* how a virtual machine ends */
    uint64_t      stop_ms;          /* from SIGTERM to SIGKILL */
    uint64_t      request_ms;       /* for the head of a request */
    char        **command;          /* NULL-terminated; NULL: none */
} agent_options;

/* Pointers go into argv and env.  -1: error set. */
int options_parse(agent_options *o, char **argv, char *const *env,
    error **err);

/* Is this variable the agent's own, not to be handed on? */
int options_own_variable(const char *entry);

/* A whole number from 0 to max; -1: it is none. */
long long options_number(const char *text, long long max);

/* COMMAND_TIMEOUT_MS: 0 for unset, empty or malformed (*bad is set then). */
uint64_t options_timeout(const char *text, int *bad);

typedef enum {
    LISTEN_UNIX,
    LISTEN_VSOCK,
    LISTEN_TCP
} listen_kind;

#define LISTEN_VSOCK_HOST  2
#define LISTEN_VSOCK_MAX   0xfffffffeLL

typedef struct {
    listen_kind   kind;
    unsigned      port;
    unsigned      peer;             /* vsock: the only cid that is let in */
    int           ipv6;
    const char   *text;             /* as it was given */
    char          host[108];        /* the path, or a numeric address */
} listen_address;

/* /PATH, unix:/PATH, vsock:PORT, vsock:PORT:CID, tcp:ADDRESS:PORT,
 * tcp:[ADDRESS]:PORT. */
int options_listen(const char *text, listen_address *a, error **err);

#endif
