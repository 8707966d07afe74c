/*
 * The output of one descriptor of a command: bytes with offsets, of which the
 * newest SPOOL_MAX are kept.  Short output stays in memory; more goes to a
 * file without a name, so that a reader can come late, leave and come back
 * while the agent's memory stays small.  Knows neither libuv nor HTTP.
 */

#ifndef AGENT_SPOOL_H
#define AGENT_SPOOL_H

#include <stdint.h>
#include <sys/types.h>

#include "common/buffer.h"

#define SPOOL_MEMORY  (32 * 1024)
#define SPOOL_MAX     (256LL * 1024 * 1024)

typedef struct {
    buffer    mem;          /* while there is no file */
    int       fd;           /* 0: none yet (never a standard descriptor) */
    int       failed;       /* errno: the disk took no more */
    uint64_t  start;        /* the oldest offset that is kept */
    uint64_t  end;
} spool;

/* What can't be kept is counted (end moves on, start follows). */
void spool_append(spool *s, const void *p, size_t n);

/* Copies what is at *off, which is moved to the oldest byte kept if it is
 * older.  Returns the number of bytes, 0 at the end. */
size_t spool_read(spool *s, uint64_t *off, void *p, size_t n);

void spool_free(spool *s);

/* Where files without a name are made; NULL: nowhere. */
void spool_set_dir(const char *dir);

#endif
