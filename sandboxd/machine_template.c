/*
 * Templates: machines that have booted once, for all of their kind.  What a
 * boot ends with, an agent that listens, with a shell and what interpreters it
 * can have, is kept like a fork of a machine that is nobody's; a new sandbox of
 * the same kind goes on from a copy of that, and only has to be told who it is.
 *
 * A template is made after a start that had to boot, when nobody starts: by a
 * machine in a slot that no record has, one at a time.  It is in a directory
 * whose name tells what it is of, so that none is used that is of something
 * else; of more than --templates, those go that weren't used for longest.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/disk_file.h"
#include "sandboxd/machine.h"

#define BUILD_WAIT_MS  1000     /* between two looks whether somebody starts */
#define BUILD_MS       120000   /* for the boot, at least */
#define NEW            "new"
#define TEMPLATE_ROOM  (1ull << 30)     /* that is left free beside it */

struct machine_build {
    machine_driver  *m;
    uint64_t         kind;
    driver_spec      spec;
    uint64_t         boot_ms;
    char             key[33];
    error           *err;
    bool             counted;   /* with the memory that is nobody's */
    uv_timer_t       timer;
    uv_work_t        work;
};


static void
template_path(const machine_driver *m, const char *name, char path[BOX_PATH])
{
    snprintf(path, BOX_PATH, "%s/%s", m->templates, name);
}


static void
kind_path(const machine_driver *m, uint64_t kind, char path[BOX_PATH])
{
    char  name[24];

    snprintf(name, sizeof(name), "%016" PRIx64, kind);
    template_path(m, name, path);
}


/* The one that wasn't used for longest; returns how many there are. */
static unsigned
templates_oldest(const machine_driver *m, char oldest[BOX_PATH])
{
    DIR            *dir;
    char            path[BOX_PATH];
    unsigned        n;
    struct stat     st;
    struct dirent  *entry;
    struct timespec first;

    dir = opendir(m->templates);
    memset(&first, 0, sizeof(first));

    for (n = 0; dir != NULL && (entry = readdir(dir)) != NULL; ) {
        template_path(m, entry->d_name, path);

        if (entry->d_name[0] == '.' || lstat(path, &st) != 0) {
            continue;
        }

        n++;

        if (n == 1 || st.st_mtim.tv_sec < first.tv_sec
            || (st.st_mtim.tv_sec == first.tv_sec
                && st.st_mtim.tv_nsec < first.tv_nsec))
        {
            first = st.st_mtim;
            memcpy(oldest, path, BOX_PATH);
        }
    }

    if (dir != NULL) {
        closedir(dir);
    }

    return n;
}


static void
templates_trim(const machine_driver *m, unsigned max)
{
    char       path[BOX_PATH];
    error     *err;
    unsigned   n;

    for (n = templates_oldest(m, path); n > max;
         n = templates_oldest(m, path))
    {
        err = NULL;

        if (machine_dir_remove(path, &err) != 0) {
            log_warn("%s: a template stays: %s", m->vmm->driver, err->message);
            error_free(err);
            return;
        }
    }
}


int
machine_templates_open(machine_driver *m, error **err)
{
    char  path[BOX_PATH];

    if (asprintf(&m->templates, "%s/templates-%s", m->base.host.state_dir,
                 m->vmm->driver) == -1)
    {
        abort();
    }

    if (box_dir_make(m->templates, 0700, err) == -1) {
        return -1;
    }

    /* What an earlier sandboxd didn't come to an end with. */
    template_path(m, NEW, path);
    (void) machine_dir_remove(path, NULL);
    templates_trim(m, m->base.host.templates);

    return machine_file_hash(m->initramfs, &m->initramfs_hash, err);
}


static bool
template_wanted(const machine_launch *l)
{
    return l->m->base.host.templates > 0 && l->m->vmm->memory
           && l->slot != MACHINE_TEMPLATE_SLOT;
}


