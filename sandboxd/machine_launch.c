/*
 * What a start does to the host, in the thread pool: the sandbox's directory
 * and its lock, the disk, the agent's socket, the group; then the keeper, in
 * namespaces of its own, which waits for its order until it is in the group.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/process_start.h"
#include "sandboxd/disk_file.h"
#include "sandboxd/image_hold.h"
#include "sandboxd/machine.h"
#include "sandboxd/tsc.h"

#define BOOT_DISK      (VM_BOOT_MAX + 65536)    /* it ends with zeros */
#define MEMORY_MORE    (128ull << 20)   /* of a machine, beside its memory */
#define THREADS_MAX    512          /* of a VMM, on the host */


void
machine_launch_init(machine_launch *l)
{
    l->lock = -1;
    l->log = -1;
    l->pid = 0;
    l->pidfd = -1;
    l->owner = -1;
    l->owned = false;
}


static int
dir_open(machine_launch *l, error **err)
{
    int  dir;

    dir = box_dir_open(&l->m->base, l->slot, err);

    if (dir != -1 && mkdirat(dir, "jail", 0700) == -1 && errno != EEXIST) {
        box_failed(err, "sandbox's directory");
        close(dir);
        return -1;
    }

    return dir;
}


static int
disk_open(machine_launch *l, int dir, error **err)
{
    int          fd;
    uint64_t     size;
    struct stat  st;

    size = l->limits.disk < MACHINE_DISK_MIN ? MACHINE_DISK_MIN
                                             : l->limits.disk;
    size &= ~0xfffffull;
    fd = openat(dir, "disk", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd == -1 && errno != ENOENT) {
        return box_failed(err, "disk");
    }

    /* One that was prepared may be of another size than it was to be in the
     * end: the new one takes its place. */
    if (fd != -1 && l->first && fstat(fd, &st) == 0
        && (uint64_t) st.st_size != size)
    {
        close(fd);
        fd = -1;
    }

    return fd != -1 ? fd : disk_file_create(dir, "disk", size, err);
}


/* Comes before anything is done about a memory that was kept: one of an image
 * that is away for a moment is not of another. */
static int
image_open(machine_launch *l, error **err)
{
    int          fd;
    const char  *path;
    struct stat  st;

    path = l->m->base.host.image_dirs[l->image];
    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        return box_failed(err, path);
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        close(fd);
        return error_set(err, 500, "start_failed", "the image %s is not a "
                         "file: a virtual machine needs a file system in one",
                         l->m->base.host.image_names[l->image]);
    }

    /* The machine has the descriptor, and with it the lock. */
    if (image_hold(fd) == -1) {
        box_failed(err, path);
        close(fd);
        return -1;
    }

    return fd;
}


/* It is in no file: only the guest, and we, ever see it.  A machine that goes
 * on has read it once. */
