/*
 * The system calls that a sandbox may make, as a filter program.  It is
 * compiled once, when sandboxd starts: compiling it takes longer than all the
 * rest of a container's start.
 */

#ifndef SANDBOXD_SECCOMP_H
#define SANDBOXD_SECCOMP_H

#include "common/error.h"

/* The program in base64, for the caller to free; NULL on error. */
char *seccomp_filter_build(error **err);

/* The same filter for this process, from here on; it gets no privileges any
 * more. */
int seccomp_filter_load(error **err);

#endif
