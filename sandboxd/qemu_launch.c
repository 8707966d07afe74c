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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/disk_file.h"
#include "sandboxd/qemu.h"
#include "sandboxd/qemu_args.h"

#define LOCK_TRIES     200          /* of 10 ms: somebody may be dying */
#define BOOT_DISK      (VM_BOOT_MAX + 65536)    /* it ends with zeros */
#define MEMORY_MORE    (128ull << 20)   /* of a machine, beside its memory */
#define OVERHEAD_KVM   (192ull << 20)
#define OVERHEAD_TCG   (256ull << 20)
#define THREADS_MAX    512          /* of QEMU, on the host */


static int
failed(qemu_launch *l, const char *what)
{
    return error_set(&l->err, errno == ENOSPC || errno == EDQUOT ? 507 : 500,
                     "start_failed", "%s: %s", what, strerror(errno));
}


static int
dir_open(qemu_launch *l)
{
    int   dir;
    char  path[QEMU_PATH];

    /* It would start without them. */
    snprintf(path, sizeof(path), "%s/sandboxes/%08x", l->q->host.state_dir,
             l->slot);

    if (access(path, F_OK) == 0) {
        return error_set(&l->err, 409, "start_failed", "its files are those "
                         "of a container (sandboxd --driver oci)");
    }

    qemu_path(l->q, l->slot, NULL, path, sizeof(path));

    if (mkdir(path, 0700) == -1 && errno != EEXIST) {
        return failed(l, "can't make the sandbox's directory");
    }

    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (dir == -1 || (mkdirat(dir, "jail", 0700) == -1 && errno != EEXIST)) {
        failed(l, "sandbox's directory");
        if (dir != -1) {
            close(dir);
        }
        return -1;
    }

    return dir;
}


static int
lock_take(qemu_launch *l, int dir)
{
    int       tries;
    pid_t     pid;
    uint64_t  start_time;

    l->lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                     0600);
    if (l->lock == -1) {
        return failed(l, "lock");
    }

    for (tries = 0; flock(l->lock, LOCK_EX | LOCK_NB) == -1; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES) {
            return failed(l, "the sandbox's directory is in use");
        }

        usleep(10000);
    }

    pid = slot_lock_read(l->lock, l->q->boot_id, &start_time);

    if (pid != 0) {
        return error_set(&l->err, 409, "already_running",
                         "the sandbox runs already (process %d)", (int) pid);
    }

    l->owned = true;

    return 0;
}


static int
disk_open(qemu_launch *l, int dir)
{
    int       fd;
    uint64_t  size;

    fd = openat(dir, "disk", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd == -1 && errno == ENOENT) {
        size = l->limits.disk < QEMU_DISK_MIN ? QEMU_DISK_MIN : l->limits.disk;
        return disk_file_create(dir, "disk", size & ~0xfffffull, &l->err);
    }

    return fd != -1 ? fd : failed(l, "disk");
}


static int
image_open(qemu_launch *l)
{
    int          fd;
    const char  *path;
    struct stat  st;

    path = l->q->host.image_dirs[l->image];
    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        return failed(l, path);
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        close(fd);
        return error_set(&l->err, 500, "start_failed", "the image %s is not a "
                         "file: a virtual machine needs a file system in one",
                         l->q->host.image_names[l->image]);
    }

    return fd;
}


/* It is in no file: only the guest, and we, ever see it.  A machine that goes
 * on has read it once. */