static int
boot_open(machine_launch *l, error **err)
{
    int     fd;
    size_t  len;

    len = l->again ? 0 : strlen(l->boot);
    fd = memfd_create("boot", MFD_CLOEXEC);

    if (fd == -1 || ftruncate(fd, BOOT_DISK) == -1
        || pwrite(fd, l->boot, len, 0) != (ssize_t) len)
    {
        box_failed(err, "boot object");
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    return fd;
}


static int
cid_open(machine_launch *l, int dir, int fds[VM_FDS], error **err)
{
    l->cid = 0;

    if (!l->m->vmm->cid) {
        (void) unlinkat(dir, "cid", 0);
        return 0;
    }

    fds[VM_FD_VSOCK] = machine_cid_take(l->slot, dir, &l->cid, err);

    return fds[VM_FD_VSOCK] == -1 ? -1 : 0;
}


static int
order_args(machine_launch *l, vm_order *order, const char *name, error **err)
{
    vmm_machine  machine;

    machine.program = l->m->program;
    machine.name = name;
    machine.kvm = l->m->kvm;
    machine.memory = l->limits.memory;
    machine.cpus = machine_cpus(l->limits.cpu, machine.kvm, l->m->cpus);
    machine.again = l->again;
    machine.acpi = l->m->acpi;
    machine.tsc_khz = name[0] != '\0' && !machine.kvm ? tsc_khz() : 0;
    machine.uid = name[0] != '\0' ? order->vmm_uid : 0;
    machine.cid = name[0] != '\0' ? l->cid : 0;
    machine.disk_rate = name[0] != '\0' ? l->m->base.host.disk_rate : 0;
    machine.disk_ops = name[0] != '\0' ? l->m->base.host.disk_ops : 0;
    machine.aid = l->m->aid;

    return l->m->vmm->args(&machine, (char *) (order + 1), VM_TEXT_MAX,
                           &order->argc, &order->args_len) == 0 ? 0
           : error_set(err, 500, "internal", "too many arguments");
}


/* Who runs it, what it sees, and as whom. */
static void
order_host(const machine_launch *l, vm_order *order)
{
    snprintf(order->vmm, sizeof(order->vmm), "%s", l->m->vmm->name);
    order->vmm_uid = MACHINE_UID_VMM + (l->slot & MACHINE_UID_MASK);
    order->own_uid = MACHINE_UID_KEEPER + (l->slot & MACHINE_UID_MASK);
    order->aid_uid = MACHINE_UID_AID + (l->slot & MACHINE_UID_MASK);
    order->cid = l->cid;
    /* A jailer makes its own. */
    order->kvm = l->m->kvm && !l->m->vmm->jailer;
    order->memory = l->limits.memory;
    order->disk_floor = l->m->base.host.disk_floor;
    order->again_ms = machine_again_ms(l);
    order->unused = l->unused;
    memcpy(order->key, l->key, sizeof(order->key));
    box_path(&l->m->base, l->slot, NULL, order->dir, sizeof(order->dir));
    box_path(&l->m->base, l->slot, "jail", order->jail, sizeof(order->jail));
    snprintf(order->image, sizeof(order->image), "%s",
             l->m->base.host.image_dirs[l->image]);
    snprintf(order->kernel, sizeof(order->kernel), "%s", l->m->kernel);
    snprintf(order->initramfs, sizeof(order->initramfs), "%s",
             l->m->initramfs);
}


/* Its name, its cid and the limits of its disk are no part of what a machine
 * is. */
static int
order_word(machine_launch *l, vm_order *order, error **err)
{
    if (order_args(l, order, "", err) != 0) {
        return -1;
    }

    machine_kept_word(l, (char *) (order + 1), order->args_len,
                      l->m->base.host.image_dirs[l->image], order->asleep);

    return 0;
}


int
machine_launch_word(const machine_launch *l, char word[VM_END_MAX])
{
    int              rc;
    vm_order        *order;
    machine_launch   new;

    order = calloc(1, sizeof(vm_order) + VM_TEXT_MAX);
    if (order == NULL) {
        abort();
    }

    /* As it would begin. */
    new = *l;
    new.again = false;
    rc = order_word(&new, order, NULL);
    memcpy(word, order->asleep, VM_END_MAX);
    free(order);

    return rc;
}


/* With that, whether it goes on is known. */
static int
order_build(machine_launch *l, int dir, int fds[VM_FDS], vm_order *order,
    error **err)
{
    char         *rest;
    struct stat   st;

    order_host(l, order);

    if (order_word(l, order, err) != 0) {
        return -1;
    }

    if (l->forget) {
        (void) unlinkat(dir, "end", 0);
    }

    if (l->m->vmm->jailer) {
        machine_kept_back(dir);
    }

    fds[VM_FD_KEPT] = machine_kept_open(dir, order->asleep,
                                        l->m->base.boot_id, order->former,
                                        &fds[VM_FD_KEPT_STATE]);
    l->own = fds[VM_FD_KEPT] != -1;
    l->unfit = !l->own && machine_kept_any(dir);

    if (l->m->vmm->jailer) {
        machine_kept_rename(dir, fds[VM_FD_KEPT] != -1);

    } else if (fds[VM_FD_KEPT] == -1) {
        fds[VM_FD_KEPT] = machine_template_find(l, dir, order->asleep,
                                                order->former,
                                                &fds[VM_FD_KEPT_STATE]);
    }

    l->again = fds[VM_FD_KEPT] != -1;

    if (l->own && !l->m->vmm->jailer) {
        machine_kept_mark(l->m->base.boot_id, order->woken);
    }

    if (order_args(l, order, order->dir, err) != 0) {
        return -1;
    }

    if (l->again) {
        order->boot_len = (uint32_t) strlen(l->boot);
        rest = (char *) (order + 1) + order->args_len;
        memcpy(rest, l->boot, order->boot_len);
    }

    /* The disk may be of an earlier, larger size. */
    order->file_max = l->limits.memory + MEMORY_MORE;

    if (fstatat(dir, "disk", &st, AT_SYMLINK_NOFOLLOW) == -1) {
        st.st_size = (off_t) l->limits.disk;
    }

    if (order->file_max < (uint64_t) st.st_size) {
        order->file_max = (uint64_t) st.st_size;
    }

    if (order->file_max < MACHINE_DISK_MIN) {
        order->file_max = MACHINE_DISK_MIN;
    }

    return 0;
}


/* In the child of a process with threads: only what is safe there. */
static void __attribute__((noreturn))
keeper_exec(const int fds[VM_FDS], char *const argv[])
{
    int       i, high[VM_FDS];
    sigset_t  none;

    static char *const  env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };

    /* None of them is lost under another one's new number. */
    for (i = 0; i < VM_FDS; i++) {
        high[i] = fcntl(fds[i], F_DUPFD, VM_FDS);
        if (high[i] == -1) {
            _exit(126);
        }
    }

    for (i = 0; i < VM_FDS; i++) {
        dup2(high[i], i);
    }

    syscall(SYS_close_range, VM_FDS, ~0u, 0);

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve("/proc/self/exe", argv, env);
    _exit(126);
}


