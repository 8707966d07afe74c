/*
 * What an earlier sandboxd has left: sandboxes that no record knows or that
 * their record says don't run, with everything that is theirs.  A sandbox is
 * found by its directory, its socket, its group, and by who holds its socket,
 * so that none is missed that was started a moment before sandboxd was killed.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_prepare.h"
#include "sandboxd/oci_wire.h"

#define KILL_WAIT_MS  5000
#define LOCK_TRIES    300       /* of 10 ms: a launch of before is giving up */

typedef struct {
    uint32_t        *slots;
    size_t           count, size;
} slot_list;

/* A listening or connected socket with one of our paths. */
typedef struct {
    unsigned long    inode;
    uint32_t         slot;
    pid_t            holder;
    uint64_t         start_time;    /* of the holder */
} socket_entry;

typedef struct {
    socket_entry    *entries;
    size_t           count, size;
} socket_list;


static void
slot_add(void *data, uint32_t slot)
{
    size_t      i;
    uint32_t   *more;
    slot_list  *list;

    list = data;

    for (i = 0; i < list->count; i++) {
        if (list->slots[i] == slot) {
            return;
        }
    }

    if (list->count == list->size) {
        list->size = list->size ? list->size * 2 : 64;
        more = realloc(list->slots, list->size * sizeof(uint32_t));

        if (more == NULL) {
            abort();
        }

        list->slots = more;
    }

    list->slots[list->count++] = slot;
}


static bool
slot_parse(const char *name, uint32_t *slot)
{
    size_t  i;

    for (i = 0; i < 8; i++) {
        if (!isxdigit((unsigned char) name[i])
            || isupper((unsigned char) name[i]))
        {
            return false;
        }
    }

    *slot = (uint32_t) strtoul(name, NULL, 16);

    return name[8] == '\0';
}


/* Entries of a directory that are named like slots; others are passed to
 * other(), if there is one. */
static void
dir_slots(const char *path, slot_list *list, oci_driver *o,
    void (*other)(oci_driver *o, const char *name))
{
    DIR            *dir;
    uint32_t        slot;
    struct dirent  *entry;

    dir = opendir(path);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (slot_parse(entry->d_name, &slot)) {
            slot_add(list, slot);

        } else if (other != NULL) {
            other(o, entry->d_name);
        }
    }

    if (dir != NULL) {
        closedir(dir);
    }
}


static void
trash_found(oci_driver *o, const char *name)
{
    if (strncmp(name, "trash-", 6) == 0 && strlen(name) < 30
        && strspn(name + 6, "0123456789abcdef-") == strlen(name + 6))
    {
        oci_trash_remove(o, name);
    }
}


static void
sockets_read(const oci_driver *o, socket_list *list)
{
    FILE          *f;
    char          *line, *path;
    size_t         size, len;
    uint32_t       slot;
    unsigned long  inode;

    f = fopen("/proc/net/unix", "re");
    if (f == NULL) {
        return;
    }

    line = NULL;
    size = 0;
    len = strlen(o->sockets);

    while (getline(&line, &size, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        path = strchr(line, '/');

        if (path == NULL || strncmp(path, o->sockets, len) != 0
            || path[len] != '/' || !slot_parse(path + len + 1, &slot)
            || sscanf(line, "%*s %*s %*s %*s %*s %*s %lu", &inode) != 1)
        {
            continue;
        }

        if (list->count == list->size) {
            list->size = list->size ? list->size * 2 : 64;
            list->entries = realloc(list->entries,
                                    list->size * sizeof(socket_entry));
            if (list->entries == NULL) {
                abort();
            }
        }

        list->entries[list->count].inode = inode;
        list->entries[list->count].slot = slot;
        list->entries[list->count].holder = 0;
        list->entries[list->count].start_time = 0;
        list->count++;
    }

    free(line);
    fclose(f);
}


static void
holder_check(socket_list *list, pid_t pid)
{
    DIR            *dir;
    char            path[64], target[64];
    size_t          i;
    ssize_t         n;
    uint64_t        start_time;
    unsigned long   inode;
    struct dirent  *entry;

    start_time = process_start_time(pid);

    snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);
    dir = opendir(path);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';

        if (sscanf(target, "socket:[%lu]", &inode) != 1) {
            continue;
        }

        for (i = 0; i < list->count; i++) {
            if (list->entries[i].inode == inode) {
                list->entries[i].holder = pid;
                list->entries[i].start_time = start_time;
            }
        }
    }

    if (dir != NULL) {
        closedir(dir);
    }
}


/* Looks at the processes of other pid namespaces only: a client of a sandbox
 * is never taken for it. */
