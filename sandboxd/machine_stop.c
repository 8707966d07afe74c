/* The end of a machine and of its files; what it uses; see machine.h. */

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/small_file.h"
#include "sandboxd/machine.h"
#include "sandboxd/net_link.h"

typedef struct {
    machine_driver   *m;
    uint32_t          slot;
    driver_measured   cb;
    void             *data;
    driver_stats      stats;
    uv_work_t         work;
} machine_stats;


/* Words of the keeper's, of the VMM's, or of the guest's kernel. */
void
machine_clean(box *b)
{
    char    path[BOX_PATH];
    size_t  i;

    if (b->foreign || b->pid == 0) {
        return;
    }

    box_path(b->bd, b->slot, "end", path, sizeof(path));
    (void) small_file_text_at(AT_FDCWD, path, O_NOFOLLOW, b->why,
                              sizeof(b->why));

    /* That is no reason, and holds a key. */
    if (strncmp(b->why, MACHINE_KEPT, sizeof(MACHINE_KEPT) - 1) == 0) {
        b->kept = true;
        explicit_bzero(b->why, sizeof(b->why));
    }

    for (i = 0; b->why[i] != '\0'; i++) {
        if (!isprint((unsigned char) b->why[i])) {
            b->why[i] = '?';
        }
    }
}


/* The keeper's note of what the guest's kernel has said. */
bool
machine_kills(box_driver *bd, uint32_t slot, driver_kills *kills)
{
    char       path[BOX_PATH], text[129], *name, *end;
    long long  at;

    box_path(bd, slot, VM_KILLS, path, sizeof(path));
    (void) small_file_text_at(AT_FDCWD, path, O_NOFOLLOW, text, sizeof(text));
    memset(kills, 0, sizeof(*kills));

    if (sscanf(text, "%u %lld", &kills->count, &at) != 2) {
        kills->count = 0;
        return false;
    }

    kills->at = at;
    name = strchr(text, '(');
    end = name != NULL ? strrchr(name, ')') : NULL;

    if (end != NULL) {
        snprintf(kills->process, sizeof(kills->process), "%.*s",
                 (int) (end - name - 1), name + 1);
    }

    return kills->count > 0;
}


static int
dir_remove(const box_driver *bd, uint32_t slot, error **err)
{
    char  path[BOX_PATH];

    box_path(bd, slot, NULL, path, sizeof(path));

    return machine_dir_remove(path, err);
}


static void
destroy_work(box_stop *base)
{
    (void) dir_remove(base->bd, base->slot, &base->err);
}


void
machine_destroy(box_stop *base)
{
    box_stop_work(base, destroy_work, NULL);
}


void
machine_sweep_remove(box_driver *bd, uint32_t slot)
{
    error  *err;

    err = NULL;

    if (dir_remove(bd, slot, &err) != 0) {
        log_warn("%s: what a sandbox has left stays: %s", bd->d.name,
                 err->message);
        error_free(err);
    }
}


static void
stats_work(uv_work_t *work)
{
    driver_kills    kills;
    machine_stats  *s;

    s = work->data;

    /* Of the VMM with all that it has in memory, the guest's among it. */
    if (s->stats.running) {
        cgroup_stats(s->m->base.cg, s->slot, &s->stats);
        net_link_count(s->slot, &s->stats);
        s->stats.pids = -1;
        s->stats.pids_limit = -1;
        s->stats.oom_kills = machine_kills(&s->m->base, s->slot, &kills)
                             ? kills.count : 0;
    }

    box_disk_stats(&s->m->base, s->slot, &s->stats);

    /* Made with its first start. */
    if (s->stats.disk == -1) {
        s->stats.disk = 0;
    }
}


static void
stats_done(uv_work_t *work, int status)
{
    box_driver     *bd;
    machine_stats  *s;

    s = work->data;
    bd = &s->m->base;
    s->cb(s->data, &s->stats, NULL);
    free(s);
    box_release(bd);
}


void
machine_stats_run(driver *d, uint32_t slot, driver_measured cb, void *data)
{
    box            *b;
    machine_stats  *s;

    s = calloc(1, sizeof(machine_stats));
    if (s == NULL) {
        abort();
    }

    s->m = (machine_driver *) d;
    s->slot = slot;
    s->cb = cb;
    s->data = data;

    b = box_find(&s->m->base, slot);
    driver_stats_clear(&s->stats);
    s->stats.running = b != NULL && b->state == BOX_RUNNING;

    box_hold(&s->m->base);
    s->work.data = s;
    uv_queue_work(s->m->base.host.loop, &s->work, stats_work, stats_done);
}
