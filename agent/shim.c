/* The agent's side of its shims; see shim.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/proctree.h"
#include "agent/shim.h"
#include "common/buffer.h"
#include "common/log.h"

#define SHIM_IDLE_MAX  4
#define SHIM_FILL_MS   2            /* not while a request is waiting */
#define SHIM_NEW_MS    500

static shim        shim_list = { .next = &shim_list, .prev = &shim_list };
static unsigned    shim_total, shim_idle;
static unsigned    shim_wanted = 1;         /* idle ones to keep */
static char        shim_nofile[24] = "0";
static int         shim_early = -1;         /* a socket: made before the loop */
static pid_t       shim_early_pid;
static uv_timer_t  shim_timer;
static uint64_t    shim_since;              /* loop time of the agent's start */


static void shim_ready(io *w, int events);


void
shim_set_nofile(unsigned long soft)
{
    snprintf(shim_nofile, sizeof(shim_nofile), "%lu", soft);
}


static int
shim_exec(int fd, pid_t *pid)
{
    int                           rc;
    char                         *argv[3], *env[1];
    sigset_t                      none;
    posix_spawnattr_t             attr;
    posix_spawn_file_actions_t    acts;

    argv[0] = SHIM_ARGV0;
    argv[1] = shim_nofile;
    argv[2] = NULL;
    env[0] = NULL;

    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawn_file_actions_init(&acts);
    posix_spawn_file_actions_addopen(&acts, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&acts, 0, 1);
    posix_spawn_file_actions_adddup2(&acts, fd, SHIM_SOCKET);

    rc = posix_spawn(pid, "/proc/self/exe", &acts, &attr, argv, env);

    posix_spawn_file_actions_destroy(&acts);
    posix_spawnattr_destroy(&attr);

    return rc;
}


/* Our end of its socket, or -1. */

static int
shim_spawn(pid_t *pid)
{
    int  fds[2], rc;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   fds) != 0)
    {
        return -1;
    }

    /* Its own end blocks: what it has to tell must not be lost. */
    fcntl(fds[1], F_SETFL, 0);

    rc = shim_exec(fds[1], pid);
    close(fds[1]);

    if (rc != 0) {
        log_error("a shim can't be started: %s", strerror(rc));
        close(fds[0]);
        return -1;
    }

    return fds[0];
}


void
shim_prepare(void)
{
    shim_early = shim_spawn(&shim_early_pid);
}


static shim *
shim_new(void)
{
    int    fd;
    shim  *s;

    if (shim_total >= SHIM_MAX) {
        log_warn("%d shims are running, no more", SHIM_MAX);
        return NULL;
    }

    s = calloc(1, sizeof(shim));
    if (s == NULL) {
        return NULL;
    }

    if (shim_early != -1) {
        fd = shim_early;
        s->pid = shim_early_pid;
        shim_early = -1;

    } else {
        fd = shim_spawn(&s->pid);
    }

    if (fd == -1) {
        free(s);
        return NULL;
    }

    s->w = io_open(agent.loop, fd, shim_ready, s);
    if (s->w == NULL) {
        free(s);
        return NULL;
    }

    io_want(s->w, UV_READABLE);

    s->next = shim_list.next;
    s->prev = &shim_list;
    s->next->prev = s;
    shim_list.next = s;
    shim_total++;

    log_debug("shim %d", (int) s->pid);

    return s;
}


/* Fills the pool when nobody is waiting. */

static void
shim_fill(uv_timer_t *timer)
{
    shim  *s;

    if (agent.stopping || shim_idle >= shim_wanted) {
        return;
    }

    s = shim_new();
    if (s != NULL) {
        s->idle = 1;
        shim_idle++;
    }

    if (shim_idle < shim_wanted && s != NULL) {
        uv_timer_start(&shim_timer, shim_fill, 1, 0);
    }
}


