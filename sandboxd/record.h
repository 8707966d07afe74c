/*
 * Records as JSON: the small ones of the workers' zones (docs/protocol.md,
 * section 1.3) and the public ones of the API.
 *
 * A public sandbox record is
 *
 *   id, tenant (none for the default one), state, image, epoch (0 before the
 *               first start)
 *   createdAt, startedAt (ISO 8601, or null)
 *   expiresAt   when its ttl ends, or null
 *   reason      why it last stopped or failed to start, or null
 *   oom         {kills, at, process}: how many of its processes were ended
 *               for want of memory in all of its runs, when the last one, and
 *               what it was, or null; null for one that others run
 *   labels      as given
 *   env         the names only: values may be secrets
 *   resources   what was asked for, and the defaults for the rest
 *   unenforced  names of default limits that this host can't enforce
 *   network     {"outbound": ...}, canonical (net_policy.h)
 *   options     sleepAfter, ttl (seconds), keepAlive, ephemeral, activity,
 *               containerTimeouts, createTimeoutMs, timeoutMs, exposedPorts:
 *               those given
 *   driver      {"name","kernelIsolation","memorySnapshot","start","sleep",
 *               "fork","accel","channel"}: what it is, and what it can do
 *
 * A public exposure is {port, label, access, token, name, host, wake,
 * wakesPerMinute, hostnames, limits, createdAt}, and for the workers, which
 * sign with them, slot and gen; token and name are null if there is none.
 */

#ifndef SANDBOXD_RECORD_H
#define SANDBOXD_RECORD_H

#include "sandboxd/registry.h"

#define RECORD_ETAG_LEN  34     /* with its quotes */

/* For the zones; as published, never what is still on its way. */
json_t *record_item(const item *it);

/* For the API; as it is now. */
json_t *record_sandbox(const sandbox *sb, const driver *d,
    const driver_limits *defaults);
const char *record_state(const sandbox *sb);
json_t *record_time(int64_t ms);     /* 0: null */
json_t *record_exposure(const exposure *ex);

/* The entity tag of a public sandbox record. */
int record_etag(json_t *record, char etag[RECORD_ETAG_LEN + 1]);

#endif
