/* The helper process; see oci_helper.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/small_file.h"
#include "sandboxd/oci_helper.h"
#include "sandboxd/oci_launch.h"
#include "sandboxd/oci_root.h"
#include "sandboxd/oci_wire.h"

#define OOM_SCORE  "300"

/* What the helper says once, when it is set up. */
typedef struct {
    uint32_t  ok;
    uint32_t  count;            /* ids in the user namespace */
    error     err;
} helper_hello;

typedef struct {
    int       sock;
    pid_t     pid;
    oci_root  root;
} helper_state;


static bool
request_valid(const oci_request *r, ssize_t n)
{
    size_t  len;

    if (n < (ssize_t) sizeof(oci_request)
        || (size_t) n != sizeof(oci_request) + r->config_len
        || memchr(r->dir, '\0', sizeof(r->dir)) == NULL
        || memchr(r->hostname, '\0', sizeof(r->hostname)) == NULL)
    {
        return false;
    }

    len = strlen(r->dir);

    return len > 0 && strspn(r->dir, "0123456789abcdef-trash") == len;
}


static void
request_run(const helper_state *state, const oci_request *r, const int *fds)
{
    oci_launch  l;

    close(state->sock);

    /* What isn't done when the helper ends is the next one's to do. */
    if (r->op == OCI_OP_REMOVE || r->op == OCI_OP_SIZE) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

        if (getppid() != state->pid) {
            _exit(1);
        }
    }

    if (r->op == OCI_OP_REMOVE) {
        oci_launch_remove(r, fds[0]);
    }

    if (r->op == OCI_OP_SIZE) {
        oci_launch_size(r, fds[0]);
    }

    if (r->op == OCI_OP_NAME) {
        oci_launch_name(r, fds[0], fds[1]);
    }

    l.request = r;
    l.config = (const char *) (r + 1);
    l.crun = state->root.crun;
    l.host_image = state->root.host_image
                   ? (int) state->root.host->image_count : -1;
    l.answer = fds[0];
    l.lock = fds[1];
    l.listen = fds[2];
    l.boot = fds[3];
    l.log = fds[4];
    l.disk = r->disk ? fds[5] : -1;

    oci_launch_run(&l);
}


static void
helper_loop(const helper_state *state)
{
    int           fds[OCI_REQUEST_FDS];
    bool          ok;
    pid_t         pid;
    ssize_t       n;
    unsigned      i;

    static union {
        oci_request  r;
        char         space[sizeof(oci_request) + OCI_CONFIG_MAX];
    } buf;

    for ( ;; ) {
        n = oci_wire_recv(state->sock, &buf, sizeof(buf), fds,
                          OCI_REQUEST_FDS, 0);
        if (n <= 0) {
            return;
        }

        ok = request_valid(&buf.r, n) && fds[0] != -1
             && (buf.r.op == OCI_OP_REMOVE || buf.r.op == OCI_OP_SIZE
                 || (buf.r.op == OCI_OP_NAME && fds[1] != -1)
                 || (buf.r.op == OCI_OP_START && fds[4] != -1
                     && (!buf.r.disk || fds[5] != -1)));

        pid = ok ? _Fork() : -1;

        if (pid == 0) {
            request_run(state, &buf.r, fds);
        }

        if (pid == -1 && fds[0] != -1) {
            oci_launch_failed(fds[0], "%s", ok ? "can't fork"
                                               : "invalid request");
        }

        for (i = 0; i < OCI_REQUEST_FDS; i++) {
            if (fds[i] != -1) {
                close(fds[i]);
            }
        }
    }
}


/* Nothing of the driver's process may be reachable from here. */
static int
helper_isolate(int sock)
{
    int  null;

    null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null == -1 || dup2(null, 0) == -1 || dup2(null, 1) == -1
        || dup2(null, 2) == -1 || dup2(sock, 3) == -1
        || close_range(4, ~0U, 0) == -1
        || fcntl(3, F_SETFD, FD_CLOEXEC) == -1)
    {
        return -1;
    }

    clearenv();
    umask(022);

    return 0;
}


/* Sandboxes go first when the host has no memory left.  They inherit it, and
 * can't go below it where a privileged process has set it. */
static void
oom_score_raise(void)
{
    (void) small_file_write("/proc/self/oom_score_adj", OOM_SCORE);
}


