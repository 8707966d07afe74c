/*
 * What a driver is: the code that turns a record into a running sandbox.
 *
 * The lifecycle calls a driver from the event loop's thread only, one
 * operation at a time per sandbox; a driver answers through the callback, on
 * the same thread, exactly once, and never before the call has returned.
 * Nothing here knows of records, HTTP or zones.
 */

#ifndef SANDBOXD_DRIVER_H
#define SANDBOXD_DRIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>
#include <uv.h>

#include "common/error.h"
#include "sandboxd/endpoint.h"
#include "sandboxd/machine_config.h"

#define DRIVER_PROCESS_MAX  32
#define DRIVER_DISK_MAX     (16ull << 40)   /* more can't be asked for */

typedef struct driver       driver;
typedef struct driver_host  driver_host;

/* What can be asked of a sandbox.  0 means "not asked for". */
typedef struct {
    double    cpu;              /* processors, 0.01 to 1024 */
    uint64_t  memory;           /* bytes */
    uint64_t  disk;             /* bytes of the writable layer */
    uint32_t  pids;             /* processes and threads */
} driver_limits;

/* One sandbox as a driver sees it; owned by the caller, valid until the
 * operation's callback has run. */
typedef struct {
    const char    *id;          /* the sandbox's name, for hostname and logs */
    uint32_t       slot;        /* names its directory and its socket */
    uint32_t       epoch;       /* of this run */
    const char    *key;         /* 32 hex digits, of this run */
    const char    *image;       /* "host", or the name of a configured one */
    json_t        *env;         /* object of strings; borrowed */
    driver_limits  limits;      /* asked for explicitly: enforce or fail */
    driver_limits  defaults;    /* enforce where possible */
    bool           first;       /* nobody has run in it: files that its slot has
                                   were prepared, or are of a start that
                                   failed */
    const endpoint  *endpoint;  /* of one that others run; else NULL */
} driver_spec;

/* What is needed to find a running sandbox again after sandboxd restarted.
 * Opaque to the lifecycle, which keeps it in the record. */
typedef struct {
    pid_t     pid;              /* the sandbox's PID 1, in our namespace */
    uint64_t  start_time;       /* field 22 of /proc/<pid>/stat */
    bool      forgot;           /* of a start: it has begun anew, without the
                                   memory that was kept of it */
} driver_handle;

/* err is NULL on success; it is the callee's to free otherwise. */
typedef void (*driver_started)(void *data, const driver_handle *handle,
    error *err);
typedef void (*driver_done)(void *data, error *err);

/* memory: processes go on when it is started again. */
typedef void (*driver_slept)(void *data, bool memory, error *err);

/* What a sandbox uses; a member is -1 where this host doesn't tell. */
typedef struct {
    bool      running;          /* the rest but the disk is about a run */
    int64_t   cpu_ns;           /* used, in all */
    int64_t   throttled_ns;     /* wanted, but kept from */
    int64_t   throttled;        /* periods in which it was */
    int64_t   memory;           /* bytes, with the page cache */
    int64_t   memory_peak;
    int64_t   memory_limit;
    int64_t   oom_kills;
    int64_t   pids;
    int64_t   pids_limit;
    int64_t   disk;             /* bytes of the writable layer, */
    int64_t   disk_at;          /* at this time (ms since 1970), */
    bool      disk_partial;     /* or more: nobody counted on */
    int64_t   disk_limit;
    int64_t      sent, sent_packets;            /* by its network; -1: it has */
    int64_t      received, received_packets;    /* none */
} driver_stats;

/* Nothing is known. */
static inline void
driver_stats_clear(driver_stats *s)
{
    *s = (driver_stats) { false, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                          false, -1, -1, -1, -1, -1 };
}

typedef void (*driver_measured)(void *data, const driver_stats *stats,
    error *err);

/* changed: another agent answers than the last time, or one for the first. */
typedef void (*driver_checked)(void *data, bool changed, error *err);

/* Called once when the PID 1 of a sandbox that was started, prepared or adopted
 * has ended, however it did.  status is a wait status, or -1 where the kernel
 * no longer tells; why says more, or is NULL. */
