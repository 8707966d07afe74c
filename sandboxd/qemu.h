/*
 * QEMU's part of vmm.h.
 *
 * A machine's agent is reached by TCP over its TAP ("tap"); by vsock, which a
 * program beside QEMU provides, vhost-device-vsock, that shares the guest's
 * memory ("vhost-user-vsock": such a machine can't be saved); or by the
 * kernel's vsock ("vhost-vsock").
 */

#ifndef SANDBOXD_QEMU_H
#define SANDBOXD_QEMU_H

#include "sandboxd/vmm.h"

#define QEMU_VSOCK_PROGRAM      "/usr/bin/vhost-device-vsock"
#define QEMU_VSOCK_CONNECTIONS  1000
#define QEMU_VHOST_DEVICE       "/dev/vhost-vsock"

/* qemu_args.c.  Pure. */
int qemu_args(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
    uint32_t *len);
int qemu_args_vhost_user(const vmm_machine *m, char *dst, size_t size,
    uint32_t *argc, uint32_t *len);
int qemu_args_vhost(const vmm_machine *m, char *dst, size_t size,
    uint32_t *argc, uint32_t *len);
/* Of qemu_args_vhost_user(), behind QEMU's arguments: the program beside it;
 * NULL: the order is incomplete. */
const char *qemu_args_aid(const vm_order *order);

/* qemu_probe.c */
bool qemu_probe_kvm(const vmm_trial *t);

/* qemu_monitor.c: the VMM's monitor is a socket pair, of which QEMU has
 * VM_FD_MONITOR. */
int qemu_monitor_open(const vm_order *order, error **err);
int qemu_monitor_begin(const vm_order *order, error **err);
vmm_news qemu_monitor_event(error **err);
int qemu_monitor_save(void);
void qemu_monitor_resume(void);

/* qemu_vsock.c: members of the tables of those channels. */
int qemu_vsock_jail(const vm_order *order, error **err);
int qemu_vsock_open(const vm_order *order, error **err);
int qemu_vsock_connect(void);
const char *qemu_vsock_ended(pid_t pid, int status);
int qemu_vhost_open(const vm_order *order, error **err);
int qemu_vhost_connect(void);

#endif
