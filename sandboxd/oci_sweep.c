/*
 * What an earlier sandboxd has left: who holds a socket is a sandbox, whatever
 * else there is of it; and layers, which are deleted in the background.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/process_start.h"
#include "sandboxd/oci.h"

/* A listening or connected socket with one of our paths. */
typedef struct {
    unsigned long    inode;
    uint32_t         slot;
    pid_t            holder;
    uint64_t         start_time;    /* of the holder */
} socket_entry;

typedef struct oci_sockets {
    socket_entry    *entries;
    size_t           count, size;
} socket_list;


/* What is deleted is still there for a while: no other gets its name. */
void
oci_sweep_other(box_driver *bd, const char *name)
{
    oci_driver     *o;
    unsigned long   n;

    if (strncmp(name, "trash-", 6) != 0 || strlen(name) >= 30
        || strspn(name + 6, "0123456789abcdef-") != strlen(name + 6))
    {
        return;
    }

    o = (oci_driver *) bd;
    n = strtoul(strrchr(name, '-') + 1, NULL, 16);

    if (n >= o->trash && n < UINT_MAX) {
        o->trash = (unsigned) n + 1;
    }

    oci_trash_remove(o, name);
}


static void
sockets_read(const box_driver *bd, socket_list *list)
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
    len = strlen(bd->sockets);

    while (getline(&line, &size, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        path = strchr(line, '/');

        if (path == NULL || strncmp(path, bd->sockets, len) != 0
            || path[len] != '/' || !box_slot_parse(path + len + 1, &slot)
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


void
oci_sweep_find(box_driver *bd, box_slots *found)
{
    size_t        i;
    socket_list  *list;

    list = calloc(1, sizeof(socket_list));
    if (list == NULL) {
        abort();
    }

    sockets_read(bd, list);
    holders_find(list);

    for (i = 0; i < list->count; i++) {
        box_slot_add(found, list->entries[i].slot);
    }

    ((oci_driver *) bd)->sockets = list;
}


void
oci_sweep_kill(box_driver *bd, uint32_t slot)
{
    size_t        i;
    socket_list  *list;

    list = ((oci_driver *) bd)->sockets;

    for (i = 0; i < list->count; i++) {
        if (list->entries[i].slot == slot && list->entries[i].holder) {
            box_kill_wait(bd, list->entries[i].holder,
                          list->entries[i].start_time, 0);
        }
    }
}


void
oci_sweep_remove(box_driver *bd, uint32_t slot)
{
    char         from[BOX_PATH], to[BOX_PATH], name[9], trash[30];
    oci_driver  *o;

    o = (oci_driver *) bd;
    box_slot_name(slot, name);
    snprintf(trash, sizeof(trash), "trash-%s-%x", name, o->trash++);
    snprintf(from, sizeof(from), "%s/%s", bd->dirs, name);
    snprintf(to, sizeof(to), "%s/%s", bd->dirs, trash);

    if (rename(from, to) == 0) {
        oci_trash_remove(o, trash);

    } else if (errno != ENOENT) {
        log_warn("%s: what a sandbox has left stays: %s", bd->d.name,
                 strerror(errno));
    }
}


void
oci_sweep_end(box_driver *bd)
{
    oci_driver  *o;

    o = (oci_driver *) bd;
    free(o->sockets->entries);
    free(o->sockets);
    o->sockets = NULL;
}
