/*
 * Firecracker as a VMM (vmm.h), always in its jailer's jail.
 *
 *   fc.c         its table; which versions are taken
 *   fc_args.c    the jailer's arguments, and what the keeper is told
 *   fc_jail.c    what is in the jail
 *   fc_keeper.c  what the keeper tells it; connections to the agent
 *   fc_client.c  requests (fc_client.h), their form (fc_api.h)
 *
 * The jailer is started by the keeper, in the keeper's namespaces and group,
 * and makes its jail on a file system in memory that is mounted there alone:
 * what it leaves behind goes with the keeper.  In the jail are, beside what the
 * jailer makes, the files below; what the VMM has to open by its name is the
 * VMM's user's.
 */

#ifndef SANDBOXD_FC_H
#define SANDBOXD_FC_H

#include <stdint.h>

#include "sandboxd/vmm.h"

/* As the keeper and the jailer see them. */
#define FC_JAILER       "/vm/jailer"
#define FC_PROGRAM      "/vm/firecracker"
#define FC_JAILS        "/vm/j"
#define FC_SOCKETS      "/vm/s"
#define FC_API          FC_SOCKETS "/api"
#define FC_VSOCK        FC_SOCKETS "/vsock"

/* As the VMM does. */
#define FC_IN_KERNEL      "/kernel"
#define FC_IN_INITRAMFS   "/initramfs"
#define FC_IN_BOOT        "/boot"
#define FC_IN_IMAGE       "/image"
#define FC_IN_DISK        "/disk"
#define FC_IN_MEMORY      "/memory"
#define FC_IN_STATE       "/state"
#define FC_IN_KEPT        "/kept"
#define FC_IN_KEPT_STATE  "/kept-state"
#define FC_IN_API         "/s/api"
#define FC_IN_VSOCK       "/s/vsock"

#define FC_CONNECTIONS  1000            /* of 1,023; some are the keeper's */

/* fc_args.c: behind the jailer's arguments in an order is what the keeper has
 * to know. */
typedef struct {
    const char  *program;               /* the host's; the jailer is beside */
    const char  *id;                    /* the jailer's */
    unsigned     cpus;
    uint64_t     memory;                /* bytes */
    uint64_t     disk_rate, disk_ops;   /* a second; 0: no limit */
} fc_told;

int fc_args(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
    uint32_t *len);
int fc_args_told(const vm_order *order, fc_told *told);

/* The jailer beside a program. */
void fc_jailer_path(const char *program, char *path, size_t size);

/* fc_jail.c */
int fc_jail(const vm_order *order, error **err);
int fc_tap(const vm_order *order, error **err);

/* fc_keeper.c */
int fc_begin(const vm_order *order, error **err);
vmm_news fc_event(error **err);
int fc_save(void);
void fc_resume(void);
void fc_rate(uint64_t bytes);
int fc_connect(void);

#endif
