/*
 * What a start needs before the helper can be asked: the directory, its lock,
 * the agent's socket, the group with its limits, the bounded disk.  Blocks, so
 * it runs in the thread pool and touches nothing but its own structure and
 * what never changes.
 */

#ifndef SANDBOXD_OCI_PREPARE_H
#define SANDBOXD_OCI_PREPARE_H

#include "sandboxd/oci.h"

typedef struct {
    /* in */
    const oci_driver  *o;
    uint32_t           slot;
    driver_limits      limits;      /* those that will be enforced */
    bool               first;       /* as in the driver_spec */

    /* out; the descriptors are the caller's, whether it failed or not */
    int                lock;
    int                listen;
    int                disk;
    bool               owned;       /* the lock is ours and nobody runs */
    bool               fresh;       /* nobody has run in the layer yet */
} oci_prepare;

void oci_prepare_init(oci_prepare *p);
/* err: set if it failed. */
void oci_prepare_work(oci_prepare *p, error **err);

/* A disk has the name of the sandbox that runs in it. */
void oci_prepare_used(const oci_driver *o, uint32_t slot);

#endif
