/* How large a machine is; see machine.h. */

#include "sandboxd/machine.h"

#define CPUS_MAX      64
#define CPUS_DEFAULT  4


unsigned
machine_cpus(double cpu, bool kvm, unsigned host)
{
    unsigned  n;

    if (cpu <= 0) {
        n = kvm ? CPUS_DEFAULT : 1;

    } else {
        n = cpu > CPUS_MAX ? CPUS_MAX : (unsigned) cpu;
        n += n < cpu && n < CPUS_MAX;
    }

    return n > host && host > 0 ? host : n;
}


int
machine_limits(const machine_driver *m, const driver_spec *spec,
    driver_limits *l, error **err)
{
    uint64_t  memory;

    if (spec->limits.cpu > 0 && !m->base.d.enforces_cpu) {
        return error_set_field(err, 422, "unenforceable", "cpu", 0,
                               "cpu can't be limited on this host");
    }

    l->cpu = spec->limits.cpu > 0 ? spec->limits.cpu : spec->defaults.cpu;
    l->disk = spec->limits.disk ? spec->limits.disk
              : spec->defaults.disk ? spec->defaults.disk : MACHINE_DISK;
    l->pids = spec->limits.pids ? spec->limits.pids : spec->defaults.pids;
    memory = spec->limits.memory ? spec->limits.memory
             : spec->defaults.memory ? spec->defaults.memory : MACHINE_MEMORY;

    if (memory < MACHINE_MEMORY_MIN) {
        return error_set_field(err, 422, "unenforceable", "memory",
                               (long long) MACHINE_MEMORY_MIN, "a virtual "
                               "machine needs at least %llu MiB of memory",
                               (unsigned long long) MACHINE_MEMORY_MIN >> 20);
    }

    l->memory = memory & ~0xfffffull;

    return 0;
}
