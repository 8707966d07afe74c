/*
 * One small file per running sandbox, below the run directory: what is needed
 * to take it over after sandboxd was killed.  It is written without fsync
 * before the sandbox is announced: a killed process loses none of it, and what
 * a power cut would take with it is dead anyway.  It holds the key, so the
 * directory is root's alone.
 */

#ifndef SANDBOXD_RUNFILE_H
#define SANDBOXD_RUNFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "sandboxd/driver.h"

#define RUNFILE_KEY_LEN  32

typedef struct {
    uint32_t       slot;
    uint32_t       epoch;
    int64_t        started_at;
    driver_handle  handle;
    char           key[RUNFILE_KEY_LEN + 1];
} runfile;

/* dir is an open directory. */
int runfile_write(int dir, const runfile *run, error **err);
void runfile_remove(int dir, uint32_t slot);

/*
 * Reads all of them; those of an earlier boot of the machine, and what can't
 * be read, are removed.
 */
int runfile_each(int dir, void (*found)(void *data, const runfile *run),
    void *data, error **err);

#endif
