/*
 * Shared by oci_start.c and oci_assign.c; the contract is oci.h.
 */

#ifndef SANDBOXD_OCI_START_PART_H
#define SANDBOXD_OCI_START_PART_H

#include "sandboxd/agent_probe.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_prepare.h"

struct oci_start {
    oci_driver      *o;
    oci_box         *box;
    oci_start       *next;          /* in the queue of those that wait */
    driver_started   cb;
    void            *data;
    error           *err;           /* the reason, once there is one */
    char             key[40];
    char             hostname[64];
    char            *boot;          /* JSON for the agent; NULL: later */
    char            *config;        /* config.json */
    uint32_t         image;
    oci_prepare      prepare;
    int              boot_fd;
    int              log_fd;
    int              answer;
    bool             waiting;       /* in the queue */
    bool             working;       /* in the thread pool */
    bool             launched;      /* the answer socket is polled */
    bool             counted;       /* among the launches */
    bool             weak;          /* err may follow from the agent's end */
    bool             unused;        /* it is to be prepared only */
    int              boot_write;
    pid_t            join_pid;
    agent_probe       *probe;
    uv_work_t        work;
    uv_poll_t        poll;
    uv_timer_t       timer;
    unsigned         closing;
};

/* An empty start, held by its driver, with a deadline if timeout_ms isn't 0. */
oci_start *oci_start_create(oci_driver *o, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);

/* Takes back what has been done so far. */
void oci_start_abort(oci_start *s);

/* The agent has all that it needs: its first answer ends the start. */
void oci_start_probe(oci_start *s);

/* A plain start of a slot without a box. */
void oci_start_fresh(oci_driver *o, const driver_spec *spec, bool unused,
    uint64_t timeout_ms, driver_started cb, void *data);

#endif
