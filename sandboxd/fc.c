/* Firecracker as a VMM: its table, and which versions are taken; see fc.h. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/advisories.h"
#include "sandboxd/fc.h"
#include "sandboxd/kvm_probe.h"
#include "sandboxd/program.h"

#define SAY_MS  5000

static const version  fc_least = FC_VERSION_MIN;


static int
version_of(const char *path, const char *name, version *v, error **err)
{
    char             text[PROGRAM_TEXT];
    const advisory  *a;

    if (access(path, X_OK) != 0) {
        return error_set(err, 500, "driver", "%s can't be run: Firecracker "
                         "and its jailer have to be in one directory", path);
    }

    if (program_say(path, "--version", text, SAY_MS) != 0
        || version_find(text, v) != 0)
    {
        return error_set(err, 500, "driver", "%s doesn't say its version",
                         path);
    }

    if (version_compare(v, &fc_least) < 0) {
        return error_set(err, 500, "driver", "%s is %u.%u.%u: at least "
                         FC_VERSION " is needed", path, v->n[0], v->n[1],
                         v->n[2]);
    }

    for (a = advisory_next(NULL, name, v); a != NULL;
         a = advisory_next(a, name, v))
    {
        if (a->concerns) {
            log_warn("firecracker: %s: %s (sandboxd doctor)", a->id, a->what);
        }
    }

    return 0;
}


static int
fc_check(const vmm_trial *t, error **err)
{
    char     jailer[VM_PATH_MAX];
    version  f, j;

    fc_jailer_path(t->program, jailer, sizeof(jailer));

    if (version_of(t->program, "firecracker", &f, err) != 0
        || version_of(jailer, "jailer", &j, err) != 0)
    {
        return -1;
    }

    if (version_compare(&f, &j) != 0) {
        return error_set(err, 500, "driver", "Firecracker and its jailer are "
                         "of different versions");
    }

    return 0;
}


static bool
fc_probe_kvm(const vmm_trial *t)
{
    char  detail[160];

    if (kvm_probe(detail) == KVM_WORKS) {
        return true;
    }

    log_info("firecracker: %s", detail);

    return false;
}


const vmm  vmm_firecracker = {
    .name = "firecracker",
    .driver = "firecracker",
    .dir = "microvms",
    .program = "/usr/bin/firecracker",
    .package = "see docs/microvm.md",
    .modules = "vsock",
    .channel = "vsock",
    .memory = true,
    .jailer = true,
    .overhead_kvm = 128ull << 20,
    .connections = FC_CONNECTIONS,
    .check = fc_check,
    .probe_kvm = fc_probe_kvm,
    .args = fc_args,
    .jail = fc_jail,
    .open = fc_tap,
    .begin = fc_begin,
    .event = fc_event,
    .save = fc_save,
    .resume = fc_resume,
    .rate = fc_rate,
    .connect = fc_connect,
    .connected = vm_hybrid_connected,
};
