/*
 * The oci driver's inside: what is different about its boxes (box.h).
 *
 *   oci.c          the driver object, its helper process
 *   oci_box.c      a box's end, if its launch has died
 *   oci_start.c    start: the order of its steps
 *   oci_assign.c   start of one that was prepared
 *   oci_image.c    which images there are, and whether they still are
 *   oci_spec.c     start: image, limits, the texts for agent and crun
 *   oci_prepare.c  start: directory, lock, socket, group, disk (thread pool)
 *   oci_stop.c     the end of a sandbox's files
 *   oci_stats.c    what a sandbox uses
 *   oci_sweep.c    what an earlier sandboxd has left beside what boxes have
 */

#ifndef SANDBOXD_OCI_H
#define SANDBOXD_OCI_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/error.h"
#include "sandboxd/adopted.h"
#include "sandboxd/box.h"
#include "sandboxd/oci_helper.h"
#include "sandboxd/userns.h"

#define OCI_LAUNCHES_MAX   16
#define OCI_REMOVALS_MAX   8
#define OCI_SIZINGS_MAX    2
#define OCI_SIZES          4096

typedef struct oci_driver  oci_driver;
typedef struct oci_box     oci_box;
typedef struct oci_start   oci_start;
typedef struct oci_stop    oci_stop;

typedef struct oci_sockets  oci_sockets;

/* What a layer's size was when it was last looked at. */
typedef struct {
    uint32_t  slot;             /* 0: nothing is known */
    bool      partial;
    bool      stale;            /* it has run since */
    int64_t   at;               /* ms since 1970 */
    uint64_t  bytes;
} oci_size;

struct oci_box {
    box          base;      /* first */
    bool         orphaned;  /* its launch died: crun may live on */
    int          boot;      /* the agent is told through it whose it is */
    uint32_t     image;
    uint64_t     identity;  /* of the image, when it was prepared */
    driver_limits  limits;
};

struct oci_stop {
    box_stop     base;              /* first */
    oci_stop    *prev, *next;       /* in the helper's hands */
    oci_stop    *later;             /* those that wait for their removal */
    bool         polled;
    bool         removing;          /* among the removals */
    int          answer;            /* if it is polled */
    char         name[30];          /* of the doomed directory */
    uv_poll_t    poll;
};

struct oci_driver {
    box_driver     base;            /* first */
    userns_map     map;
    oci_helper     helper;
    char          *seccomp;
    uint64_t       nofile;
    oci_size      *sizes;           /* OCI_SIZES of them, by slot */
    unsigned       sizings;         /* in the helper's hands */
    uint64_t      *identities;      /* of the images that the helper has */
    unsigned       launches;        /* in the helper's hands */
    unsigned       launches_max;
    unsigned       trash;           /* names given to doomed directories */
    oci_stop      *removing;        /* in the helper's hands */
    unsigned       removals;        /* so many */
    uint64_t       hurried;         /* until then they are waited for; 0: each
                                       has its time */
    oci_start     *waiting;         /* for their turn to be launched */
    oci_start    **waiting_end;
    oci_stop      *doomed;          /* those that wait for their removal */
    oci_stop     **doomed_end;
    oci_sockets   *sockets;         /* that a sweep has found */
    adopted       *adopted;
};

/* oci.c */
/* Sends a request to the helper, making a new one if it has died. */
int oci_request_send(oci_driver *o, const void *head, size_t head_len,
    const void *body, size_t body_len, const int *fds, unsigned nfds,
    error **err);

/* oci_box.c: members of box_ops. */
void oci_box_init(box *b);
void oci_box_clean(box *b);
bool oci_box_kills(box_driver *bd, uint32_t slot, driver_kills *kills);
int oci_box_kills_watch(box *b, bool *urgent);
void oci_box_free(box *b);

/* oci_image.c */
/* Changes when another directory is put in the image's place, or the directory
 * itself changes; 0: there is none. */
uint64_t oci_image_identity(const oci_driver *o, uint32_t image);
/* Notes which images the helper has; before it is made. */
void oci_images_note(oci_driver *o);
bool oci_image_changed(const oci_driver *o, uint32_t image);
/* Makes a new helper if the image is not the one that it has. */
int oci_image_refresh(oci_driver *o, uint32_t image, error **err);

/* oci_start.c: members of the driver, and of box_ops. */
void oci_start_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data);
void oci_prepare_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data);
bool oci_start_abort(box_start *base);
const char *oci_start_where(const box_start *base);
void oci_start_end(box_start *base);

/* oci_assign.c */
bool oci_prepared(driver *d, const driver_spec *spec);
/* The start of a slot whose box was prepared. */
void oci_assign_run(oci_box *ob, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);

/* oci_stop.c: members of box_ops. */
void oci_stop_destroy(box_stop *base);
void oci_stop_end(box_stop *base);
/* Member of the driver. */
void oci_stop_hurry(driver *d);
/* Leaves what is being deleted in the background to the next sweep. */
void oci_stop_abandon(box_driver *bd);
/* Deletes a directory of this name below those of the boxes in the
 * background. */
void oci_trash_remove(oci_driver *o, const char *name);

/* oci_stats.c */
void oci_stats_run(driver *d, uint32_t slot, driver_measured cb, void *data);

/* oci_sweep.c: members of box_ops. */
void oci_sweep_find(box_driver *bd, box_slots *found);
void oci_sweep_other(box_driver *bd, const char *name);
void oci_sweep_kill(box_driver *bd, uint32_t slot);
void oci_sweep_remove(box_driver *bd, uint32_t slot);
void oci_sweep_end(box_driver *bd);

#endif
