/*
 * What is known against versions of the programs that sandboxd starts, and
 * whether it concerns how it starts them.  Pure: a table, each row with its
 * source.
 *
 * Distributions repair without a new version: a row about a program of theirs
 * is a question to their security tracker, not an answer.
 */

#ifndef SANDBOXD_ADVISORIES_H
#define SANDBOXD_ADVISORIES_H

#include <stdbool.h>

#include "sandboxd/program.h"

/* The first Firecracker, and jailer, that is taken: before, a guest could reach
 * its VMM's memory, and vsock was lost with a sleep. */
#define FC_VERSION_MIN  { { 1, 16, 2 } }
#define FC_VERSION      "1.16.2"

typedef struct {
    const char  *program;       /* "firecracker", "jailer", "qemu", "crun" */
    const char  *id;
    const char  *what;
    version      from, fixed;   /* from <= version < fixed: affected */
    bool         concerns;      /* as sandboxd starts it */
    const char  *why;           /* it concerns, or doesn't */
    const char  *source;
} advisory;

/* The one behind the given one (NULL: the first) that is known against this
 * version; NULL: there is none. */
const advisory *advisory_next(const advisory *a, const char *program,
    const version *v);

#endif