typedef void (*driver_exited)(void *data, uint32_t slot, int status,
    const char *why);

/* Processes of a run that their kernel has ended for want of memory. */
typedef struct {
    uint32_t  count;
    int64_t   at;               /* ms since 1970, of the last one; 0: now */
    char      process[DRIVER_PROCESS_MAX];      /* its name; "": not known */
} driver_kills;

/* Called when there are more, every few seconds at most, and at the end of a
 * run before exited(); from sweep(), too, of a run that has ended before. */
typedef void (*driver_killed)(void *data, uint32_t slot,
    const driver_kills *kills);

/* What is to stay of a slot. */
typedef enum {
    SLOT_NOBODYS,               /* nothing */
    SLOT_IDLE,                  /* the writable layer */
    SLOT_ENDING,                /* the same; what runs there was told to end,
                                   and should come to that, if it doesn't take
                                   long */
    SLOT_RUNS                   /* all of it, also where adopt() wasn't
                                   called */
} slot_use;

typedef slot_use (*driver_slot_use)(void *data, uint32_t slot);

struct driver {
    const char  *name;          /* "oci", "qemu" */

    /* Capabilities, reported in the API as the record's "driver" object. */
    bool         kernel_isolation;
    bool         memory_snapshot;
    const char  *accel;             /* of its machines' processors: "kvm",
                                       "tcg"; NULL: there are none */
    const char  *channel;           /* to the agents: "unix", "tap", ...;
                                       NULL: that differs */

    /* Limits that the driver can enforce here, by name ("cpu", "memory",
     * "disk", "pids"): what was asked for and is not among them is refused
     * with `unenforceable` before start() is called. */
    bool         enforces_cpu, enforces_memory, enforces_disk, enforces_pids;

    /* With less, in bytes, a sandbox of this driver can't be. */
    uint64_t     memory_min, disk_min;

    /* The largest disk that the host's file system takes, if that is less than
     * DRIVER_DISK_MAX; else 0. */
    uint64_t     disk_max;

    /* The disk of one for which neither its limits nor the defaults say any; 0:
     * then it has none of its own. */
    uint64_t     disk_default;

    /* Creates the writable layer if needed and starts the sandbox: binds the
     * agent's socket, spawns, and waits until the agent answers a ping.
     * Fails with the reason within the given time.  Writable state of an
     * earlier run is kept. */
    void (*start)(driver *d, const driver_spec *spec, uint64_t timeout_ms,
        driver_started cb, void *data);

    /* Ends a run: SIGTERM to PID 1, SIGKILL after grace_ms; the callback runs
     * when nothing of it is left (processes, mounts, cgroup, socket).  The
     * writable layer stays.  A sandbox that doesn't run is a success. */
    void (*stop)(driver *d, uint32_t slot, uint64_t grace_ms,
        driver_done cb, void *data);

    /* Where the workers reach the agent of one that runs, if not at its socket;
     * false: there.  NULL: always there. */
    bool (*where)(driver *d, uint32_t slot, endpoint *e);

    /* As stop(), but what runs goes on with the next start, if that comes to
     * be; else it is ended within the time.  NULL: memory can't be kept. */
    void (*sleep)(driver *d, uint32_t slot, uint64_t timeout_ms,
        driver_slept cb, void *data);

    /* stop() without grace, then deletes the writable layer as well. */
    void (*destroy)(driver *d, uint32_t slot, driver_done cb, void *data);

    /*
     * Makes the files of a slot that has none from those of another sandbox,
     * as they are now; memory: the first start of the new one goes on with
     * it.  One that runs stands still for a moment and isn't changed; one
     * that doesn't must not be started before the callback.  NULL: it can't.
     */
    void (*clone)(driver *d, uint32_t from, uint32_t to, driver_slept cb,
        void *data);

    /* What the files of a slot are on: the size of a disk of their own, or 0;
     * false, and *size stays: there are none.  NULL: it can't tell. */
    bool (*disk)(driver *d, uint32_t slot, uint64_t *size);

    /* Finds a sandbox of an earlier sandboxd: true when PID 1 is the same
     * process and its agent socket exists; exited() then works for it. */
    bool (*adopt)(driver *d, uint32_t slot, const driver_handle *handle);

