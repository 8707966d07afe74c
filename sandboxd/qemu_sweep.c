/*
 * What an earlier sandboxd has left: machines that no record knows or that
 * their record says don't run.  A keeper is in its lock file before it begins,
 * and takes everything with it but its directory, its socket and its group.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/qemu.h"

#define KILL_WAIT_MS  5000

typedef struct {
    uint32_t  *slots;
    size_t     count, size;
} slot_list;


static void
slot_add(void *data, uint32_t slot)
{
    size_t      i;
    slot_list  *list;

    list = data;

    for (i = 0; i < list->count; i++) {
        if (list->slots[i] == slot) {
            return;
        }
    }

    if (list->count == list->size) {
        list->size = list->size ? list->size * 2 : 64;
        list->slots = realloc(list->slots, list->size * sizeof(uint32_t));

        if (list->slots == NULL) {
            abort();
        }
    }

    list->slots[list->count++] = slot;
}


static void
dir_slots(const char *path, slot_list *list)
{
    DIR            *dir;
    struct dirent  *entry;

    dir = opendir(path);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strlen(entry->d_name) == 8
            && strspn(entry->d_name, "0123456789abcdef") == 8)
        {
            slot_add(list, (uint32_t) strtoul(entry->d_name, NULL, 16));
        }
    }

    if (dir != NULL) {
        closedir(dir);
    }
}


static void
kill_wait(pid_t pid, uint64_t start_time)
{
    int            fd;
    struct pollfd  p;

    fd = pidfd_open(pid, 0);
    if (fd == -1) {
        return;
    }

    if (process_start_time(pid) == start_time) {
        log_info("qemu: killing process %d, left by an earlier sandboxd",
                 (int) pid);
        (void) pidfd_send_signal(fd, SIGKILL, NULL, 0);

        p.fd = fd;
        p.events = POLLIN;
        (void) poll(&p, 1, KILL_WAIT_MS);
    }

    close(fd);
}


static void
kill_member(void *data, pid_t pid)
{
    kill_wait(pid, process_start_time(pid));
}


static void
run_remove(qemu_driver *q, uint32_t slot)
{
    int       lock;
    char      path[QEMU_PATH];
    pid_t     pid;
    uint64_t  start_time;

    qemu_path(q, slot, "lock", path, sizeof(path));
    lock = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    cgroup_thaw(q->cg, slot);

    if (lock != -1) {
        pid = slot_lock_read(lock, q->boot_id, &start_time);

        if (pid != 0) {
            kill_wait(pid, start_time);
        }

        (void) !ftruncate(lock, 0);
        close(lock);
    }

    cgroup_processes(q->cg, slot, kill_member, NULL);
    (void) cgroup_remove(q->cg, slot);

    qemu_socket_path(q, slot, path, sizeof(path));
    (void) unlink(path);
}


void
qemu_sweep_run(driver *d, bool (*keep)(void *data, uint32_t slot,
    bool *running), void *data)
{
    bool          kept, running;
    error        *err;
    size_t        i;
    slot_list     list;
    qemu_driver  *q;

    q = (qemu_driver *) d;
    memset(&list, 0, sizeof(list));

    dir_slots(q->machines, &list);
    dir_slots(q->sockets, &list);
    cgroup_slots(q->cg, slot_add, &list);

    for (i = 0; i < list.count; i++) {
        running = false;
        kept = keep(data, list.slots[i], &running);

        /* Those that others run have no box, but a socket. */
        if (kept && (running || qemu_box_find(q, list.slots[i]) != NULL)) {
            continue;
        }

        run_remove(q, list.slots[i]);
        err = NULL;

        if (!kept && qemu_dir_remove(q, list.slots[i], &err) != 0) {
            log_warn("qemu: what a sandbox has left stays: %s", err->message);
            error_free(err);
        }
    }

    free(list.slots);
}