static void
holders_find(socket_list *list)
{
    DIR            *proc;
    char            path[64], own[64], its[64];
    pid_t           pid;
    ssize_t         n;
    struct dirent  *entry;

    n = readlink("/proc/self/ns/pid", own, sizeof(own) - 1);
    if (n <= 0 || list->count == 0) {
        return;
    }

    own[n] = '\0';
    proc = opendir("/proc");

    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        pid = (pid_t) atoi(entry->d_name);

        if (pid <= 1) {
            continue;
        }

        snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int) pid);
        n = readlink(path, its, sizeof(its) - 1);

        if (n <= 0) {
            continue;
        }

        its[n] = '\0';

        if (strcmp(own, its) != 0) {
            holder_check(list, pid);
        }
    }

    if (proc != NULL) {
        closedir(proc);
    }
}


/* The descriptor names whatever has the number now: only then is looked whether
 * that is the process which was meant. */
static void
kill_wait(pid_t pid, uint64_t start_time)
{
    int            fd;
    struct pollfd  p;

    fd = pidfd_open(pid, 0);
    if (fd == -1) {
        return;
    }

    if (process_start_time(pid) != start_time) {
        close(fd);
        return;
    }

    log_info("oci: killing process %d, left by an earlier sandboxd",
             (int) pid);

    (void) pidfd_send_signal(fd, SIGKILL, NULL, 0);

    p.fd = fd;
    p.events = POLLIN;
    (void) poll(&p, 1, KILL_WAIT_MS);
    close(fd);
}


static void
kill_member(void *data, pid_t pid)
{
    kill_wait(pid, process_start_time(pid));
}


/* A launch that its sandboxd has left kills what it has started and ends; it
 * holds the lock until then. */
static int
lock_wait(const oci_driver *o, uint32_t slot)
{
    int   fd, tries;
    char  path[4200], name[9];

    oci_slot_name(slot, name);
    snprintf(path, sizeof(path), "%s/%s/lock", o->layers, name);

    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1) {
        return -1;
    }

    for (tries = 0; flock(fd, LOCK_EX | LOCK_NB) == -1; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES) {
            log_error("oci: slot %s is locked by another process", name);
            break;
        }

        usleep(10000);
    }

    return fd;
}


static void
run_remove(oci_driver *o, uint32_t slot, const socket_list *sockets)
{
    int       lock;
    char      path[AGENT_SOCKET_MAX + 32];
    pid_t     pid;
    size_t    i;
    uint64_t  start_time;

    lock = lock_wait(o, slot);

    if (lock != -1) {
        pid = slot_lock_read(lock, o->boot_id, &start_time);

        if (pid != 0) {
            kill_wait(pid, start_time);
        }

        (void) !ftruncate(lock, 0);
    }

    for (i = 0; i < sockets->count; i++) {
        if (sockets->entries[i].slot == slot && sockets->entries[i].holder) {
            kill_wait(sockets->entries[i].holder,
                      sockets->entries[i].start_time);
        }
    }

    cgroup_thaw(o->cg, slot);
    cgroup_processes(o->cg, slot, kill_member, NULL);
    (void) cgroup_remove(o->cg, slot);

    oci_socket_path(o, slot, path, sizeof(path));
    (void) unlink(path);

    if (lock != -1) {
        close(lock);
    }
}


static void
layer_remove(oci_driver *o, uint32_t slot)
{
    char  from[4200], to[4200], name[9], trash[30];

    oci_slot_name(slot, name);
    snprintf(trash, sizeof(trash), "trash-%s-%x", name, o->trash++);
    snprintf(from, sizeof(from), "%s/%s", o->layers, name);
    snprintf(to, sizeof(to), "%s/%s", o->layers, trash);

    if (rename(from, to) == 0) {
        oci_trash_remove(o, trash);
    }
}


/* Those that were being launched when their sandboxd was killed. */
static void
launches_wait(oci_driver *o, const slot_list *list)
{
    int     lock;
    size_t  i;

    for (i = 0; i < list->count; i++) {
        if (oci_box_find(o, list->slots[i]) == NULL) {
            lock = lock_wait(o, list->slots[i]);

            if (lock != -1) {
                close(lock);
            }
        }
    }
}


void
oci_sweep_run(driver *d, bool (*keep)(void *data, uint32_t slot,
    bool *running), void *data)
{
    bool          kept, running;
    size_t        i;
    slot_list     list;
    oci_driver   *o;
    socket_list   sockets;

    o = (oci_driver *) d;
    memset(&list, 0, sizeof(list));
    memset(&sockets, 0, sizeof(sockets));

    dir_slots(o->layers, &list, o, trash_found);
    dir_slots(o->sockets, &list, o, NULL);
    cgroup_slots(o->cg, slot_add, &list);

    launches_wait(o, &list);
    sockets_read(o, &sockets);
    holders_find(&sockets);

    for (i = 0; i < sockets.count; i++) {
        slot_add(&list, sockets.entries[i].slot);
    }

    for (i = 0; i < list.count; i++) {
        running = false;
        kept = keep(data, list.slots[i], &running);

        /* Those that others run have no box, but a socket. */
        if (kept && (running || oci_box_find(o, list.slots[i]) != NULL)) {
            continue;
        }

        run_remove(o, list.slots[i], &sockets);

        if (!kept) {
            layer_remove(o, list.slots[i]);
        }
    }

    free(list.slots);
    free(sockets.entries);
}
