/*
 * The shim: see shim_proto.h.  One thread, one poll loop over the agent's
 * socket and SIGCHLD; it never blocks elsewhere.  When the agent goes, its end
 * of the socket closes, and everything below the shim is killed.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/proctree.h"
#include "agent/shim_main.h"
#include "agent/shim_proto.h"

#define SHIM_KILLS_MAX  (SHIM_JOBS_MAX + 1)
#define SHIM_TOLD_MAX   1024
#define SHIM_SPEC_MAX   (8 * 1024 * 1024)
#define SHIM_OOM        100
#define SHIM_STEP_MS    5           /* how often a dying tree is looked at */

typedef struct {
    pid_t     pid;
    uint32_t  number;
} shim_job;

typedef struct {
    pid_t  pid;
    int    spared;                  /* helps another to end */
} shim_told;

typedef struct {
    pid_t      pid;                 /* 0: everything */
    uint32_t   number;
    int64_t    deadline;            /* of the grace period */
    int        active;
    int        killed;
    int        asked;               /* all that was there at the start */
    int        sig;                 /* that asks */
    size_t     ntold;               /* who has had it */
    shim_told  told[SHIM_TOLD_MAX];
} shim_kill;

static int        shim_null;
static pid_t      shim_child;       /* the shell, or the command */
static int        shim_is_shell;
static int        shim_has_tty;
static int        shim_had_children;
static shim_job   shim_jobs[SHIM_JOBS_MAX];
static size_t     shim_njobs;
static shim_kill  shim_kills[SHIM_KILLS_MAX];
static pid_t      shim_marked[PROCTREE_MAX];
static size_t     shim_nmarked;
static pid_t      shim_list[PROCTREE_MAX];


static int64_t
shim_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
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


/* Starting. */

static char **
shim_strings(char **p, char *end, size_t count)
{
    char    **list, *next;
    size_t    i, size;

    size = 16;
    list = malloc(size * sizeof(char *));

    for (i = 0; list != NULL && *p < end && i < count; i++) {
        if (i + 2 >= size) {
            size *= 2;
            list = realloc(list, size * sizeof(char *));
            if (list == NULL) {
                break;
            }
        }

        next = memchr(*p, '\0', (size_t) (end - *p));
        if (next == NULL) {
            break;
        }

        list[i] = *p;
        *p = next + 1;
    }

    if (list != NULL) {
        list[i] = NULL;
    }

    return list;
}


static int
shim_posix_spawn(char **argv, char **env, const int *fds, int nfds)
{
    int                           i, rc;
    char                          tty[40];
    sigset_t                      all, none;
    posix_spawnattr_t             attr;
    posix_spawn_file_actions_t    acts;
    static const int              targets[SHIM_MAX_FDS] = {
        -1, 0, 1, 2, SHELL_FD_OUT, SHELL_FD_ERR, SHELL_FD_CONTROL,
        SHELL_FD_TEXT
    };

    sigfillset(&all);
    sigemptyset(&none);

    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID
                             | POSIX_SPAWN_SETSIGDEF
                             | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setsigmask(&attr, &none);

    posix_spawn_file_actions_init(&acts);

    if (shim_has_tty) {
        /* Whoever leads a session without a terminal and opens one, has it. */
        snprintf(tty, sizeof(tty), "/proc/self/fd/%d", fds[1]);
        posix_spawn_file_actions_addopen(&acts, 0, tty, O_RDWR, 0);
        posix_spawn_file_actions_adddup2(&acts, 0, 1);
        posix_spawn_file_actions_adddup2(&acts, 0, 2);
        nfds = 0;
    }

    for (i = 1; i < nfds; i++) {
        posix_spawn_file_actions_adddup2(&acts, fds[i], targets[i]);
    }

    rc = posix_spawn(&shim_child, argv[0], &acts, &attr, argv, env);

    posix_spawn_file_actions_destroy(&acts);
    posix_spawnattr_destroy(&attr);

    return rc;
}


/* What the shell may open. */

static void
shim_drop(void)
{
    int  i;

    /* The numbers stay taken: nothing that is received may land there. */
    for (i = 0; i < SHIM_HELD_MAX; i++) {
        dup3(shim_null, SHIM_HELD + i, O_CLOEXEC);
    }
}


