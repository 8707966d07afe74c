/*
 * The first ping of an agent: connects to its socket, sends the control line
 * and a request, and waits for OK and 200.  Has no deadline of its own.
 */

#ifndef SANDBOXD_OCI_PROBE_H
#define SANDBOXD_OCI_PROBE_H

#include <uv.h>

#include "common/error.h"

typedef struct oci_probe  oci_probe;

/* err is NULL if the agent answered; else it is the callee's to free. */
typedef void (*oci_probed)(void *data, error *err);

oci_probe *oci_probe_start(uv_loop_t *loop, const char *path, const char *key,
    oci_probed cb, void *data, error **err);

/* After the callback has run, or instead of it. */
void oci_probe_stop(oci_probe *probe);

#endif
