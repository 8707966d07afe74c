/* The limits of a sandbox; see cgroup.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/small_file.h"
#include "sandboxd/cgroup_part.h"

#define CPU_PERIOD_US      100000
#define REMOVE_TRIES       200          /* of 10 ms */
#define PROBE_SLOT         0            /* nobody's, not a template's either */

static int
file_write(const char *dir, const char *name, const char *text)
{
    char  path[CGROUP_FILE_MAX + 128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);

    return small_file_write(path, text);
}


char *
cgroup_file_read(const char *path)
{
    int      fd;
    char    *text, *more;
    size_t   size, len;
    ssize_t  n;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return NULL;
    }

    size = 0;
    len = 0;
    text = NULL;

    do {
        if (len + 1 >= size) {
            size += 65536;
            more = realloc(text, size);

            if (more == NULL) {
                break;
            }

            text = more;
        }

        n = read(fd, text + len, size - len - 1);
        len += n > 0 ? (size_t) n : 0;
    } while (n > 0 && len < 16 * 1024 * 1024);

    close(fd);

    if (text != NULL) {
        text[len] = '\0';
    }

    return text;
}


void
cgroup_slot_dir(const cgroup_base *h, uint32_t slot, char *path)
{
    snprintf(path, CGROUP_FILE_MAX, "%s/%08" PRIx32, h->base, slot);
}


static bool
has_word(const char *text, const char *word)
{
    size_t       len;
    const char  *p;

    len = strlen(word);

    for (p = text; (p = strstr(p, word)) != NULL; p += len) {
        if ((p == text || p[-1] == ' ')
            && strchr(" \n", p[len]) != NULL)
        {
            return true;
        }
    }

    return false;
}


static const struct {
    const char  *name;
    unsigned     bit;
} v2_names[] = {
    { "cpu", CGROUP_CPU },
    { "memory", CGROUP_MEMORY },
    { "pids", CGROUP_PIDS }
};


/* The controllers that a file of a version 2 group names. */
static unsigned
v2_controllers(const char *dir, const char *file)
{
    char      path[CGROUP_FILE_MAX + 64], *text;
    size_t    i;
    unsigned  bits;

    bits = 0;
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    text = cgroup_file_read(path);

    for (i = 0; text != NULL && i < 3; i++) {
        if (has_word(text, v2_names[i].name)) {
            bits |= v2_names[i].bit;
        }
    }

    free(text);

    return bits;
}


/* Hands the controllers down from a version 2 group to its children; returns
 * those that the children have. */
static unsigned
v2_enable(const char *dir)
{
    char    word[16];
    size_t  i;

    for (i = 0; i < 3; i++) {
        snprintf(word, sizeof(word), "+%s", v2_names[i].name);
        (void) file_write(dir, "cgroup.subtree_control", word);
    }

    return v2_controllers(dir, "cgroup.subtree_control");
}


/* A version 2 group can't both have processes and hand controllers down: ours
 * move into a leaf of their own, as service managers ask for. */
static void
v2_move_self(const char *dir)
{
    char  leaf[CGROUP_FILE_MAX + 64], pid[16];

    snprintf(leaf, sizeof(leaf), "%s/sandboxd", dir);
    snprintf(pid, sizeof(pid), "%d", (int) getpid());

    if (mkdir(leaf, 0755) == 0 || errno == EEXIST) {
        (void) file_write(leaf, "cgroup.procs", pid);
    }
}


static bool
v2_delegated(const char *dir)
{
    char  value[8];

    return getxattr(dir, "trusted.delegate", value, sizeof(value)) == 1
           || getxattr(dir, "user.delegate", value, sizeof(value)) == 1;
}


static bool
v2_base(cgroup_base *h, const cgroup_hierarchy *found, const char *tag)
{
    char      parent[CGROUP_PATH_MAX * 2];
    unsigned  bits;

    snprintf(parent, sizeof(parent), "%s%s", found->mount, found->own);

    /* Root without a delegated group of its own uses the top of what it
     * sees; anyone else has only the group that it was given. */
    if (geteuid() == 0 && !v2_delegated(parent)) {
        snprintf(parent, sizeof(parent), "%s", found->mount);

    } else if (found->own[0] == '\0') {
        return false;
    }

    /* A hybrid hierarchy has none here: nothing to make a group for. */
    if (v2_controllers(parent, "cgroup.controllers") == 0) {
        return false;
    }

    bits = v2_enable(parent);

    if (bits == 0) {
        v2_move_self(parent);
        bits = v2_enable(parent);
    }

    if (bits == 0) {
        return false;
    }

    snprintf(h->base, sizeof(h->base), "%s/sandboxd-%s", parent, tag);

    if (mkdir(h->base, 0755) == -1 && errno != EEXIST) {
        return false;
    }

    h->v2 = true;
    h->controllers = v2_enable(h->base);

    return h->controllers != 0;
}