static int
keeper_clone(machine_launch *l, const int fds[VM_FDS], error **err)
{
    long               pid;
    char               path[BOX_PATH];
    char              *argv[] = { VM_NAME, path, NULL };
    struct clone_args  args;

    box_path(&l->m->base, l->slot, NULL, path, sizeof(path));

    memset(&args, 0, sizeof(args));
    args.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC
                 | CLONE_NEWUTS | CLONE_PIDFD;
    args.pidfd = (uint64_t) (uintptr_t) &l->pidfd;
    args.exit_signal = SIGCHLD;

    pid = syscall(SYS_clone3, &args, sizeof(args));

    if (pid == 0) {
        keeper_exec(fds, argv);
    }

    if (pid == -1) {
        l->pidfd = -1;
        return box_failed(err, "clone3");
    }

    (void) fcntl(l->pidfd, F_SETFD, FD_CLOEXEC);
    l->pid = (pid_t) pid;
    l->start_time = process_start_time(l->pid);

    return 0;
}


/* The run is in the lock file before it has begun: none is ever lost. */
static int
keeper_order(machine_launch *l, int to, const vm_order *order, error **err)
{
    size_t       len, sent;
    ssize_t      n;
    const char  *text;

    if (cgroup_join(l->m->base.cg, l->slot, l->pid, err) == -1) {
        return -1;
    }

    slot_lock_write(l->lock, l->m->base.boot_id, l->pid, l->start_time);
    text = (const char *) order;
    len = sizeof(*order) + order->args_len + order->boot_len;

    /* It reads as fast as this can write, or is dead. */
    for (sent = 0; sent < len; sent += (size_t) n) {
        n = write(to, text + sent, len - sent);

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            return box_failed(err, "the keeper's order");
        }
    }

    return 0;
}


static int
group_make(machine_launch *l, error **err)
{
    driver_limits  limits;

    /* On the host; in the guest the machine itself is the limit. */
    limits = l->limits;
    limits.disk = 0;
    limits.pids = THREADS_MAX;
    limits.memory += l->m->kvm ? l->m->vmm->overhead_kvm
                               : l->m->vmm->overhead_emulated;

    if (!l->m->base.d.enforces_cpu) {
        limits.cpu = 0;
    }

    return cgroup_create(l->m->base.cg, l->slot, &limits, err);
}


/* What it goes on from is used up by its keeper, when it goes on. */
static int
file_make(const machine_launch *l, int dir, const char *name)
{
    return openat(dir, name, O_RDWR | O_CREAT | (l->own ? 0 : O_TRUNC)
                  | O_CLOEXEC | O_NOFOLLOW, 0600);
}


/* Nobody but root gets to the directory. */
static int
control_open(int dir)
{
    int                 fd;
    struct sockaddr_un  at;

    (void) unlinkat(dir, "control", 0);
    machine_socket_address(dir, "control", &at);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd != -1 && (bind(fd, (struct sockaddr *) &at, sizeof(at)) != 0
                     || listen(fd, 4) != 0))
    {
        close(fd);
        fd = -1;
    }

    return fd;
}


