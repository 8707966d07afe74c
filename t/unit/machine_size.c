/* sources: sandboxd/machine_size.c common/error.c */

/* How large a machine is for what its sandbox may use. */

#include <string.h>

#include "sandboxd/machine.h"
#include "t/unit/tap.h"


int
main(void)
{
    error          *err;
    driver_spec     spec;
    driver_limits   l;
    machine_driver  m;

    ok(machine_cpus(0, false, 8) == 1 && machine_cpus(0, true, 8) == 4
       && machine_cpus(0, true, 2) == 2, "processors, not asked for");
    ok(machine_cpus(0.5, true, 8) == 1 && machine_cpus(1.5, true, 8) == 2
       && machine_cpus(3, true, 8) == 3 && machine_cpus(1024, true, 8) == 8,
       "as many as are needed, at most as many as there are");

    err = NULL;
    memset(&m, 0, sizeof(m));
    memset(&spec, 0, sizeof(spec));
    m.base.d.enforces_cpu = true;

    ok(machine_limits(&m, &spec, &l, &err) == 0 && l.memory == MACHINE_MEMORY
       && l.disk == MACHINE_DISK && l.cpu == 0 && l.pids == 0,
       "the driver's size where there is no other");

    spec.defaults.memory = 200ull << 20;
    spec.defaults.disk = 1ull << 30;
    spec.defaults.cpu = 2;
    spec.limits.cpu = 1;
    spec.limits.pids = 60;
    ok(machine_limits(&m, &spec, &l, &err) == 0 && l.memory == 200ull << 20
       && l.disk == 1ull << 30 && l.cpu == 1 && l.pids == 60,
       "what is asked for, and else the defaults");

    spec.limits.memory = (128ull << 20) + 1;
    ok(machine_limits(&m, &spec, &l, &err) == 0 && l.memory == 128ull << 20,
       "whole megabytes");

    spec.limits.memory = 32ull << 20;
    ok(machine_limits(&m, &spec, &l, &err) == -1 && err->status == 422
       && strcmp(err->field, "memory") == 0, "too little memory");
    error_free(err);
    err = NULL;

    spec.limits.memory = 0;
    m.base.d.enforces_cpu = false;
    ok(machine_limits(&m, &spec, &l, &err) == -1 && err->status == 422
       && strcmp(err->field, "cpu") == 0, "what this host can't limit");
    error_free(err);

    return done_testing();
}
