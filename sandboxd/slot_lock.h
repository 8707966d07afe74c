/*
 * Who runs in a sandbox's directory: a line in its lock file, by which a run is
 * found again, or known to be over, whatever has become of its sandboxd.
 */

#ifndef SANDBOXD_SLOT_LOCK_H
#define SANDBOXD_SLOT_LOCK_H

#include <stdint.h>
#include <sys/types.h>

#define BOOT_ID_SIZE  40

/* Of this boot of the host: process numbers mean nothing in another. */
void boot_id_read(char boot_id[BOOT_ID_SIZE]);

/* Notes in the lock file who runs. */
void slot_lock_write(int lock, const char *boot_id, pid_t pid,
    uint64_t start_time);

/* Reads it: the pid if that process still is the sandbox, else 0. */
pid_t slot_lock_read(int lock, const char *boot_id, uint64_t *start_time);

#endif