static int
boot_open(qemu_launch *l)
{
    int     fd;
    size_t  len;

    len = l->again ? 0 : strlen(l->boot);
    fd = memfd_create("boot", MFD_CLOEXEC);

    if (fd == -1 || ftruncate(fd, BOOT_DISK) == -1
        || pwrite(fd, l->boot, len, 0) != (ssize_t) len)
    {
        failed(l, "boot object");
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    return fd;
}


static int
order_args(qemu_launch *l, vm_order *order)
{
    char       path[QEMU_PATH];
    qemu_args  args;

    qemu_path(l->q, l->slot, NULL, path, sizeof(path));

    args.qemu = l->q->qemu;
    args.name = path;
    args.kvm = l->q->kvm;
    args.memory = l->limits.memory;
    args.cpus = qemu_args_cpus(l->limits.cpu, args.kvm, l->q->cpus);
    args.again = l->again;

    return qemu_args_build(&args, (char *) (order + 1), VM_TEXT_MAX,
                           &order->argc, &order->args_len) == 0 ? 0
           : error_set(&l->err, 500, "internal", "too many arguments");
}


/* With that, whether it goes on is known. */
static int
order_build(qemu_launch *l, int dir, int *kept, vm_order *order)
{
    char         *rest;
    struct stat   st;

    if (order_args(l, order) != 0) {
        return -1;
    }

    qemu_kept_word(l, (char *) (order + 1), order->args_len,
                   l->q->host.image_dirs[l->image], order->asleep);
    *kept = qemu_kept_open(dir, order->asleep, order->former);
    l->again = *kept != -1;

    if (l->again) {
        if (order_args(l, order) != 0) {
            return -1;
        }

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

    if (order->file_max < QEMU_DISK_MIN) {
        order->file_max = QEMU_DISK_MIN;
    }

    order->vmm_uid = QEMU_UID_VMM + (l->slot & QEMU_UID_MASK);
    order->own_uid = QEMU_UID_KEEPER + (l->slot & QEMU_UID_MASK);
    order->kvm = l->q->kvm;
    memcpy(order->key, l->key, sizeof(order->key));
    qemu_path(l->q, l->slot, "jail", order->jail, sizeof(order->jail));
    snprintf(order->kernel, sizeof(order->kernel), "%s", l->q->kernel);
    snprintf(order->initramfs, sizeof(order->initramfs), "%s",
             l->q->initramfs);

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
keeper_clone(qemu_launch *l, const int fds[VM_FDS])
{
    long               pid;
    char               path[QEMU_PATH];
    char              *argv[] = { VM_NAME, path, NULL };
    struct clone_args  args;

    qemu_path(l->q, l->slot, NULL, path, sizeof(path));

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
        return failed(l, "clone3");
    }

    (void) fcntl(l->pidfd, F_SETFD, FD_CLOEXEC);
    l->pid = (pid_t) pid;
    l->start_time = process_start_time(l->pid);

    return 0;
}


/* The run is in the lock file before it has begun: none is ever lost. */
static int
keeper_order(qemu_launch *l, int to, const vm_order *order)
{
    size_t       len, sent;
    ssize_t      n;
    const char  *text;

    if (cgroup_join(l->q->cg, l->slot, l->pid, &l->err) == -1) {
        return -1;
    }

    slot_lock_write(l->lock, l->q->boot_id, l->pid, l->start_time);
    text = (const char *) order;
    len = sizeof(*order) + order->args_len + order->boot_len;

    /* It reads as fast as this can write, or is dead. */
    for (sent = 0; sent < len; sent += (size_t) n) {
        n = write(to, text + sent, len - sent);

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            return failed(l, "the keeper's order");
        }
    }

    return 0;
}


static int
group_make(qemu_launch *l)
{
    driver_limits  limits;

    /* On the host; in the guest the machine itself is the limit. */
    limits = l->limits;
    limits.disk = 0;
    limits.pids = THREADS_MAX;
    limits.memory += l->q->kvm ? OVERHEAD_KVM : OVERHEAD_TCG;

    if (!l->q->d.enforces_cpu) {
        limits.cpu = 0;
    }

    return cgroup_create(l->q->cg, l->slot, &limits, &l->err);
}


static int
files_open(qemu_launch *l, int dir, int fds[VM_FDS])
{
    char  path[AGENT_SOCKET_MAX + 32];

    qemu_socket_path(l->q, l->slot, path, sizeof(path));

    fds[VM_FD_DISK] = disk_open(l, dir);
    if (fds[VM_FD_DISK] == -1) {
        return -1;
    }

    fds[VM_FD_ROOT] = image_open(l);
    if (fds[VM_FD_ROOT] == -1) {
        return -1;
    }

    fds[VM_FD_BOOT] = boot_open(l);
    if (fds[VM_FD_BOOT] == -1) {
        return -1;
    }

    fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    fds[VM_FD_MEMORY] = openat(dir, "memory", O_RDWR | O_CREAT | O_TRUNC
                               | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fds[VM_FD_KEPT] == -1) {
        fds[VM_FD_KEPT] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }

    fds[VM_FD_END] = openat(dir, "end", O_WRONLY | O_CREAT | O_TRUNC
                            | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fds[0] == -1 || fds[VM_FD_END] == -1 || fds[VM_FD_KEPT] == -1
        || fds[VM_FD_MEMORY] == -1)
    {
        return failed(l, "sandbox's directory");
    }

    fds[VM_FD_LISTEN] = agent_socket(path, l->q->host.socket_gid, &l->err);

    return fds[VM_FD_LISTEN] == -1 ? -1 : 0;
}


static void
keeper_start(qemu_launch *l, const vm_order *order, int fds[VM_FDS])
{
    int  log[2], to[2];

    if (agent_log_pipe(log) == -1) {
        failed(l, "pipe");
        return;
    }

    l->log = log[0];
    fds[1] = log[1];
    fds[VM_FD_LOG] = log[1];

    if (pipe2(to, O_CLOEXEC) == -1) {
        failed(l, "pipe");

    } else {
        fds[VM_FD_ORDER] = to[0];

        if (keeper_clone(l, fds) == 0) {
            (void) keeper_order(l, to[1], order);
        }

        close(to[0]);
        close(to[1]);
    }

    close(log[1]);
    fds[1] = -1;
    fds[VM_FD_LOG] = -1;
    fds[VM_FD_ORDER] = -1;
}


void
qemu_launch_work(qemu_launch *l)
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

    dir = dir_open(l);

    if (dir != -1 && lock_take(l, dir) == 0
        && order_build(l, dir, &fds[VM_FD_KEPT], order) == 0
        && files_open(l, dir, fds) == 0 && group_make(l) == 0)
    {
        keeper_start(l, order, fds);
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
