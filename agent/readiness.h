/*
 * One probe of a port inside: does somebody listen there, or what does an
 * HTTP GET answer?  127.0.0.1 is tried first, then ::1.  It ends within
 * READINESS_PROBE_MS, reads at most READINESS_HEAD_MAX bytes, and keeps
 * nothing open afterwards.
 */

#ifndef AGENT_READINESS_H
#define AGENT_READINESS_H

#define READINESS_PROBE_MS  5000
#define READINESS_HOPS      10      /* redirects that are followed */

typedef struct probe probe;

/* The status of the last answer, 0 if a connection was all that was asked
 * for, -1 if the port isn't ready.  The probe is gone then. */
typedef void (*probe_cb)(void *data, int status);

/* path NULL: a connection is enough.  Redirects are followed unless `hops` is
 * 0; one that leads elsewhere is the answer itself.  Never calls back before
 * it has returned. */
probe *probe_start(unsigned port, const char *path, unsigned hops,
    probe_cb cb, void *data);

/* Nothing is told any more. */
void probe_stop(probe *p);

#endif