static void
shim_spawn(const int *fds, int nfds)
{
    int           rc;
    char         *spec, *p, *end, *cwd, **argv, **env;
    size_t        len;
    unsigned long count;
    struct stat   st;

    shim_child = 0;
    shim_nmarked = 0;
    shim_had_children = 0;
    shim_drop();

    if (nfds < 4 || fstat(fds[0], &st) != 0 || st.st_size <= 0
        || st.st_size > SHIM_SPEC_MAX)
    {
        shim_tell(SHIM_FAILED, 0, EINVAL, 0);
        return;
    }

    len = (size_t) st.st_size;
    spec = malloc(len);
    if (spec == NULL || pread(fds[0], spec, len, 0) != (ssize_t) len
        || spec[len - 1] != '\0')
    {
        free(spec);
        shim_tell(SHIM_FAILED, 0, EINVAL, 0);
        return;
    }

    end = spec + len;
    cwd = spec;
    p = cwd + strlen(cwd) + 1;
    count = p < end ? strtoul(p, &p, 10) : 0;
    p++;
    argv = shim_strings(&p, end, count);
    env = shim_strings(&p, end, SIZE_MAX);

    if (argv == NULL || env == NULL || argv[0] == NULL) {
        shim_tell(SHIM_FAILED, 0, ENOMEM, 0);

    } else if (chdir(cwd) != 0) {
        shim_tell(SHIM_FAILED, 0, errno, 1);

    } else {
        rc = shim_posix_spawn(argv, env, fds, nfds);
        if (rc != 0) {
            shim_child = 0;
            shim_tell(SHIM_FAILED, 0, rc, 0);
        } else {
            shim_tell(SHIM_SPAWNED, shim_child, 0, 0);
        }

        (void) !chdir("/");
    }

    free(argv);
    free(env);
    free(spec);
}


static void
shim_hold(const int *fds, int nfds)
{
    int  i;

    for (i = 0; i < nfds && i < SHIM_HELD_MAX; i++) {
        dup3(fds[i], SHIM_HELD + i, O_CLOEXEC);
    }

    shim_tell(SHIM_IS_HELD, 0, 0, 0);
}


/* Who is who. */

static shim_job *
shim_job_find(pid_t pid)
{
    size_t  i;

    for (i = 0; i < shim_njobs; i++) {
        if (shim_jobs[i].pid == pid) {
            return &shim_jobs[i];
        }
    }

    return NULL;
}


/* The job waits for its go: it and all that comes from it carry the mark. */

static void
shim_job_mark(pid_t pid, uint32_t number)
{
    struct rlimit  lim;

    if (prlimit(pid, RLIMIT_RTTIME, NULL, &lim) == 0
        && lim.rlim_max == RLIM_INFINITY)
    {
        lim.rlim_cur = SHIM_JOB_TIME + number;
        prlimit(pid, RLIMIT_RTTIME, &lim, NULL);
    }
}


static int
shim_job_marked(pid_t pid, uint32_t number)
{
    char           entry[64];
    struct rlimit  lim;

    if (prlimit(pid, RLIMIT_RTTIME, NULL, &lim) == 0
        && lim.rlim_cur == SHIM_JOB_TIME + number)
    {
        return 1;
    }

    snprintf(entry, sizeof(entry), SHIM_JOB_VAR "=%u", number);

    return proctree_env_has(pid, entry);
}


/* Lists a job: itself, what is below it, and those of our own children that
 * carry its mark or are in its process group, with what is below them. */

static size_t
shim_list_job(pid_t pid, uint32_t number)
{
    pid_t   group;
    size_t  i, n, from;

    n = proctree_children(getpid(), shim_list, 0, PROCTREE_MAX);
    from = 0;

    for (i = 0; i < n; i++) {
        if (shim_list[i] == shim_child) {
            continue;
        }

        group = 0;

        if (shim_list[i] == pid
            || (shim_job_find(shim_list[i]) == NULL
                && ((proctree_state(shim_list[i], &group) && group == pid)
                    || shim_job_marked(shim_list[i], number))))
        {
            shim_list[from++] = shim_list[i];
        }
    }

    return proctree_below(shim_list, 0, from, PROCTREE_MAX, NULL, 0);
}


static size_t
shim_list_all(void)
{
    size_t  n;

    n = proctree_children(getpid(), shim_list, 0, PROCTREE_MAX);

    return proctree_below(shim_list, 0, n, PROCTREE_MAX, NULL, 0);
}


/* Lists what the session's current command has started: not the shell, not
 * what lived before, no background job, nothing below those. */

