/*
 * The arguments of QEMU for one sandbox.  Pure.
 */

#ifndef SANDBOXD_QEMU_ARGS_H
#define SANDBOXD_QEMU_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char  *qemu;          /* the program */
    const char  *name;          /* for those who look at processes */
    bool         kvm;
    uint64_t     memory;        /* bytes, whole MiB */
    unsigned     cpus;
    bool         again;         /* it goes on from what was kept of it */
} qemu_args;

/* Strings, each ended by a zero; -1 if they don't fit. */
int qemu_args_build(const qemu_args *a, char *dst, size_t size, uint32_t *argc,
    uint32_t *len);

/* How many processors a guest has for what its sandbox may use; a machine
 * without KVM starts the faster the fewer they are. */
unsigned qemu_args_cpus(double cpu, bool kvm, unsigned host);

#endif
