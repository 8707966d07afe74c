/*
 * Vsock for QEMU's machines: by vhost-device-vsock, which the keeper starts
 * before QEMU, in the same namespaces and with the same view of files but as a
 * user of its own, and whose sockets are on a file system in memory that is
 * mounted there alone; or by the kernel.  See qemu.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandboxd/mount.h"
#include "sandboxd/qemu.h"
#include "sandboxd/seccomp.h"

/* As they are seen in the jail. */
#define PROGRAM        "/vm/vhost-device-vsock"
#define SOCKETS        "/vm/s"
#define SOCKET_DEVICE  SOCKETS "/device"
#define SOCKET_VSOCK   SOCKETS "/vsock"

#define CID            "3"      /* its device serves one guest alone */

#define RUN_ONLY   (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY)

#define LISTEN_MS      10000    /* it has some 5 ms of work before that */
#define LOOK_MS        5
#define DESCRIPTORS    (2 * QEMU_VSOCK_CONNECTIONS + 96)

static pid_t     vsock_aid = -1;
static uint32_t  vsock_cid;


static int
failed(const char *what, error **err)
{
    return error_set(err, 500, "start_failed", "vsock: %.200s: %s", what,
                     strerror(errno));
}


int
qemu_vsock_jail(const vm_order *order, error **err)
{
    char         options[128];
    const char  *program;

    program = qemu_args_aid(order);

    if (program == NULL) {
        return error_set(err, 500, "internal", "the order is incomplete");
    }

    snprintf(options, sizeof(options),
             "mode=0711,uid=%u,gid=%u,size=64k,nr_inodes=16",
             (unsigned) order->aid_uid, (unsigned) order->aid_uid);

    if (mkdir("." SOCKETS, 0711) != 0
        || mount("sockets", "." SOCKETS, "tmpfs", MS_NOSUID | MS_NODEV
                 | MS_NOEXEC, options) != 0)
    {
        return failed("sockets", err);
    }

    return vm_jail_file(program, "." PROGRAM, RUN_ONLY) == 0
           ? vm_ram_make(order, err) : failed(program, err);
}


static void __attribute__((noreturn))
aid_exec(const vm_order *order)
{
    error     *err;
    sigset_t   none;

    static char *const  argv[] = { PROGRAM, "--guest-cid", CID, "--socket",
                                   SOCKET_DEVICE, "--uds-path", SOCKET_VSOCK,
                                   NULL };
    static char *const  env[] = { "PATH=/usr/bin:/bin", "RUST_LOG=error",
                                  NULL };

    err = NULL;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(VM_FD_LOG, 1);

    vm_limit(RLIMIT_FSIZE, 0);
    vm_limit(RLIMIT_CORE, 0);
    vm_limit(RLIMIT_NOFILE, DESCRIPTORS);

    /* The keeper, another user, has to be able to connect. */
    (void) umask(0);
    vm_become(order->aid_uid);

    if (seccomp_filter_load(&err) == 0) {
        execve(argv[0], argv, env);
        error_set(&err, 500, "start_failed", "%s", strerror(errno));
    }

    dprintf(VM_FD_LOG, "vhost-device-vsock: %s\n", err->message);
    _exit(127);
}


/* It listens once it can be connected to. */
static int
aid_connect(void)
{
    int                  fd;
    struct sockaddr_un   un;

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    strcpy(un.sun_path, SOCKET_DEVICE);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd != -1 && connect(fd, (struct sockaddr *) &un, sizeof(un)) != 0) {
        close(fd);
        fd = -1;
    }

    return fd;
}


int
qemu_vsock_open(const vm_order *order, error **err)
{
    int              fd, i, status;
    struct timespec  pause;

    if (qemu_monitor_open(order, err) != 0) {
        return -1;
    }

    vsock_aid = fork();

    if (vsock_aid == 0) {
        aid_exec(order);
    }

    if (vsock_aid == -1) {
        return failed("fork", err);
    }

    pause.tv_sec = 0;
    pause.tv_nsec = LOOK_MS * 1000000;

    for (i = 0; i < LISTEN_MS / LOOK_MS; i++) {
        fd = aid_connect();

        if (fd != -1) {
            vm_fd_place(fd, VM_FD_VSOCK);
            return 0;
        }

        if (waitpid(vsock_aid, &status, WNOHANG) == vsock_aid) {
            return error_set(err, 500, "start_failed", "%s",
                             qemu_vsock_ended(vsock_aid, status));
        }

        (void) nanosleep(&pause, NULL);
    }

    return error_set(err, 500, "start_failed", "vhost-device-vsock didn't "
                     "listen within %d seconds", LISTEN_MS / 1000);
}


int
qemu_vsock_connect(void)
{
    return vm_hybrid_connect(SOCKET_VSOCK);
}


const char *
qemu_vsock_ended(pid_t pid, int status)
{
    static char  why[80];

    if (pid != vsock_aid) {
        return NULL;
    }

    if (WIFSIGNALED(status)) {
        snprintf(why, sizeof(why), "vhost-device-vsock was ended by signal %d",
                 WTERMSIG(status));
    } else {
        snprintf(why, sizeof(why), "vhost-device-vsock ended with status %d",
                 WEXITSTATUS(status));
    }

    return why;
}


int
qemu_vhost_open(const vm_order *order, error **err)
{
    vsock_cid = order->cid;

    return qemu_monitor_open(order, err);
}


int
qemu_vhost_connect(void)
{
    return vm_vsock_connect(vsock_cid);
}
