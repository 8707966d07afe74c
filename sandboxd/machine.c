/* The driver of virtual machines; see driver.h and machine.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/cgroup_layout.h"
#include "sandboxd/initramfs.h"
#include "sandboxd/machine.h"
#include "sandboxd/qemu.h"
#include "sandboxd/tsc.h"


static void
machine_free(box_driver *bd)
{
    machine_driver  *m;

    m = (machine_driver *) bd;
    free(m->kernel);
    free(m->initramfs);
    free(m->templates);
}


/* What a start would only find out later. */
static int
host_check(machine_driver *m, error **err)
{
    if (geteuid() != 0) {
        return error_set(err, 500, "driver", "virtual machines need root, who "
                         "makes their networks");
    }

    if (m->base.host.kernel_dir == NULL) {
        return error_set(err, 500, "driver", "virtual machines need a kernel: "
                         "give --kernel (scripts/kernel.sh makes one)");
    }

    if (access(m->program, X_OK) == -1) {
        return error_set(err, 500, "driver", "%s: %s (%s)", m->program,
                         strerror(errno), m->vmm->package);
    }

    if (access("/dev/net/tun", R_OK | W_OK) == -1) {
        return error_set(err, 500, "driver", "/dev/net/tun: %s",
                         strerror(errno));
    }

    return 0;
}


static int
boot_make(machine_driver *m, error **err)
{
    char                modules[BOX_PATH], more[BOX_PATH];
    const driver_host  *host;

    host = &m->base.host;

    if (asprintf(&m->initramfs, "%s/initramfs%s%s", host->state_dir,
                 m->vmm->modules != NULL ? "-" : "",
                 m->vmm->modules != NULL ? m->vmm->modules : "") == -1
        || asprintf(&m->kernel, "%s/vmlinux", host->kernel_dir) == -1)
    {
        abort();
    }

    /* One without takes devices from its command line; see kernel-build.sh. */
    snprintf(more, sizeof(more), "%s/no-acpi", host->kernel_dir);
    m->acpi = access(more, F_OK) == -1;

    if (access(m->kernel, R_OK) == -1) {
        return error_set(err, 500, "driver", "%s: %s", m->kernel,
                         strerror(errno));
    }

    snprintf(modules, sizeof(modules), "%s/modules", host->kernel_dir);
    snprintf(more, sizeof(more), "%s/%s", host->kernel_dir,
             m->vmm->modules != NULL ? m->vmm->modules : "");

    return initramfs_write(m->initramfs, host->agent_path, modules,
                           m->vmm->modules != NULL ? more : NULL, err);
}


/* What fails every start; a package that was removed, too. */
static int
machine_health(driver *d, error **err)
{
    size_t           i;
    machine_driver  *m;

    m = (machine_driver *) d;

    const struct {
        const char  *path;
        int          mode;
        const char  *what;
    } needed[] = {
        { m->kernel, R_OK, "the machines' kernel can't be read" },
        { m->initramfs, R_OK, "what the machines boot from can't be read" },
        { m->program, X_OK, "the program that runs machines can't be run" },
        { m->vmm == &vmm_qemu_vhost_user ? m->aid : NULL, X_OK,
          "the program that reaches machines can't be run" },
    };

    if (box_driver_health(&m->base, err) == -1) {
        return -1;
    }

    for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (needed[i].path != NULL
            && access(needed[i].path, needed[i].mode) == -1)
        {
            return error_set(err, 503, "driver", "%s: %s", needed[i].what,
                             strerror(errno));
        }
    }

    return 0;
}


static void
limits_probe(machine_driver *m)
{
    long     cpus;
    driver  *d;

    /* The machine's own size is the limit of all but the processor's time. */
    d = &m->base.d;
    d->enforces_cpu = cgroup_enforced(m->base.cg) & CGROUP_CPU;
    d->enforces_memory = true;
    d->enforces_pids = true;
    d->enforces_disk = true;
    d->memory_min = MACHINE_MEMORY_MIN;
    d->disk_min = MACHINE_DISK_MIN;
    d->disk_default = MACHINE_DISK;

    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    m->cpus = cpus < 1 ? 1 : (unsigned) cpus;
}


/* What a trial has said in this boot of the host, with this program and kernel:
 * it may take seconds in which nobody is served. */
static FILE *
kvm_note(machine_driver *m, const char *mode, char key[80])
{
    char      path[BOX_PATH];
    uint64_t  hash;

    hash = machine_identity(machine_identity(0, m->program), m->kernel);
    snprintf(key, 80, "%s-%016" PRIx64, m->base.boot_id, hash);
    snprintf(path, sizeof(path), "%s/kvm-%s", m->base.host.state_dir,
             m->vmm->driver);

    return fopen(path, mode);
}