static size_t
shim_list_current(void)
{
    pid_t   spare[PROCTREE_MAX];
    size_t  i, n, from, spared;

    spared = 0;

    for (i = 0; i < shim_nmarked; i++) {
        spare[spared++] = shim_marked[i];
    }
    for (i = 0; i < shim_njobs && spared < PROCTREE_MAX; i++) {
        spare[spared++] = shim_jobs[i].pid;
    }

    shim_list[0] = getpid();
    n = proctree_below(shim_list, 0, 1, PROCTREE_MAX, spare, spared);

    for (i = 1, from = 0; i < n; i++) {
        if (shim_list[i] != shim_child) {
            shim_list[from++] = shim_list[i];
        }
    }

    return from;
}


static void
shim_mark(void)
{
    size_t  i, n;

    n = shim_list_all();
    shim_nmarked = 0;

    for (i = 0; i < n; i++) {
        if (shim_list[i] != shim_child) {
            shim_marked[shim_nmarked++] = shim_list[i];
        }
    }
}


/* Signals a list; returns how many of it were alive. */

static size_t
shim_signal(size_t n, int sig)
{
    size_t  i, alive;
    char    state;

    alive = 0;

    for (i = 0; i < n; i++) {
        state = proctree_state(shim_list[i], NULL);
        if (state != 0 && state != 'Z' && state != 'X') {
            alive++;
            if (sig != 0) {
                kill(shim_list[i], sig);
            }
        }
    }

    return alive;
}


static size_t
shim_list_for(const shim_kill *k)
{
    return k->pid == 0 ? shim_list_all() : shim_list_job(k->pid, k->number);
}


/* A tree that forks faster than one can kill has to be stopped first. */

static void
shim_kill_hard(const shim_kill *k)
{
    int     i;
    size_t  n, last;

    last = 0;

    for (i = 0; i < 16; i++) {
        n = shim_list_for(k);
        shim_signal(n, SIGSTOP);
        if (n == last) {
            break;
        }
        last = n;
    }

    shim_signal(shim_list_for(k), SIGKILL);
}


static int
shim_stops(int sig)
{
    return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN
           || sig == SIGTTOU;
}


static const shim_told *
shim_told_find(const shim_kill *k, pid_t pid)
{
    size_t  i;

    for (i = 0; i < k->ntold; i++) {
        if (k->told[i].pid == pid) {
            return &k->told[i];
        }
    }

    return NULL;
}


/* Was it begun by one that was asked and has a handler for that?  What such a
 * handler runs, say to save its state, must not be ended under its hands. */

static int
shim_is_helper(const shim_kill *k, pid_t pid)
{
    const shim_told  *parent;

    parent = shim_told_find(k, proctree_parent(pid));

    return parent != NULL
           && (parent->spared || proctree_catches(parent->pid, k->sig));
}


/* Asks each of them once; a child that was just being born when its parent got
 * the signal is met the next time.  Returns how many are alive. */

static size_t
shim_kill_ask(shim_kill *k)
{
    char        state;
    pid_t       pid;
    size_t      i, n, alive;
    shim_told  *told;

    n = shim_list_for(k);
    alive = 0;

    for (i = 0; i < n; i++) {
        pid = shim_list[i];
        state = proctree_state(pid, NULL);
        if (state == 0 || state == 'Z' || state == 'X') {
            continue;
        }

        alive++;

        if (k->ntold == SHIM_TOLD_MAX || shim_now() >= k->deadline
            || shim_told_find(k, pid) != NULL)
        {
            continue;
        }

        told = &k->told[k->ntold];
        told->pid = pid;
        told->spared = k->asked && shim_is_helper(k, pid);
        k->ntold++;

        if (told->spared) {
            continue;
        }

        kill(pid, k->sig);
        if (!shim_stops(k->sig)) {
            kill(pid, SIGCONT);
        }
    }

    k->asked = 1;

    return alive;
}


static void
shim_kill_start(pid_t pid, int sig, int grace)
{
    size_t      i;
    shim_job   *job;
    shim_kill  *k;

    for (i = 0; i < SHIM_KILLS_MAX - 1 && shim_kills[i].active; i++) {
        if (shim_kills[i].pid == pid) {
            /* Asked twice: the shorter patience counts. */
            if (shim_now() + grace < shim_kills[i].deadline) {
                shim_kills[i].deadline = shim_now() + grace;
            }
            return;
        }
    }

    k = &shim_kills[i];
    job = shim_job_find(pid);
    k->pid = pid;
    k->number = job != NULL ? job->number : 0;
    k->deadline = shim_now() + grace;
    k->active = 1;
    k->killed = 0;
    k->asked = 0;
    k->sig = sig != 0 ? sig : SIGTERM;
    k->ntold = 0;

    if (grace > 0) {
        shim_kill_ask(k);

        /* An interactive shell takes no notice of SIGTERM. */
        if (pid == 0 && shim_child != 0 && shim_is_shell) {
            kill(shim_child, SIGHUP);
        }
    }
}


