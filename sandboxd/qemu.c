/*
 * QEMU as a VMM, its machine of the kind microvm, with each of the channels
 * that its agents are reached by; see vmm.h.
 */

#include "sandboxd/qemu.h"

#define QEMU                                                                  \
    .driver = "qemu",                                                         \
    .dir = "machines",                                                        \
    .program = "/usr/bin/qemu-system-x86_64",                                 \
    .package = "Debian's package qemu-system-x86",                            \
    .emulates = true,                                                         \
    .overhead_kvm = 192ull << 20,                                             \
    .overhead_emulated = 256ull << 20,                                        \
    .probe_kvm = qemu_probe_kvm,                                              \
    .begin = qemu_monitor_begin,                                              \
    .event = qemu_monitor_event,                                              \
    .save = qemu_monitor_save,                                                \
    .resume = qemu_monitor_resume

const vmm  vmm_qemu = {
    QEMU,
    .name = "qemu",
    .channel = "tap",
    .memory = true,
    .args = qemu_args,
    .jail = vm_ram_make,
    .open = qemu_monitor_open,
};

const vmm  vmm_qemu_vhost_user = {
    QEMU,
    .name = "qemu-vhost-user",
    .channel = "vhost-user-vsock",
    .modules = "vsock",
    .connections = QEMU_VSOCK_CONNECTIONS,
    .args = qemu_args_vhost_user,
    .jail = qemu_vsock_jail,
    .open = qemu_vsock_open,
    .connect = qemu_vsock_connect,
    .connected = vm_hybrid_connected,
    .ended = qemu_vsock_ended,
};

const vmm  vmm_qemu_vhost = {
    QEMU,
    .name = "qemu-vhost",
    .channel = "vhost-vsock",
    .cid = true,
    .modules = "vsock",
    .memory = true,
    .args = qemu_args_vhost,
    .jail = vm_ram_make,
    .open = qemu_vhost_open,
    .connect = qemu_vhost_connect,
};
