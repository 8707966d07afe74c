/*
 * What an earlier sandboxd has left: sandboxes that no record knows or that
 * their record says don't run, with everything that is theirs.  A sandbox is
 * found by its directory, its socket, its group, and by what the driver knows
 * more, so that none is missed that was started a moment before sandboxd was
 * killed.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/log.h"
#include "common/process_start.h"
#include "sandboxd/box.h"

#define KILL_WAIT_MS  5000
#define END_WAIT_MS   15000     /* for all that were told to end, together */
#define LOCK_TRIES    300       /* of 10 ms: a launch of before is giving up */


void
box_slot_add(void *data, uint32_t slot)
{
    size_t      i;
    uint32_t   *more;
    box_slots  *list;

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


bool
box_slot_parse(const char *name, uint32_t *slot)
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
dir_slots(box_driver *bd, const char *path, box_slots *list,
    void (*other)(box_driver *bd, const char *name))
{
    DIR            *dir;
    uint32_t        slot;
    struct dirent  *entry;

    dir = opendir(path);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (box_slot_parse(entry->d_name, &slot)) {
            box_slot_add(list, slot);

        } else if (other != NULL) {
            other(bd, entry->d_name);
        }
    }

    if (dir != NULL) {
        closedir(dir);
    }
}


/* The descriptor names whatever has the number now: only then is looked whether
 * that is the process which was meant. */
void
box_kill_wait(const box_driver *bd, pid_t pid, uint64_t start_time,
    int patience)
{
    int            fd;
    struct pollfd  p;

    fd = pidfd_open(pid, 0);
    if (fd == -1) {
        return;
    }

    p.fd = fd;
    p.events = POLLIN;

    if (process_start_time(pid) == start_time
        && (patience <= 0 || poll(&p, 1, patience) != 1))
    {
        log_info("%s: killing process %d, left by an earlier sandboxd",
                 bd->d.name, (int) pid);

        (void) pidfd_send_signal(fd, SIGKILL, NULL, 0);

        (void) poll(&p, 1, KILL_WAIT_MS);
    }

    close(fd);
}


static void
member_kill(void *data, pid_t pid)
{
    box_kill_wait(data, pid, process_start_time(pid), 0);
}


/* A launch that its sandboxd has left kills what it has started and ends; it
 * holds the lock until then. */
static int
lock_wait(const box_driver *bd, uint32_t slot)
{
    int   fd, tries;
    char  path[BOX_PATH];

    box_path(bd, slot, "lock", path, sizeof(path));

    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1) {
        return -1;
    }

    for (tries = 0; flock(fd, LOCK_EX | LOCK_NB) == -1; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES) {
            log_error("%s: slot %08x is locked by another process",
                      bd->d.name, slot);
            break;
        }

        usleep(10000);
    }

    return fd;
}


/* Nothing that is frozen ends. */
static void
run_remove(box_driver *bd, uint32_t slot, int patience)
{
    int           lock;
    char          path[AGENT_SOCKET_MAX + 32];
    pid_t         pid;
    uint64_t      start_time;
    driver_kills  kills;

    lock = lock_wait(bd, slot);
    cgroup_thaw(bd->cg, slot);

    if (lock != -1) {
        pid = slot_lock_read(lock, bd->boot_id, &start_time);

        if (pid != 0) {
            box_kill_wait(bd, pid, start_time, patience);
        }

        (void) !ftruncate(lock, 0);
    }

    if (bd->ops->sweep_kill != NULL) {
        bd->ops->sweep_kill(bd, slot);
    }

    cgroup_processes(bd->cg, slot, member_kill, bd);

    if (box_kills_take(bd, slot, &kills)) {
        box_kills_tell(bd, slot, &kills);
    }

    (void) cgroup_remove(bd->cg, slot);

    box_socket_path(bd, slot, path, sizeof(path));
    (void) unlink(path);

    if (lock != -1) {
        close(lock);
    }
}


/* Those that were being launched when their sandboxd was killed. */
static void
launches_wait(box_driver *bd, const box_slots *list)
{
    int     lock;
    size_t  i;

    for (i = 0; i < list->count; i++) {
        if (box_find(bd, list->slots[i]) == NULL) {
            lock = lock_wait(bd, list->slots[i]);

            if (lock != -1) {
                close(lock);
            }
        }
    }
}


static int
patience_left(uint64_t end)
{
    uint64_t  now;

    now = uv_hrtime() / 1000000;

    return now < end ? (int) (end - now) : 0;
}


void
box_sweep_run(driver *d, driver_slot_use use, void *data)
{
    size_t       i;
    uint64_t     end;
    slot_use     is;
    box_slots    list;
    box_driver  *bd;

    bd = (box_driver *) d;
    memset(&list, 0, sizeof(list));

    dir_slots(bd, bd->dirs, &list, bd->ops->sweep_other);
    dir_slots(bd, bd->sockets, &list, NULL);
    cgroup_slots(bd->cg, box_slot_add, &list);

    launches_wait(bd, &list);

    if (bd->ops->sweep_find != NULL) {
        bd->ops->sweep_find(bd, &list);
    }

    end = uv_hrtime() / 1000000 + END_WAIT_MS;

    for (i = 0; i < list.count; i++) {
        is = use(data, list.slots[i]);

        /* Those that others run have no box, but a socket. */
        if (is == SLOT_RUNS
            || (is != SLOT_NOBODYS && box_find(bd, list.slots[i]) != NULL))
        {
            continue;
        }

        run_remove(bd, list.slots[i],
                   is == SLOT_ENDING ? patience_left(end) : 0);

        if (is == SLOT_NOBODYS) {
            bd->ops->sweep_remove(bd, list.slots[i]);
        }
    }

    if (bd->ops->sweep_end != NULL) {
        bd->ops->sweep_end(bd);
    }

    free(list.slots);
}
