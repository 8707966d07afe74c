/*
 * QEMU's part of vmm.h.
 */

#ifndef SANDBOXD_QEMU_H
#define SANDBOXD_QEMU_H

#include "sandboxd/vmm.h"

/* qemu_args.c.  Pure. */
int qemu_args(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
    uint32_t *len);

/* qemu_probe.c */
bool qemu_probe_kvm(const vmm_trial *t);

/* qemu_monitor.c: the VMM's monitor is a socket pair, of which QEMU has
 * VM_FD_MONITOR. */
int qemu_monitor_open(const vm_order *order, error **err);
int qemu_monitor_begin(const vm_order *order, error **err);
vmm_news qemu_monitor_event(error **err);
int qemu_monitor_save(void);
void qemu_monitor_resume(void);

#endif