static bool
v1_base(cgroup_base *h, const cgroup_hierarchy *found, const char *tag)
{
    h->v2 = false;
    h->controllers = found->controllers;

    snprintf(h->base, sizeof(h->base), "%s/sandboxd-%s", found->mount, tag);

    return mkdir(h->base, 0755) == 0 || errno == EEXIST;
}


static int
set_number(const char *dir, const char *name, uint64_t value)
{
    char  text[32];

    snprintf(text, sizeof(text), "%" PRIu64, value);

    return file_write(dir, name, text);
}


static int
set_cpu(const cgroup_base *h, const char *dir, double cpu)
{
    char      text[48];
    uint64_t  quota;

    quota = (uint64_t) (cpu * CPU_PERIOD_US);
    if (quota < 1000) {
        quota = 1000;       /* the kernel's least */
    }

    if (h->v2) {
        snprintf(text, sizeof(text), "%" PRIu64 " %u", quota, CPU_PERIOD_US);
        return file_write(dir, "cpu.max", text);
    }

    if (set_number(dir, "cpu.cfs_period_us", CPU_PERIOD_US) == -1) {
        return -1;
    }

    return set_number(dir, "cpu.cfs_quota_us", quota);
}


static int
set_memory(const cgroup_base *h, const char *dir, uint64_t bytes)
{
    if (h->v2) {
        if (set_number(dir, "memory.max", bytes) == -1) {
            return -1;
        }

        /* The files about swap are missing where there is none. */
        (void) file_write(dir, "memory.swap.max", "0");
        return 0;
    }

    if (set_number(dir, "memory.limit_in_bytes", bytes) == -1) {
        return -1;
    }

    (void) set_number(dir, "memory.memsw.limit_in_bytes", bytes);

    return 0;
}


/* The controllers that these limits need. */
static unsigned
limits_need(const driver_limits *limits)
{
    return (limits->cpu > 0 ? CGROUP_CPU : 0)
           | (limits->memory ? CGROUP_MEMORY : 0)
           | (limits->pids ? CGROUP_PIDS : 0);
}


static int
group_limit(const cgroup_base *h, const char *dir,
    const driver_limits *limits, error **err)
{
    if ((h->controllers & CGROUP_MEMORY) && limits->memory
        && set_memory(h, dir, limits->memory) == -1)
    {
        return error_set(err, 500, "cgroup", "can't limit memory: %s",
                         strerror(errno));
    }

    if ((h->controllers & CGROUP_CPU) && limits->cpu > 0
        && set_cpu(h, dir, limits->cpu) == -1)
    {
        return error_set(err, 500, "cgroup", "can't limit cpu: %s",
                         strerror(errno));
    }

    if ((h->controllers & CGROUP_PIDS) && limits->pids
        && set_number(dir, "pids.max", limits->pids) == -1)
    {
        return error_set(err, 500, "cgroup", "can't limit processes: %s",
                         strerror(errno));
    }

    return 0;
}


int
cgroup_create(const cgroup_host *cg, uint32_t slot,
    const driver_limits *limits, error **err)
{
    char      dir[CGROUP_FILE_MAX];
    unsigned  i, need;

    need = limits_need(limits);

    for (i = 0; i < cg->count; i++) {
        if ((cg->h[i].controllers & need) == 0) {
            continue;
        }

        cgroup_slot_dir(&cg->h[i], slot, dir);

        if (mkdir(dir, 0755) == -1 && errno == ENOENT) {
            /* Somebody tidied up while there was no sandbox. */
            (void) mkdir(cg->h[i].base, 0755);

            if (cg->h[i].v2) {
                (void) v2_enable(cg->h[i].base);
            }
        }

        if (mkdir(dir, 0755) == -1 && errno != EEXIST) {
            return error_set(err, 500, "cgroup", "can't make a group: %s",
                             strerror(errno));
        }

        if (group_limit(&cg->h[i], dir, limits, err) == -1) {
            return -1;
        }
    }

    return 0;
}


int
cgroup_join(const cgroup_host *cg, uint32_t slot, pid_t pid, error **err)
{
    char      dir[CGROUP_FILE_MAX], text[16];
    unsigned  i;

    snprintf(text, sizeof(text), "%d", (int) pid);

    for (i = 0; i < cg->count; i++) {
        cgroup_slot_dir(&cg->h[i], slot, dir);

        /* Where no limit was asked for there is no group. */
        if (file_write(dir, "cgroup.procs", text) == -1 && errno != ENOENT) {
            return error_set(err, 500, "cgroup", "can't join the group: %s",
                             strerror(errno));
        }
    }

    return 0;
}


void
cgroup_thaw(const cgroup_host *cg, uint32_t slot)
{
    char      dir[CGROUP_FILE_MAX];
    unsigned  i;

    for (i = 0; i < cg->count; i++) {
        cgroup_slot_dir(&cg->h[i], slot, dir);
        (void) file_write(dir, cg->h[i].v2 ? "cgroup.freeze" : "freezer.state",
                          cg->h[i].v2 ? "0" : "THAWED");
    }
}


