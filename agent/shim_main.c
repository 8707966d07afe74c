/*
 * The shim: see shim_proto.h.  One thread, one poll loop over the agent's
 * socket and SIGCHLD; it never blocks elsewhere.  When the agent goes, its end
 * of the socket closes, and everything below the shim is killed.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim_internal.h"
#include "agent/shim_main.h"
#include "common/clock.h"

#define SHIM_OOM        100
#define SHIM_STEP_MS    5           /* how often a dying tree is looked at */

shim_state  shim_self;


int64_t
shim_now(void)
{
    return (int64_t) clock_ms(CLOCK_MONOTONIC);
}


void
shim_tell(shim_op op, int pid, int value, int extra)
{
    shim_msg  m;

    m.op = op;
    m.pid = pid;
    m.value = value;
    m.extra = extra;

    /* A full socket only means that the agent is busy: the packets are small
     * and few, so waiting is right. */
    while (send(SHIM_SOCKET, &m, sizeof(m), MSG_NOSIGNAL) < 0
           && errno == EINTR)
    { /* again */ }
}


/* The order counts: what the agent has sent is taken before children are
 * reaped, so that a job is watched before its end can be seen. */

void
shim_reap(void)
{
    int        status, left;
    pid_t      pid;
    shim_job  *job;

    for ( ;; ) {
        pid = waitpid(-1, &status, WNOHANG);

        if (pid < 0 && errno == ECHILD) {
            if (shim_self.had_children) {
                shim_self.had_children = 0;
                shim_tell(SHIM_EMPTY, 0, 0, 0);
            }
            return;
        }

        if (pid <= 0) {
            return;
        }

        job = shim_job_find(pid);
        if (job != NULL) {
            *job = shim_self.jobs[--shim_self.njobs];
        }

        if (job != NULL || pid == shim_self.child) {
            left = proctree_children(getpid(), shim_self.list, 0, 1) != 0;
            if (pid == shim_self.child) {
                shim_self.child = 0;
                shim_self.had_children = left;
            }
            shim_tell(SHIM_EXIT, pid, status, left);
        }
    }
}


static void
shim_handle(const shim_msg *m, const int *fds, int nfds)
{
    switch (m->op) {
    case SHIM_SPAWN:
        shim_self.is_shell = m->value != 0;
        shim_self.has_tty = m->value == 2;
        shim_spawn_child(fds, nfds);
        break;

    case SHIM_HOLD:
        shim_hold(fds, nfds);
        break;

    case SHIM_DROP:
        if (m->value != 0) {
            (void) !write(SHIM_HELD_GO, "", 1);
        }

        shim_drop();
        break;

    case SHIM_WATCH:
        if (shim_self.njobs < SHIM_JOBS_MAX) {
            shim_self.jobs[shim_self.njobs].pid = m->pid;
            shim_self.jobs[shim_self.njobs].number = (uint32_t) m->value;
            shim_self.njobs++;
            shim_job_mark(m->pid, (uint32_t) m->value);
        }
        break;

    case SHIM_MARK:
        if (m->value == 0) {
            shim_mark();
        } else {
            shim_self.nmarked = 0;
        }
        break;

    case SHIM_INTERRUPT:
        shim_interrupt(m->value, m->extra);
        break;

    case SHIM_KILL:
        shim_kill_start(m->pid, m->extra, m->value);
        break;

    case SHIM_SIGNAL:
        shim_pass(m->pid, m->value, m->extra);
        break;

    default:
        shim_kill_exit();
    }
}


/* Takes one packet; returns 0 when there is none. */

static int
shim_receive(void)
{
    int              i, nfds, fds[SHIM_MAX_FDS];
    ssize_t          n;
    shim_msg         m;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *c;
    union {
        struct cmsghdr  align;
        char            space[CMSG_SPACE(sizeof(fds))];
    } control;

    iov.iov_base = &m;
    iov.iov_len = sizeof(m);
    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    n = recvmsg(SHIM_SOCKET, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }

    if (n != sizeof(m)) {
        shim_kill_exit();
    }

    nfds = 0;
    c = CMSG_FIRSTHDR(&msg);
    if (c != NULL && c->cmsg_type == SCM_RIGHTS) {
        nfds = (int) ((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), (size_t) nfds * sizeof(int));
    }

    shim_handle(&m, fds, nfds);

    for (i = 0; i < nfds; i++) {
        close(fds[i]);
    }

    return 1;
}


static void
shim_nofile(const char *text)
{
    rlim_t         soft;
    struct rlimit  lim;

    soft = strtoul(text, NULL, 10);

    if (soft != 0 && getrlimit(RLIMIT_NOFILE, &lim) == 0
        && soft <= lim.rlim_max)
    {
        lim.rlim_cur = soft;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}


/* What the agent's own starter left open is nothing for commands, and a shell
 * counts on free places (shell_text.c). */

static void
shim_close_others(void)
{
    int  fd;

    if (close_range(SHIM_SOCKET + 1, ~0U, 0) != 0) {
        for (fd = SHIM_SOCKET + 1; fd < 1024; fd++) {
            close(fd);
        }
    }
}


/* Where memory is short, what runs inside goes before the agent does. */

static void
shim_oom(void)
{
    int      fd, n;
    char     text[16];
    ssize_t  len;

    fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    len = read(fd, text, sizeof(text) - 1);
    if (len > 0) {
        text[len] = '\0';
        n = atoi(text) + SHIM_OOM;
        n = snprintf(text, sizeof(text), "%d", n > 1000 ? 1000 : n);
        (void) !pwrite(fd, text, (size_t) n, 0);
    }

    close(fd);
}


void
shim_main(const char *nofile)
{
    sigset_t                  set;
    struct pollfd             p[2];
    struct signalfd_siginfo   info;

    prctl(PR_SET_NAME, SHIM_ARGV0, 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    setsid();
    shim_nofile(nofile);
    shim_oom();
    fcntl(SHIM_SOCKET, F_SETFD, FD_CLOEXEC);
    shim_close_others();

    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);

    p[0].fd = SHIM_SOCKET;
    p[0].events = POLLIN;
    p[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    p[1].events = POLLIN;

    shim_self.null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (p[1].fd == -1 || shim_self.null == -1 || shim_self.null >= SHIM_HELD) {
        _exit(1);
    }

    shim_drop();

    for ( ;; ) {
        poll(p, 2, shim_kill_active() ? SHIM_STEP_MS : -1);

        while (shim_receive()) { /* all that is there */ }

        while (read(p[1].fd, &info, sizeof(info)) > 0) { /* only a call */ }
        shim_reap();
        shim_kill_steps();
    }
}