    /*
     * For a pool; NULL where there can be none.  prepare() starts a sandbox
     * that is nobody's yet, with the image and the limits of the spec, whose
     * other members are not looked at; it fails within the given time.  The
     * start() of its slot then gives it to the sandbox of the spec, quickly if
     * prepared() says that it still is what the spec asks for; else, and if
     * it has ended meanwhile, it makes a run from the beginning.  stop() and
     * destroy() end it.  It ends by itself with this process.
     */
    void (*prepare)(driver *d, const driver_spec *spec, uint64_t timeout_ms,
        driver_started cb, void *data);
    bool (*prepared)(driver *d, const driver_spec *spec);

    /* The network of one that runs may send and receive so many bytes a second;
     * 0: as it can.  That is enforced elsewhere, in its link: a driver whose
     * sandboxes can be kept from sending more may do so.  NULL: it can't. */
    void (*rate)(driver *d, uint32_t slot, uint64_t bytes);

    /* What a sandbox uses; costs the caller and the sandbox little, and
     * doesn't start it. */
    void (*stats)(driver *d, uint32_t slot, driver_measured cb, void *data);

    /*
     * Of a driver of sandboxes that others run, which can neither start them
     * nor let them sleep (start() is NULL); else NULL.  Looks whether the
     * agent at the endpoint answers and takes the key; then the workers can
     * reach it.  A callback may come before stop() or destroy() returns.
     */
    void (*check)(driver *d, const driver_spec *spec, driver_checked cb,
        void *data);

    /* Whether there is nothing known that would keep it from starting
     * anything; costs little, and waits for nothing.  NULL: it can't tell. */
    int (*health)(driver *d, error **err);

    /* Removes what is left of slots: processes, containers, cgroups, sockets,
     * directories.  Called once, after adopt() was called for every record. */
    void (*sweep)(driver *d, driver_slot_use use, void *data);

    /* Everything ends: what of a destroy the next sweep() does as well isn't
     * waited for from now on.  NULL: none takes long. */
    void (*hurry)(driver *d);

    void (*free)(driver *d);
};

/* What a driver is made from; the strings live as long as the driver. */
struct driver_host {
    uv_loop_t      *loop;
    const char     *state_dir;      /* writable layers live below it */
    const char     *run_dir;        /* <run_dir>/s/<8 hex> are the sockets */
    const char     *agent_path;     /* the static agent binary */
    const char     *crun_path;
    const char     *vmm_path;       /* of machines; NULL: the usual place */
    const char     *kernel_dir;     /* with vmlinux and modules/; or NULL */
    const char     *accel;          /* "kvm", "tcg", or "auto": by trying */
    unsigned        templates;      /* of machines, that are kept at most */
    bool            templates_without_node;
    uint64_t        disk_rate;      /* of each machine's disk, bytes and */
    uint64_t        disk_ops;       /* requests a second; 0: no limit */
    const char     *channel;        /* of QEMU's machines; NULL: by what there
                                       is */
    const char     *vsock_program;  /* of one of them; NULL: the usual place */
    machine_keep    keep_memory;    /* when machines sleep */

    /* Asks for memory for what is nobody's sandbox, and gives it back. */
    int           (*spare)(void *data, uint64_t memory, error **err);
    void          (*spare_end)(void *data, uint64_t memory);
    void           *spare_data;
    gid_t           socket_gid;     /* of the agent sockets, mode 0660;
                                       (gid_t) -1: leave it as it is */
    bool            dev;            /* the image "host" is allowed */
    uint64_t        disk_floor;     /* bytes that copies leave free */
    const char    **image_names;    /* directory images, parallel arrays */
    const char    **image_dirs;     /* for qemu files, with a file system */
    unsigned        image_count;
    driver_exited   exited;
    driver_killed   killed;
    void           *told_data;      /* of both */
};

/* Makes the oci driver, or fails with the reason why it can't work here. */
driver *driver_oci_create(const driver_host *host, error **err);

/* The same of the driver of virtual machines, run by this VMM ("qemu"). */
driver *driver_machine_create(const driver_host *host, const char *vmm,
    error **err);

#endif
