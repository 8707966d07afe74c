/*
 * Processes of a sandbox that were ended for want of memory; see cgroup.h.
 * Version 2 has a file whose changes are urgent data; version 1 an eventfd, of
 * which it makes use a moment before it ends a process.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sandboxd/cgroup_part.h"

#define V1_FILE  "memory.oom_control"
#define V2_FILE  "memory.events"


/* The slot's group in the hierarchy that has memory; false: there is none. */
static bool
memory_dir(const cgroup_host *cg, uint32_t slot, char dir[CGROUP_FILE_MAX],
    bool *v2)
{
    unsigned  i;

    for (i = 0; i < cg->count; i++) {
        if (cg->h[i].controllers & CGROUP_MEMORY) {
            *v2 = cg->h[i].v2;
            cgroup_slot_dir(&cg->h[i], slot, dir);
            return true;
        }
    }

    return false;
}


int64_t
cgroup_kills(const cgroup_host *cg, uint32_t slot)
{
    bool  v2;
    char  dir[CGROUP_FILE_MAX];

    return memory_dir(cg, slot, dir, &v2)
           ? cgroup_word(dir, v2 ? V2_FILE : V1_FILE, "oom_kill") : -1;
}


static int
file_open(const char *dir, const char *name, int flags)
{
    char  path[CGROUP_FILE_MAX + 64];

    snprintf(path, sizeof(path), "%s/%s", dir, name);

    return open(path, flags | O_CLOEXEC);
}


/* The group keeps the eventfd, and needs the other descriptor only once. */
static int
v1_watch(const char *dir)
{
    int   fd, of, control, n;
    bool  done;
    char  text[32];

    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    of = file_open(dir, V1_FILE, O_RDONLY);
    control = file_open(dir, "cgroup.event_control", O_WRONLY);

    n = snprintf(text, sizeof(text), "%d %d", fd, of);
    done = fd != -1 && of != -1 && control != -1
           && write(control, text, (size_t) n) == n;

    if (of != -1) {
        close(of);
    }

    if (control != -1) {
        close(control);
    }

    if (!done && fd != -1) {
        close(fd);
        fd = -1;
    }

    return fd;
}


int
cgroup_kills_watch(const cgroup_host *cg, uint32_t slot, bool *urgent)
{
    int   fd;
    char  dir[CGROUP_FILE_MAX];

    if (!memory_dir(cg, slot, dir, urgent)) {
        return -1;
    }

    if (!*urgent) {
        return v1_watch(dir);
    }

    fd = file_open(dir, V2_FILE, O_RDONLY);

    /* What it was is news until it has been read. */
    if (fd != -1) {
        cgroup_kills_seen(fd);
    }

    return fd;
}


void
cgroup_kills_seen(int fd)
{
    char  text[4096];

    (void) lseek(fd, 0, SEEK_SET);
    (void) !read(fd, text, sizeof(text));
}