void
cgroup_processes(const cgroup_host *cg, uint32_t slot,
    void (*f)(void *data, pid_t pid), void *data)
{
    char      dir[CGROUP_FILE_MAX], path[CGROUP_FILE_MAX + 16], *text, *p, *end;
    long      pid;
    unsigned  i;

    for (i = 0; i < cg->count; i++) {
        cgroup_slot_dir(&cg->h[i], slot, dir);
        snprintf(path, sizeof(path), "%s/cgroup.procs", dir);

        text = cgroup_file_read(path);

        for (p = text; p != NULL && *p != '\0'; p = end + (*end == '\n')) {
            pid = strtol(p, &end, 10);

            if (end == p) {
                break;
            }

            if (pid > 1) {
                f(data, (pid_t) pid);
            }
        }

        free(text);
    }
}


int
cgroup_remove(const cgroup_host *cg, uint32_t slot)
{
    int              rc, tries;
    char             dir[CGROUP_FILE_MAX];
    unsigned         i;
    struct timespec  pause = { 0, 10 * 1000 * 1000 };

    rc = 0;

    for (i = 0; i < cg->count; i++) {
        cgroup_slot_dir(&cg->h[i], slot, dir);

        for (tries = 0; rmdir(dir) == -1 && errno != ENOENT; tries++) {
            if (errno != EBUSY || tries == REMOVE_TRIES) {
                log_warn("cgroup %s stays: %s", dir, strerror(errno));
                rc = -1;
                break;
            }

            nanosleep(&pause, NULL);
        }
    }

    return rc;
}


void
cgroup_slots(const cgroup_host *cg, void (*f)(void *data, uint32_t slot),
    void *data)
{
    DIR            *dir;
    char           *end;
    unsigned        i;
    unsigned long   slot;
    struct dirent  *entry;

    for (i = 0; i < cg->count; i++) {
        dir = opendir(cg->h[i].base);

        while (dir != NULL && (entry = readdir(dir)) != NULL) {
            if (strlen(entry->d_name) != 8) {
                continue;
            }

            slot = strtoul(entry->d_name, &end, 16);

            if (*end == '\0') {
                f(data, (uint32_t) slot);
            }
        }

        if (dir != NULL) {
            closedir(dir);
        }
    }
}


/* What can't be set on a group of one's own can't be enforced. */
static void
base_probe(cgroup_base *h)
{
    char           dir[CGROUP_FILE_MAX];
    size_t         i;
    unsigned       works;
    cgroup_host    one;

    static const driver_limits  limits[] = {
        { .cpu = 1 }, { .memory = 64 * 1024 * 1024 }, { .pids = 64 }
    };

    works = 0;
    cgroup_slot_dir(h, PROBE_SLOT, dir);

    if (mkdir(dir, 0755) == 0 || errno == EEXIST) {
        for (i = 0; i < 3; i++) {
            if ((h->controllers & limits_need(&limits[i]))
                && group_limit(h, dir, &limits[i], NULL) == 0)
            {
                works |= limits_need(&limits[i]);
            }
        }
    }

    memset(&one, 0, sizeof(one));
    one.h[0] = *h;
    one.count = 1;
    (void) cgroup_remove(&one, PROBE_SLOT);

    h->controllers = works;
}


cgroup_host *
cgroup_open(const char *tag)
{
    bool            made;
    char           *mountinfo, *self;
    unsigned        i;
    cgroup_base    *h;
    cgroup_host    *cg;
    cgroup_layout   layout;

    cg = calloc(1, sizeof(cgroup_host));
    mountinfo = cgroup_file_read("/proc/self/mountinfo");
    self = cgroup_file_read("/proc/self/cgroup");

    if (cg != NULL && mountinfo != NULL && self != NULL) {
        cgroup_layout_parse(&layout, mountinfo, self);

        for (i = 0; i < layout.count; i++) {
            h = &cg->h[cg->count];

            made = layout.h[i].v2 ? v2_base(h, &layout.h[i], tag)
                                  : v1_base(h, &layout.h[i], tag);
            if (!made) {
                continue;
            }

            base_probe(h);

            /* A controller is in one hierarchy only, but a hierarchy can be
             * mounted twice. */
            h->controllers &= ~cg->enforced;

            if (h->controllers == 0) {
                (void) rmdir(h->base);
                continue;
            }

            cg->enforced |= h->controllers;
            cg->count++;
        }
    }

    free(mountinfo);
    free(self);

    return cg;
}


void
cgroup_close(cgroup_host *cg)
{
    unsigned  i;

    if (cg == NULL) {
        return;
    }

    for (i = 0; i < cg->count; i++) {
        (void) rmdir(cg->h[i].base);
    }

    free(cg);
}


unsigned
cgroup_enforced(const cgroup_host *cg)
{
    return cg->enforced;
}