static int
owner_open(machine_launch *l, int fds[VM_FDS])
{
    int  pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return -1;
    }

    l->owner = pair[0];
    fds[VM_FD_OWNER] = pair[1];

    return 0;
}


static int
files_open(machine_launch *l, int dir, int fds[VM_FDS], error **err)
{
    int   i;
    char  path[AGENT_SOCKET_MAX + 32];

    box_socket_path(&l->m->base, l->slot, path, sizeof(path));

    fds[VM_FD_DISK] = disk_open(l, dir, err);
    if (fds[VM_FD_DISK] == -1) {
        return -1;
    }

    fds[VM_FD_BOOT] = boot_open(l, err);
    if (fds[VM_FD_BOOT] == -1) {
        return -1;
    }

    fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fds[VM_FD_VSOCK] == -1) {
        fds[VM_FD_VSOCK] = open("/dev/null", O_RDWR | O_CLOEXEC);
    }

    fds[VM_FD_MEMORY] = file_make(l, dir, "memory");
    fds[VM_FD_STATE] = file_make(l, dir, "state");
    fds[VM_FD_END] = file_make(l, dir, "end");
    fds[VM_FD_CONSOLE] = openat(dir, "console", O_RDWR | O_CREAT | O_CLOEXEC
                                | O_NOFOLLOW, 0600);
    if (fds[VM_FD_CONSOLE] == -1) {
        return box_failed(err, "console");
    }

    /* The keeper makes a new one: of an earlier run it says nothing here. */
    (void) unlinkat(dir, VM_KILLS, 0);
    fds[VM_FD_CONTROL] = control_open(dir);

    if (l->unused && owner_open(l, fds) != 0) {
        return box_failed(err, "socketpair");
    }

    for (i = VM_FD_KEPT; i < VM_FDS; i++) {
        if (fds[i] == -1 && i != VM_FD_CONTROL) {
            fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
    }

    for (i = VM_FD_END; i < VM_FDS; i++) {
        if (fds[i] == -1) {
            return box_failed(err, "sandbox's directory");
        }
    }

    fds[VM_FD_LISTEN] = agent_socket(path, l->m->base.host.socket_gid, err);

    return fds[VM_FD_LISTEN] == -1 ? -1 : 0;
}


static void
keeper_start(machine_launch *l, const vm_order *order, int fds[VM_FDS],
    error **err)
{
    int  rc, log[2], to[2];

    if (agent_log_pipe(log) == -1) {
        box_failed(err, "pipe");
        return;
    }

    l->log = log[0];
    fds[VM_FD_LOG] = log[1];

    if (pipe2(to, O_CLOEXEC) == -1) {
        box_failed(err, "pipe");

    } else {
        fds[VM_FD_ORDER] = to[0];
        rc = keeper_clone(l, fds, err);

        /* The only reader is the keeper: its end is an error. */
        close(to[0]);

        if (rc == 0) {
            (void) keeper_order(l, to[1], order, err);
        }

        close(to[1]);
    }

    close(log[1]);
    fds[VM_FD_LOG] = -1;
    fds[VM_FD_ORDER] = -1;
}


void
machine_launch_work(machine_launch *l, error **err)
{
    int        i, dir, fds[VM_FDS];
    vm_order  *order;

    order = calloc(1, sizeof(vm_order) + VM_TEXT_MAX + VM_BOOT_MAX);
    if (order == NULL) {
        abort();
    }

    for (i = 0; i < VM_FDS; i++) {
        fds[i] = -1;
    }

    dir = dir_open(l, err);

    if (dir != -1
        && box_lock_take(&l->m->base, dir, &l->lock, &l->owned, err) == 0
        && cid_open(l, dir, fds, err) == 0
        && (fds[VM_FD_ROOT] = image_open(l, err)) != -1
        && order_build(l, dir, fds, order, err) == 0
        && files_open(l, dir, fds, err) == 0 && group_make(l, err) == 0)
    {
        keeper_start(l, order, fds, err);
    }

    for (i = 0; i < VM_FDS; i++) {
        if (fds[i] != -1) {
            close(fds[i]);
        }
    }

    if (dir != -1) {
        close(dir);
    }

    explicit_bzero(order, sizeof(vm_order) + order->args_len
                          + order->boot_len);
    free(order);
}
