/*
 * Shared by machine_start.c and machine_pool.c; the contract is machine.h.
 */

#ifndef SANDBOXD_MACHINE_START_PART_H
#define SANDBOXD_MACHINE_START_PART_H

#include "sandboxd/machine.h"

typedef struct machine_start  machine_start;

/* A call of its agent, which may outlive the start. */
typedef struct {
    machine_start  *s;              /* NULL: it has ended */
} machine_call;

struct machine_start {
    box_start       base;           /* first */
    machine_launch  launch;
    machine_call   *call;
    bool            counted;        /* among those that start */
    bool            assigned;       /* it was prepared */
    bool            drop;           /* the template was of no use */
    bool            retried;
    bool            kept;           /* an earlier try had its own memory */
};

/* machine_start.c */
/* Checked; its box is made by the caller if there is no error. */
machine_start *machine_start_create(machine_driver *m,
    const driver_spec *spec, uint64_t timeout_ms, driver_started cb,
    void *data);
/* A plain start of a slot without a box. */
void machine_start_fresh(driver *d, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);
/* From the beginning; takes back what has an error. */
void machine_start_launch(machine_start *s);
int machine_start_image(const machine_driver *m, const char *name,
    unsigned *image, error **err);

/* machine_pool.c */
/* Gives one that was prepared to somebody. */
void machine_assign(box *b, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data);
/* Nobody waits for an answer any more. */
void machine_call_forget(machine_start *s);

#endif
