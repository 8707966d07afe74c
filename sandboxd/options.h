/*
 * What a user may say when a sandbox is created or a port is exposed: checks
 * it and turns it into one canonical form, the "spec" that is stored, compared
 * when the same id is created again, and turned into a driver's limits.
 * Knows JSON, but no I/O and no libuv.
 *
 * POST /v1/sandbox takes (all optional; null is as good as absent):
 *
 *   id            see names.h; without it one is generated
 *   normalizeId   bool: fold uppercase in id
 *   runtime       name of one of the host's drivers
 *   image         name of a configured image, which that driver can use
 *   env           object of strings: at most 256 names of
 *                 [A-Za-z_][A-Za-z0-9_]*, 64 KiB in all; values are secrets
 *                 and never shown again
 *   labels        object of strings: at most 32, names of 1 to 63 of
 *                 [A-Za-z0-9._/-], values of 256 bytes
 *   resources     cpu (0.01 to 1024), memory and disk (bytes, or "512M",
 *                 "2G": 16 MiB to 16 TiB), pids (16 to 4194304); what the
 *                 driver can't enforce is 422 `unenforceable`, any other
 *                 member is an error
 *   network       {"outbound": ...}: see net_policy.h
 *   sleepAfter    "90s", "10m", "2h" or seconds, 1 s to 30 days
 *   keepAlive     bool
 *   ttl           like sleepAfter; counts from the creation
 *   ephemeral     bool: its files don't survive sleep
 *   activity      "traffic" or "traffic+processes": what keeps it awake
 *   containerTimeouts  instanceGetTimeoutMS (5000-300000: wait for a free
 *                 start), portReadyTimeoutMS (10000-600000: for the start
 *                 itself), waitIntervalMS (100-5000)
 *   createTimeoutMs    1000-600000, the same as portReadyTimeoutMS
 *   timeoutMs     1-86400000, recorded
 *   exposedPorts  at most 64 ports, recorded
 *   limits        of all visitors of the sandbox's exposures; see limits.h
 *   mounts        empty only (501 `unsupported`)
 *
 * Anything else is ignored and named in the warnings.
 */

#ifndef SANDBOXD_OPTIONS_H
#define SANDBOXD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/error.h"
#include "sandboxd/driver.h"
#include "sandboxd/limits.h"
#include "sandboxd/names.h"
#include "sandboxd/net_policy.h"

#define EXPOSURE_NAME_MAX    64
#define OPTIONS_IMAGE_MAX    64
#define OPTIONS_RUNTIMES_MAX  3
#define RUNTIME_OF_OLD       "oci"  /* where a record names none */

#define WAKES_DEFAULT        60     /* a minute */
#define WAKES_MAX          6000

#define HOSTNAMES_EACH       16     /* of one exposure */

#define START_TIMEOUT_MS     90000
#define QUEUE_TIMEOUT_MS     30000
#define SLEEP_AFTER          600    /* seconds */
#define ACTIVITY_PROCESSES   "traffic+processes"

/* What a driver can do. */
typedef struct {
    const char         *name;
    bool                enforces_cpu, enforces_memory, enforces_disk;
    bool                enforces_pids;
    uint64_t            memory_min, disk_min;   /* bytes */
    uint64_t            disk_limit;             /* of each, by default too; 0:
                                                   there is none */
    uint64_t            disk_max;               /* that can be; 0: any */
} options_runtime;

/* What this host can do. */
typedef struct {
    const char         *default_image;      /* NULL: none, must be named */
    const char *const  *images;
    const unsigned     *image_runtimes;     /* whose each is, as bits; NULL:
                                               the first's */
    unsigned            image_count;
    options_runtime     runtimes[OPTIONS_RUNTIMES_MAX];
    unsigned            runtime_count;      /* the first is the default */
    const net_rules    *network;            /* NULL: none */
} options_host;

typedef struct {
    char     id[ID_MAX + 1];    /* "" if one is to be generated */
    json_t  *spec;              /* canonical; owned */
    json_t  *warnings;          /* array of strings; owned */
} create_options;

/* in may be NULL: all defaults.  On error nothing is left to free. */
int create_options_parse(create_options *dst, json_t *in,
    const options_host *host, error **err);
void create_options_free(create_options *options);

/* The disk of one that has asked for none, before there is one. */
void options_disk(json_t *spec, const options_host *host);

/* Those of a fork: its id, and the rest from the spec of the sandbox that it is
 * made of. */
int fork_options_parse(create_options *dst, json_t *in, const json_t *spec,
    error **err);

/*
 * Changes options of a spec: a JSON merge patch (RFC 7386), where null brings
 * the default back.  id, normalizeId, image, runtime and mounts can't be
 * changed.  What isn't in the patch is neither checked nor changed: the host
 * may have no such image any more.  The specs that come of it are like those of
 * a creation; dst->id stays empty.
 */
int update_options_parse(create_options *dst, json_t *spec, json_t *patch,
    const options_host *host, error **err);

/*
 * What is registered of a sandbox that others run: endpoint (endpoint.h) and
 * key (32 hex digits) are required; labels, limits and ttl as above.  The spec
 * has the first two in its member "external".
 */
int external_options_parse(create_options *dst, json_t *in, error **err);

/* Changes labels, limits and ttl of such a one; 501 `unsupported` for what
 * only who runs it could change. */
int external_options_update(create_options *dst, json_t *spec, json_t *patch,
    error **err);

/* What of a stored spec the lifecycle needs. */
void spec_limits(json_t *spec, driver_limits *limits);
const char *spec_image(json_t *spec);
const char *spec_runtime(json_t *spec);
uint64_t spec_start_timeout(json_t *spec);
uint64_t spec_queue_timeout(json_t *spec);
uint64_t spec_sleep_after(json_t *spec);        /* ms; 0: never */
json_t *spec_network(json_t *spec);             /* NULL: none; borrowed */
uint64_t spec_ttl(json_t *spec);                /* ms; 0: none */
bool spec_ephemeral(json_t *spec);
bool spec_processes(json_t *spec);              /* they keep it awake */
bool spec_external(json_t *spec);               /* others run it */

typedef enum {
    ACCESS_TOKEN,
    ACCESS_PUBLIC,
    ACCESS_PRIVATE
} access_kind;

const char *access_name(access_kind access);

/* "token", "public" and "private"; -1 for anything else. */
int access_parse(const char *name);

typedef struct {
    unsigned     port;
    bool         patch;         /* of one that there is: its name stays, too */
    bool         by_admin;      /* any host name may be given */
    bool         has_name, has_access, has_host, has_wake, has_wakes;
    bool         has_hostnames;
    unsigned     hostname_count;
    const char  *hostnames[HOSTNAMES_EACH];     /* of the JSON's */
    access_kind  access;
    bool         host_public;
    bool         wake_off;
    unsigned     wakes;
    bool         rotate;
    bool         has_limits;
    traffic_limits  limits;
    char         token[TOKEN_MAX + 1];              /* "" if not given */
    char         name[EXPOSURE_NAME_MAX + 1];       /* "" if not given */
} expose_options;

/*
 * Options of an exposure beside those that docs/api.md explains: none.  wake is
 * "on" or "off", wakesPerMinute 1 to WAKES_MAX or null, hostnames at most
 * HOSTNAMES_EACH host names or null.
 */
int expose_options_parse(expose_options *dst, json_t *in, json_t *warnings,
    error **err);

/* The member "port", which has to be there. */
int options_port(unsigned *port, json_t *in, error **err);

#endif