void
shim_pool_start(int ahead)
{
    shim_since = uv_now(agent.loop);
    uv_timer_init(agent.loop, &shim_timer);

    if (ahead) {
        shim_fill(&shim_timer);
    } else {
        uv_timer_start(&shim_timer, shim_fill, 0, 0);
    }
}


uint64_t
shim_spare_ms(uint64_t ms)
{
    uint64_t  age;

    age = uv_now(agent.loop) - shim_since;

    return age + ms < SHIM_NEW_MS ? SHIM_NEW_MS - age : ms;
}


shim *
shim_take(shim_cb cb, void *data)
{
    shim  *s;

    for (s = shim_list.next; s != &shim_list && !s->idle; s = s->next) {
        /* look on */
    }

    if (s != &shim_list) {
        s->idle = 0;
        shim_idle--;

    } else {
        /* Nobody was ready: keep more of them from now on. */
        if (shim_wanted < SHIM_IDLE_MAX) {
            shim_wanted++;
        }

        s = shim_new();
        if (s == NULL) {
            return NULL;
        }
    }

    if (shim_idle < shim_wanted && !uv_is_active((uv_handle_t *) &shim_timer))
    {
        uv_timer_start(&shim_timer, shim_fill, shim_spare_ms(SHIM_FILL_MS),
                       0);
    }

    s->cb = cb;
    s->data = data;

    return s;
}


/* Once it was waited for, its number may be another process's. */

static void
shim_kill_one(shim *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
    }
}


static int
shim_post(shim *s, shim_msg *m, const int *fds, int nfds)
{
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *c;
    union {
        struct cmsghdr  align;
        char            space[CMSG_SPACE(SHIM_MAX_FDS * sizeof(int))];
    } control;

    iov.iov_base = m;
    iov.iov_len = sizeof(*m);
    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;

    if (nfds > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE((size_t) nfds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t) nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t) nfds * sizeof(int));
    }

    if (sendmsg(s->w->fd, &msg, MSG_NOSIGNAL) == sizeof(*m)) {
        return 0;
    }

    /* Dead, which is seen on the socket; or it doesn't take its messages and
     * is of no use any more. */
    log_debug("shim %d: %s", (int) s->pid, strerror(errno));
    shim_kill_one(s);

    return -1;
}


int
shim_send(shim *s, shim_op op, pid_t pid, int value, const int *fds, int nfds)
{
    shim_msg  m = { op, pid, value, 0 };

    return shim_post(s, &m, fds, nfds);
}


void
shim_end(shim *s, pid_t pid, int sig, int grace_ms)
{
    shim_msg  m = { SHIM_KILL, pid, grace_ms, sig };

    shim_post(s, &m, NULL, 0);
}


int
shim_interrupt_below(shim *s, int sig)
{
    shim_msg  m = { SHIM_INTERRUPT, 0, sig, 1 };

    return shim_post(s, &m, NULL, 0);
}


void
shim_signal(shim *s, pid_t pid, int sig, int tree)
{
    shim_msg  m = { SHIM_SIGNAL, pid, sig, tree };

    shim_post(s, &m, NULL, 0);
}


static void
shim_free(shim *s)
{
    s->next->prev = s->prev;
    s->prev->next = s->next;
    shim_total--;
    shim_idle -= (unsigned) s->idle;
    io_close(s->w);
    free(s);
}


void
shim_reaped(pid_t pid, int status)
{
    shim  *s;

    for (s = shim_list.next; s != &shim_list; s = s->next) {
        if (s->pid == pid) {
            s->pid = 0;
            s->killed = WIFSIGNALED(status);
            return;
        }
    }
}


/* A shim that was killed leaves its children to the agent, which is the next
 * subreaper: nothing of them may live on. */

