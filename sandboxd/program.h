/*
 * What another program says when it is asked for its version.  Blocks for as
 * long as it is given; for the start of sandboxd and for `sandboxd doctor`.
 */

#ifndef SANDBOXD_PROGRAM_H
#define SANDBOXD_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define PROGRAM_TEXT  1024

/* What is missing is 0. */
typedef struct {
    unsigned  n[3];
} version;

/* Runs path with one argument; out is the beginning of what it writes to
 * either of its outputs.  -1 if it can't be run, or doesn't end in time: then
 * it is killed. */
int program_say(const char *path, const char *argument, char out[PROGRAM_TEXT],
    unsigned timeout_ms);

/* The first number with a point in it: 0, or -1 if there is none. */
int version_find(const char *text, version *v);
int version_compare(const version *a, const version *b);

#endif
