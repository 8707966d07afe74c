/*
 * When a process has begun, by which it is told from another that has its
 * number later.
 */

#ifndef COMMON_PROCESS_START_H
#define COMMON_PROCESS_START_H

#include <stdint.h>
#include <sys/types.h>

/* In clock ticks since the boot; 0 if there is no such process. */
uint64_t process_start_time(pid_t pid);

#endif