static void shim_reap(void);


static void
shim_kill_step(shim_kill *k)
{
    if (shim_kill_ask(k) == 0) {
        shim_reap();
        k->active = 0;
        shim_tell(SHIM_GONE, k->pid, 0, k->killed);
        return;
    }

    if (shim_now() >= k->deadline) {
        k->killed = 1;
        shim_kill_hard(k);
    }
}


/* The order counts: what the agent has sent is taken before children are
 * reaped, so that a job is watched before its end can be seen. */

static void
shim_reap(void)
{
    int        status, left;
    pid_t      pid;
    shim_job  *job;

    for ( ;; ) {
        pid = waitpid(-1, &status, WNOHANG);

        if (pid < 0 && errno == ECHILD) {
            if (shim_had_children) {
                shim_had_children = 0;
                shim_tell(SHIM_EMPTY, 0, 0, 0);
            }
            return;
        }

        if (pid <= 0) {
            return;
        }

        job = shim_job_find(pid);
        if (job != NULL) {
            *job = shim_jobs[--shim_njobs];
        }

        if (job != NULL || pid == shim_child) {
            left = proctree_children(getpid(), shim_list, 0, 1) != 0;
            if (pid == shim_child) {
                shim_child = 0;
                shim_had_children = left;
            }
            shim_tell(SHIM_EXIT, pid, status, left);
        }
    }
}


static void
shim_quit(void)
{
    int        i;
    shim_kill  all;

    memset(&all, 0, sizeof(all));

    for (i = 0; i < 400; i++) {
        shim_kill_hard(&all);
        while (waitpid(-1, NULL, WNOHANG) > 0) { /* reap */ }
        if (shim_signal(shim_list_all(), 0) == 0) {
            break;
        }
        usleep(5000);
    }

    _exit(0);
}


static void
shim_interrupt(int sig, int below)
{
    size_t  n;

    n = shim_list_current();

    /* The shell first: it gives up the rest of its list only if it has seen
     * the signal before its child dies of it. */
    if (shim_child != 0 && !below) {
        kill(shim_child, SIGINT);
    }

    shim_signal(n, sig);
    shim_tell(SHIM_INTERRUPTED, 0, 0, 0);
}


/* Our own children haven't been waited for, so their numbers are theirs. */

static void
shim_pass(pid_t pid, int sig, int tree)
{
    shim_job  *job;

    job = pid != 0 ? shim_job_find(pid) : NULL;

    if (pid == 0) {
        pid = shim_child;
    } else if (job == NULL) {
        return;
    }

    if (pid == 0) {
        return;
    }

    if (!tree) {
        kill(pid, sig);
        return;
    }

    shim_signal(job != NULL ? shim_list_job(pid, job->number)
                            : shim_list_all(), sig);
}


static void
shim_handle(const shim_msg *m, const int *fds, int nfds)
{
    switch (m->op) {
    case SHIM_SPAWN:
        shim_is_shell = m->value != 0;
        shim_has_tty = m->value == 2;
        shim_spawn(fds, nfds);
        break;

    case SHIM_HOLD:
        shim_hold(fds, nfds);
        break;

    case SHIM_DROP:
        shim_drop();
        break;

    case SHIM_WATCH:
        if (shim_njobs < SHIM_JOBS_MAX) {
            shim_jobs[shim_njobs].pid = m->pid;
            shim_jobs[shim_njobs].number = (uint32_t) m->value;
            shim_njobs++;
            shim_job_mark(m->pid, (uint32_t) m->value);
        }
        break;

    case SHIM_MARK:
        if (m->value == 0) {
            shim_mark();
        } else {
            shim_nmarked = 0;
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
        shim_quit();
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
        shim_quit();
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
    int                       i, waiting;
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

    shim_null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (p[1].fd == -1 || shim_null == -1 || shim_null >= SHIM_HELD) {
        _exit(1);
    }

    shim_drop();

    for ( ;; ) {
        waiting = -1;

        for (i = 0; i < SHIM_KILLS_MAX; i++) {
            if (shim_kills[i].active) {
                waiting = SHIM_STEP_MS;
            }
        }

        poll(p, 2, waiting);

        while (shim_receive()) { /* all that is there */ }

        while (read(p[1].fd, &info, sizeof(info)) > 0) { /* only a call */ }
        shim_reap();

        for (i = 0; i < SHIM_KILLS_MAX; i++) {
            if (shim_kills[i].active) {
                shim_kill_step(&shim_kills[i]);
            }
        }
    }
}