/* Not its memory: that is read as it is. */
static int
template_use(const machine_launch *l, const char *path, int dir,
    const char *word, char former[33], int *state)
{
    int     from, memory;
    error  *err;

    from = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (from == -1) {
        return -1;
    }

    err = NULL;
    memory = machine_kept_open(from, word, l->m->base.boot_id, former, state);

    if (memory != -1
        && disk_file_copy(from, dir, "disk", l->m->base.host.disk_floor, &err)
           != 0)
    {
        log_info("%s: slot %08x: no template: %s", l->m->vmm->driver, l->slot,
                 err->message);
        error_free(err);
        (void) unlinkat(dir, "disk", 0);
        close(memory);
        memory = -1;
    }

    if (memory != -1) {
        (void) futimens(from, NULL);
    }

    close(from);

    return memory;
}


int
machine_template_find(machine_launch *l, int dir, const char *word,
    char former[33], int *state)
{
    int   memory;
    char  path[BOX_PATH];

    if (!template_wanted(l)
        || faccessat(dir, "disk", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    {
        return -1;
    }

    l->kind = machine_kept_kind(word, l->limits.disk, l->m->initramfs_hash
                                ^ l->m->base.host.templates_without_node);
    kind_path(l->m, l->kind, path);
    memory = template_use(l, path, dir, word, former, state);
    l->templated = memory != -1;
    l->booted = !l->templated;

    return memory;
}


void
machine_template_drop(const machine_launch *l)
{
    char  path[BOX_PATH];

    kind_path(l->m, l->kind, path);
    (void) machine_dir_remove(path, NULL);
}


/* Is there memory for it?  Who is asked may not be there. */
static bool
build_admit(machine_build *b)
{
    error              *err;
    const driver_host  *host;

    err = NULL;
    host = &b->m->base.host;

    if (host->spare == NULL) {
        return true;
    }

    b->counted = host->spare(host->spare_data, b->spec.limits.memory, &err)
                 == 0;
    error_free(err);

    return b->counted;
}


static void
build_closed(uv_handle_t *handle)
{
    machine_build   *b;
    machine_driver  *m;

    b = handle->data;
    m = b->m;
    m->build = NULL;
    json_decref(b->spec.env);
    explicit_bzero(b->key, sizeof(b->key));
    free(b);
    box_release(&m->base);
}


static void
build_end(machine_build *b)
{
    const driver_host  *host;

    host = &b->m->base.host;

    if (b->counted && !b->m->base.freed) {
        host->spare_end(host->spare_data, b->spec.limits.memory);
    }

    if (b->err != NULL) {
        if (!b->m->base.freed) {
            log_warn("%s: no template could be made: %s", b->m->vmm->driver,
                     b->err->message);
        }
        error_free(b->err);
        b->err = NULL;
    }

    uv_close((uv_handle_t *) &b->timer, build_closed);
}


static void
build_destroyed(void *data, error *err)
{
    machine_build  *b;

    b = data;

    if (b->err == NULL) {
        b->err = err;
    } else {
        error_free(err);
    }

    build_end(b);
}


static void
build_copy_work(uv_work_t *work)
{
    bool            memory;
    char            from[BOX_PATH], new[BOX_PATH], to[BOX_PATH];
    struct statvfs  fs;
    machine_build  *b;

    b = work->data;
    box_path(&b->m->base, MACHINE_TEMPLATE_SLOT, NULL, from, sizeof(from));
    template_path(b->m, NEW, new);
    kind_path(b->m, b->kind, to);

    templates_trim(b->m, b->m->base.host.templates - 1);

    if (statvfs(b->m->templates, &fs) == 0
        && (uint64_t) fs.f_bavail * fs.f_frsize
           < b->spec.limits.memory + TEMPLATE_ROOM)
    {
        error_set(&b->err, 507, "disk", "there is little room on the disk");

    } else if (machine_copy(from, true, new, 0, &memory, &b->err) != 0) {
        (void) machine_dir_remove(new, NULL);

    } else if (rename(new, to) != 0) {
        box_failed(&b->err, to);
        (void) machine_dir_remove(new, NULL);
    }
}


static void
build_copied(uv_work_t *work, int status)
{
    machine_build  *b;

    b = work->data;

    if (b->err == NULL) {
        log_info("%s: a template of the image \"%s\" is made",
                 b->m->vmm->driver, b->spec.image);
    }

    box_destroy_run(&b->m->base.d, MACHINE_TEMPLATE_SLOT, build_destroyed, b);
}


static void
build_warmed(void *data, int status, json_t *result)
{
    machine_build  *b;

    b = data;
    b->work.data = b;
    uv_queue_work(b->m->base.host.loop, &b->work, build_copy_work,
                  build_copied);
}


/* The shell of the default session is there; without it there is one that is
 * started later, and so are interpreters. */
static void
build_has_shell(void *data, int status, json_t *result)
{
    machine_build  *b;

    b = data;
    machine_agent_code(&b->m->base, MACHINE_TEMPLATE_SLOT, b->key, true,
                       build_warmed, b);
}


static void
build_started(void *data, const driver_handle *handle, error *err)
{
    machine_build  *b;

    b = data;
    b->err = err;

    if (err != NULL || b->m->base.freed) {
        box_destroy_run(&b->m->base.d, MACHINE_TEMPLATE_SLOT, build_destroyed,
                        b);
        return;
    }

    machine_agent_warm(&b->m->base, MACHINE_TEMPLATE_SLOT, b->key,
                       build_has_shell, b);
}


/* Real starts go first. */
static void
build_look(uv_timer_t *timer)
{
    machine_build  *b;

    b = timer->data;

    if (b->m->base.freed) {
        build_end(b);

    } else if (b->m->starting == 0 && build_admit(b)) {
        machine_start_run(&b->m->base.d, &b->spec, b->boot_ms, build_started,
                          b);

    } else {
        uv_timer_start(&b->timer, build_look, BUILD_WAIT_MS, 0);
    }
}


void
machine_template_want(const machine_launch *l)
{
    machine_build   *b;
    machine_driver  *m;

    m = (machine_driver *) l->m;

    /* The next start that boots asks again. */
    if (!l->booted || m->build != NULL || m->base.freed) {
        return;
    }

    b = calloc(1, sizeof(machine_build));
    if (b == NULL) {
        abort();
    }

    machine_key_make(b->key);
    b->m = m;
    b->kind = l->kind;
    b->boot_ms = l->timeout_ms > BUILD_MS ? l->timeout_ms : BUILD_MS;
    b->spec.id = MACHINE_TEMPLATE;
    b->spec.slot = MACHINE_TEMPLATE_SLOT;
    b->spec.key = b->key;
    b->spec.image = m->base.host.image_names[l->image];
    b->spec.env = json_object();
    b->spec.limits = l->limits;
    b->spec.limits.pids = 0;
    m->build = b;

    box_hold(&m->base);
    uv_timer_init(m->base.host.loop, &b->timer);
    b->timer.data = b;
    uv_timer_start(&b->timer, build_look, BUILD_WAIT_MS, 0);
}


/* The driver is about to go: so is what is being made. */
void
machine_template_abandon(box_driver *bd)
{
    box             *b;
    machine_driver  *m;

    m = (machine_driver *) bd;

    if (m->build == NULL) {
        return;
    }

    if (uv_is_active((uv_handle_t *) &m->build->timer)) {
        uv_timer_start(&m->build->timer, build_look, 0, 0);
    }

    b = box_find(bd, MACHINE_TEMPLATE_SLOT);

    if (b != NULL && b->start != NULL) {
        b->start->deadline = 1;
        box_start_deadline(b->start);

    } else if (b != NULL && b->state == BOX_RUNNING) {
        box_signal(b, SIGKILL);
    }
}
