/*
 * The oci driver's inside: one "box" per sandbox that is starting, running or
 * ending, found by its slot, and the operations on it.  Everything here runs
 * on the event loop's thread, except what is named *_work.
 *
 *   oci.c          the driver object, the table of boxes, adoption
 *   oci_box.c      a box's end: exit status, cleaning up, who is told
 *   oci_start.c    start: the order of its steps, the deadline
 *   oci_assign.c   start of one that was prepared
 *   oci_image.c    which images there are, and whether they still are
 *   oci_spec.c     start: image, limits, the texts for agent and crun
 *   oci_prepare.c  start: directory, lock, socket, group, disk (thread pool)
 *   oci_stop.c     stop and destroy
 *   oci_stats.c    what a sandbox uses
 *   oci_sweep.c    what an earlier sandboxd has left
 */

#ifndef SANDBOXD_OCI_H
#define SANDBOXD_OCI_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/error.h"
#include "sandboxd/agent_log.h"
#include "sandboxd/agent_socket.h"
#include "sandboxd/cgroup.h"
#include "sandboxd/driver.h"
#include "sandboxd/oci_helper.h"
#include "sandboxd/slot_lock.h"
#include "sandboxd/userns.h"

#define OCI_BUCKETS        4096
#define OCI_LAUNCHES_MAX   16
#define OCI_REMOVALS_MAX   8
#define OCI_SIZINGS_MAX    2
#define OCI_SIZES          4096

typedef struct oci_driver  oci_driver;
typedef struct oci_box     oci_box;
typedef struct oci_start   oci_start;
typedef struct oci_stop    oci_stop;

/* What a layer's size was when it was last looked at. */
typedef struct {
    uint32_t  slot;             /* 0: nothing is known */
    bool      partial;
    bool      stale;            /* it has run since */
    int64_t   at;               /* ms since 1970 */
    uint64_t  bytes;
} oci_size;

typedef enum {
    OCI_STARTING,
    OCI_PREPARED,           /* it runs and waits for whose it is */
    OCI_RUNNING,
    OCI_STOPPING,           /* it has been told to end */
    OCI_CLEANING            /* PID 1 is gone, or never was */
} oci_state;

struct oci_box {
    oci_driver  *o;
    oci_box     *next;      /* in its bucket */
    uint32_t     slot;
    oci_state    state;
    bool         reported;  /* the lifecycle knows of it: tell its end */
    bool         child;     /* started by this process: has a status */
    bool         watched;   /* the handles below are open */
    bool         foreign;   /* somebody else's run: touch nothing of it */
    bool         orphaned;  /* its launch died: crun may live on */
    bool         unused;    /* it was prepared, and is nobody's yet */
    int          boot;      /* the agent is told through it whose it is */
    uint32_t     image;
    uint64_t     identity;  /* of the image, when it was prepared */
    driver_limits  limits;
    int          retries;
    int          status;
    pid_t        pid;
    uint64_t     start_time;
    int          pidfd;
    int          lock;      /* holds flock() on its directory's lock file */
    agent_log     *log;       /* what its agent says; NULL: not known */
    oci_start   *start;     /* what goes on */
    oci_stop    *stop;
    uv_poll_t    exit;
    uv_timer_t   retry;
    uv_work_t    work;
    unsigned     closing;
};

struct oci_driver {
    driver         d;               /* first */
    driver_host    host;
    userns_map     map;
    oci_helper     helper;
    cgroup_host   *cg;
    char          *seccomp;
    char          *layers;          /* <state_dir>/sandboxes */
    char          *sockets;         /* <run_dir>/s */
    char           boot_id[BOOT_ID_SIZE];
                                    /* pids mean nothing in another boot */
    uint64_t       nofile;
    oci_size      *sizes;           /* OCI_SIZES of them, by slot */
    unsigned       sizings;         /* in the helper's hands */
    uint64_t      *identities;      /* of the images that the helper has */
    unsigned       launches;        /* in the helper's hands */
    unsigned       launches_max;
    unsigned       trash;           /* names given to doomed directories */
    unsigned       removals;        /* in the helper's hands */
    unsigned       held;            /* operations that free() waits for */
    bool           freed;
    oci_start     *waiting;         /* for their turn to be launched */
    oci_start    **waiting_end;
    oci_stop      *stops;           /* all that go on */
    oci_stop      *doomed;          /* those that wait for their removal */
    oci_stop     **doomed_end;
    oci_box       *boxes[OCI_BUCKETS];
};

/* oci.c */
oci_box *oci_box_find(oci_driver *o, uint32_t slot);
oci_box *oci_box_add(oci_driver *o, uint32_t slot);
/* Between the two, the driver isn't freed. */
void oci_hold(oci_driver *o);
void oci_release(oci_driver *o);
/* Sends a request to the helper, making a new one if it has died. */
int oci_request_send(oci_driver *o, const void *head, size_t head_len,
    const void *body, size_t body_len, const int *fds, unsigned nfds,
    error **err);
void oci_socket_path(const oci_driver *o, uint32_t slot, char *path,
    size_t size);
void oci_slot_name(uint32_t slot, char name[9]);

/* oci_box.c */
/* pidfd is the box's from here on. */
int oci_box_watch(oci_box *box, pid_t pid, uint64_t start_time, int pidfd);
void oci_box_signal(oci_box *box, int signo);
/* Removes the group and the socket, unlocks; then tells whom it concerns and
 * forgets the box. */
void oci_box_clean(oci_box *box);

/* oci_image.c */
/* Changes when another directory is put in the image's place, or the directory
 * itself changes; 0: there is none. */
uint64_t oci_image_identity(const oci_driver *o, uint32_t image);
/* Notes which images the helper has; before it is made. */
void oci_images_note(oci_driver *o);
bool oci_image_changed(const oci_driver *o, uint32_t image);
/* Makes a new helper if the image is not the one that it has. */
int oci_image_refresh(oci_driver *o, uint32_t image, error **err);

/* oci_start.c */
void oci_start_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data);
void oci_prepare_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data);
/* The box is gone before the agent has answered. */
void oci_start_ended(oci_start *start, int status);

/* oci_assign.c */
bool oci_prepared(driver *d, const driver_spec *spec);
/* The start of a slot whose box was prepared. */
void oci_assign_run(oci_box *box, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);

/* oci_stop.c */
void oci_stop_run(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data);
void oci_destroy_run(driver *d, uint32_t slot, driver_done cb, void *data);
/* The box is gone. */
void oci_stop_ended(oci_stop *stop);
/* Deletes a directory of this name below layers in the background. */
void oci_trash_remove(oci_driver *o, const char *name);
/* Leaves what is being deleted in the background to the next sweep. */
void oci_stop_abandon(oci_driver *o);

/* oci_stats.c */
void oci_stats_run(driver *d, uint32_t slot, driver_measured cb, void *data);

/* oci_sweep.c */
void oci_sweep_run(driver *d, bool (*keep)(void *data, uint32_t slot,
    bool *running), void *data);

#endif
