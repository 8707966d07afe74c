/*
 * Shared by oci_start.c and oci_assign.c; the contract is oci.h.
 */

#ifndef SANDBOXD_OCI_START_PART_H
#define SANDBOXD_OCI_START_PART_H

#include "sandboxd/oci.h"
#include "sandboxd/oci_prepare.h"

struct oci_start {
    box_start        base;          /* first */
    oci_start       *next;          /* in the queue of those that wait */
    char             hostname[64];
    char            *boot;          /* JSON for the agent; NULL: later */
    char            *config;        /* config.json */
    uint32_t         image;
    oci_prepare      prepare;
    int              boot_fd;
    int              log_fd;
    int              answer;
    bool             waiting;       /* in the queue */
    bool             launched;      /* the answer socket is polled */
    bool             counted;       /* among the launches */
    bool             unused;        /* it is to be prepared only */
    int              boot_write;
    pid_t            join_pid;
    uv_poll_t        poll;
};

static inline oci_driver *
start_driver(const oci_start *s)
{
    return (oci_driver *) s->base.bd;
}


static inline oci_box *
start_box(const oci_start *s)
{
    return (oci_box *) s->base.box;
}


/* An empty start, held by its driver. */
oci_start *oci_start_create(oci_driver *o, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);

/* A plain start of a slot without a box. */
void oci_start_fresh(oci_driver *o, const driver_spec *spec, bool unused,
    uint64_t timeout_ms, driver_started cb, void *data);

#endif