static void
shim_orphans(void)
{
    pid_t         *list;
    size_t         i, n, kept;

    list = malloc(PROCTREE_MAX * sizeof(pid_t));
    if (list == NULL) {
        return;
    }

    n = proctree_children(getpid(), list, 0, PROCTREE_MAX);

    for (i = 0, kept = 0; i < n; i++) {
        if (!shim_known(list[i])) {
            list[kept++] = list[i];
        }
    }

    n = proctree_below(list, 0, kept, PROCTREE_MAX, NULL, 0);

    for (i = 0; i < n; i++) {
        kill(list[i], SIGKILL);
    }

    free(list);
}


static void
shim_died(shim *s)
{
    int      status, killed;
    shim_cb  cb;

    cb = s->cb;
    log_debug("shim %d is gone", (int) s->pid);

    if (cb != NULL) {
        s->cb = NULL;
        log_warn("a shim died");
        cb(s, NULL);
    }

    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        if (waitpid(s->pid, &status, 0) == s->pid) {
            s->killed = WIFSIGNALED(status);
        }
    }

    /* One that ended by itself has killed what was below it.  What the agent
     * has adopted from elsewhere is to live. */
    killed = s->killed;
    shim_free(s);

    if (killed) {
        shim_orphans();
    }
}


static void
shim_ready(io *w, int events)
{
    shim      *s;
    ssize_t    n;
    shim_msg   m;

    s = w->data;

    for ( ;; ) {
        n = recv(w->fd, &m, sizeof(m), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }

        if (n != sizeof(m)) {
            shim_died(s);
            return;
        }

        if (s->cb != NULL) {
            s->cb(s, &m);

        } else if (m.op == SHIM_GONE && agent.stopping) {
            shim_quit(s);

        } else if (m.op == SHIM_EMPTY && !s->idle) {
            shim_leave(s, 1);
        }

        if (w->fd == -1) {
            return;
        }
    }
}


void
shim_leave(shim *s, int empty)
{
    s->cb = NULL;
    s->data = NULL;

    if (!empty) {
        return;
    }

    if (shim_idle >= SHIM_IDLE_MAX || agent.stopping) {
        shim_quit(s);
        return;
    }

    s->idle = 1;
    shim_idle++;
}


void
shim_quit(shim *s)
{
    s->cb = NULL;
    s->data = NULL;
    shim_send(s, SHIM_QUIT, 0, 0, NULL, 0);
}


void
shim_stop(int grace_ms, const shim *spared)
{
    shim  *s;

    for (s = shim_list.next; s != &shim_list; s = s->next) {
        if (s == spared) {
            continue;
        }

        if (s->idle || grace_ms == 0) {
            shim_quit(s);
        } else {
            shim_send(s, SHIM_KILL, 0, grace_ms, NULL, 0);
        }
    }
}


unsigned
shim_count(void)
{
    return shim_total;
}


void
shim_kill_all(void)
{
    shim  *s;

    for (s = shim_list.next; s != &shim_list; s = s->next) {
        shim_kill_one(s);
    }
}


int
shim_known(pid_t pid)
{
    shim  *s;

    for (s = shim_list.next; s != &shim_list; s = s->next) {
        if (s->pid == pid) {
            return 1;
        }
    }

    return 0;
}


int
shim_spec(const char *cwd, char *const *argv, char *const *env)
{
    int      fd;
    size_t   i;
    buffer   b;

    memset(&b, 0, sizeof(b));
    buffer_append(&b, cwd, strlen(cwd) + 1);

    for (i = 0; argv[i] != NULL; i++) { /* count */ }
    buffer_printf(&b, "%zu", i);
    buffer_append(&b, "", 1);

    for (i = 0; argv[i] != NULL; i++) {
        buffer_append(&b, argv[i], strlen(argv[i]) + 1);
    }
    for (i = 0; env[i] != NULL; i++) {
        buffer_append(&b, env[i], strlen(env[i]) + 1);
    }

    fd = memfd_create("spec", MFD_CLOEXEC);
    if (fd != -1 && write(fd, buffer_bytes(&b), b.len) != (ssize_t) b.len) {
        close(fd);
        fd = -1;
    }

    buffer_free(&b);

    return fd;
}
