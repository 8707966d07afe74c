/* QEMU as a VMM, its machine of the kind microvm; see vmm.h. */

#include "sandboxd/qemu.h"

const vmm  vmm_qemu = {
    .name = "qemu",
    .dir = "machines",
    .program = "/usr/bin/qemu-system-x86_64",
    .package = "Debian's package qemu-system-x86",
    .memory = true,
    .emulates = true,
    .channel = "tap",
    .overhead_kvm = 192ull << 20,
    .overhead_emulated = 256ull << 20,
    .probe_kvm = qemu_probe_kvm,
    .args = qemu_args,
    .open = qemu_monitor_open,
    .begin = qemu_monitor_begin,
    .event = qemu_monitor_event,
    .save = qemu_monitor_save,
    .resume = qemu_monitor_resume,
};