static bool
kvm_try(machine_driver *m, const vmm_trial *trial)
{
    int    works;
    char   key[80], noted[80];
    FILE  *f;

    works = 0;
    f = kvm_note(m, "re", key);

    if (f != NULL && fscanf(f, "%79s %d", noted, &works) == 2
        && strcmp(noted, key) == 0)
    {
        fclose(f);
        return works != 0;
    }

    if (f != NULL) {
        fclose(f);
    }

    works = m->vmm->probe_kvm(trial);
    f = kvm_note(m, "we", key);

    if (f != NULL) {
        fprintf(f, "%s %d\n", key, works);
        fclose(f);
    }

    return works != 0;
}


/* That /dev/kvm opens says little: where this machine is a virtual one itself,
 * its guests may end before their kernel has said a word. */
static int
kvm_probe(machine_driver *m, error **err)
{
    const char  *accel;
    vmm_trial    trial;

    accel = m->base.host.accel;
    trial.program = m->program;
    trial.kernel = m->kernel;
    trial.initramfs = m->initramfs;

    if (m->vmm->check != NULL && m->vmm->check(&trial, err) == -1) {
        return -1;
    }

    if (accel != NULL && strcmp(accel, "auto") != 0) {
        m->kvm = strcmp(accel, "kvm") == 0;

    } else {
        m->kvm = access("/dev/kvm", R_OK | W_OK) == 0
                 && (m->vmm->probe_kvm == NULL || kvm_try(m, &trial));
    }

    if (!m->kvm && !m->vmm->emulates) {
        return error_set(err, 500, "driver", "%s needs KVM, and no guest runs "
                         "with it here", m->vmm->driver);
    }

    m->base.d.accel = m->kvm ? "kvm" : "tcg";
    tsc_begin();

    log_info("%s: virtual machines run %s; their agents are reached by %s",
             m->vmm->driver, m->kvm ? "with KVM"
             : "under emulation, which is slow", m->vmm->channel);

    return 0;
}


static bool
machine_where(driver *d, uint32_t slot, endpoint *e)
{
    int   dir;
    char  path[BOX_PATH];

    box_path((box_driver *) d, slot, NULL, path, sizeof(path));
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (dir == -1) {
        return false;
    }

    memset(e, 0, sizeof(*e));
    e->kind = ENDPOINT_VSOCK;
    e->cid = machine_cid_noted(dir);
    e->port = VM_GUEST_PORT;
    close(dir);

    return e->cid != 0;
}


static void
driver_fill(machine_driver *m)
{
    driver  *d;

    d = &m->base.d;
    d->name = m->vmm->driver;
    d->kernel_isolation = true;
    d->memory_snapshot = m->memory;
    d->channel = m->vmm->channel;
    d->start = machine_start_run;
    d->sleep = m->memory ? box_sleep_run : NULL;
    d->clone = machine_clone_run;
    d->where = machine_where;
    d->stats = machine_stats_run;
    d->rate = m->vmm->rate != NULL ? machine_rate_run : NULL;
    d->health = machine_health;
    d->prepare = machine_prepare_run;
    d->prepared = machine_prepared;
}


static void
machine_box_init(box *b)
{
    ((machine_box *) b)->owner = -1;
}


static void
machine_box_free(box *b)
{
    machine_box  *mb;

    mb = (machine_box *) b;

    if (mb->owner != -1) {
        close(mb->owner);
    }

    explicit_bzero(mb->key, sizeof(mb->key));
}


static const box_ops  machine_ops = {
    .box_size = sizeof(machine_box),
    .box_init = machine_box_init,
    .box_free = machine_box_free,
    .start_answered = machine_start_answered,
    .clean = machine_clean,
    .kills = machine_kills,
    .start_again = machine_start_again,
    .start_end = machine_start_end,
    .destroy = machine_destroy,
    .sweep_remove = machine_sweep_remove,
    .abandon = machine_template_abandon,
    .driver_free = machine_free,
};


driver *
driver_machine_create(const driver_host *host, const char *name, error **err)
{
    machine_driver  *m;

    m = calloc(1, sizeof(machine_driver));
    if (m == NULL) {
        abort();
    }

    m->vmm = machine_channel_choose(host, name, err);

    if (m->vmm == NULL) {
        free(m);
        return NULL;
    }

    m->memory = m->vmm->memory && host->keep_memory != MACHINE_KEEP_OFF;
    m->program = host->vmm_path != NULL ? host->vmm_path : m->vmm->program;
    m->aid = host->vsock_program != NULL ? host->vsock_program
                                         : QEMU_VSOCK_PROGRAM;
    driver_fill(m);

    if (box_driver_init(&m->base, host, &machine_ops, m->vmm->dir, 0700, err)
        == -1 || host_check(m, err) == -1 || boot_make(m, err) == -1
        || kvm_probe(m, err) == -1 || machine_templates_open(m, err) == -1)
    {
        box_driver_destroy(&m->base);
        return NULL;
    }

    box_driver_groups(&m->base);
    limits_probe(m);

    return &m->base.d;
}