/* Less than a page: no core is written.  0 would mean the same for files, but
 * where core_pattern names a program of the host's, only 1 keeps the kernel
 * from running that, as root, on what a guest has left in memory.  All
 * sandboxes inherit it; the filter sees to it that it stays. */
static void
core_forbid(void)
{
    struct rlimit  rl;

    rl.rlim_cur = 1;
    rl.rlim_max = 1;

    if (setrlimit(RLIMIT_CORE, &rl) == -1) {
        /* It is 0, and this process may not raise it. */
        rl.rlim_cur = 0;
        rl.rlim_max = 0;
        (void) setrlimit(RLIMIT_CORE, &rl);
    }
}


static void
helper_signals(void)
{
    int       n;
    sigset_t  none;

    for (n = 1; n < NSIG; n++) {
        (void) signal(n, SIG_DFL);
    }

    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);

    /* A terminal's Ctrl-C is for sandboxd, which ends this one in time; the
     * children are reaped by the kernel. */
    (void) signal(SIGINT, SIG_IGN);
    (void) signal(SIGHUP, SIG_IGN);
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGCHLD, SIG_IGN);
}


static void
helper_main(int sock, const driver_host *host, const char *layers,
    userns_map *map)
{
    error         *err;
    helper_hello   hello;
    helper_state   state;

    memset(&hello, 0, sizeof(hello));
    memset(&state, 0, sizeof(state));

    if (helper_isolate(sock) == -1) {
        _exit(1);
    }

    oom_score_raise();
    core_forbid();

    /* Not before the set-up has waited for its children. */
    (void) signal(SIGCHLD, SIG_DFL);
    (void) prctl(PR_SET_NAME, "sandboxd-oci");

    state.sock = 3;
    state.pid = getpid();
    state.root.host = host;
    state.root.layers = layers;
    state.root.host_image = host->dev;

    err = NULL;

    if (oci_root_enter(&state.root, map, &err) == 0) {
        hello.ok = 1;
        hello.count = map->count;

    } else if (err != NULL) {
        hello.err = *err;
    }

    helper_signals();

    if (oci_wire_send(3, &hello, sizeof(hello), NULL, 0, NULL, 0) == -1
        || !hello.ok)
    {
        _exit(1);
    }

    helper_loop(&state);
    _exit(0);
}


int
oci_helper_start(oci_helper *helper, const driver_host *host,
    const char *layers, userns_map *map, error **err)
{
    int           size, pidfd, socks[2];
    pid_t         pid;
    ssize_t       n;
    helper_hello  hello;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) == -1) {
        return error_set(err, 500, "internal", "socketpair: %s",
                         strerror(errno));
    }

    size = 4 * (int) (sizeof(oci_request) + OCI_CONFIG_MAX);
    (void) setsockopt(socks[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));

    pid = fork();

    if (pid == -1) {
        close(socks[0]);
        close(socks[1]);
        return error_set(err, 500, "internal", "fork: %s", strerror(errno));
    }

    if (pid == 0) {
        helper_main(socks[1], host, layers, map);
    }

    close(socks[1]);
    pidfd = pidfd_open(pid, 0);

    n = oci_wire_recv(socks[0], &hello, sizeof(hello), NULL, 0, 0);

    if (n != sizeof(hello) || !hello.ok || pidfd == -1) {
        if (n == sizeof(hello) && hello.ok) {
            error_set(err, 500, "internal", "pidfd_open: %s", strerror(errno));
        } else if (n == sizeof(hello)) {
            error_set(err, hello.err.status, hello.err.code, "%s",
                      hello.err.message);
        } else {
            error_set(err, 500, "driver", "the helper process died");
        }

        close(socks[0]);
        (void) waitpid(pid, NULL, 0);
        if (pidfd != -1) {
            close(pidfd);
        }
        return -1;
    }

    map->count = hello.count;
    helper->pid = pid;
    helper->pidfd = pidfd;
    helper->sock = socks[0];

    return 0;
}


/* One that has ended was reaped by whoever looks for adopted children. */
void
oci_helper_stop(oci_helper *helper)
{
    siginfo_t  info;

    if (helper->pid <= 0) {
        return;
    }

    close(helper->sock);
    (void) pidfd_send_signal(helper->pidfd, SIGKILL, NULL, 0);
    (void) waitid(P_PIDFD, (id_t) helper->pidfd, &info, WEXITED);
    close(helper->pidfd);

    helper->pid = 0;
    helper->sock = -1;
}
