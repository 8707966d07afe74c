/*
 * sandbox-agent: what runs inside every sandbox.  Starts, reads what the boot
 * channel tells, listens, and ends everything in order on SIGTERM or SIGINT.
 * As PID 1 it also is the parent of whatever loses its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/conn.h"
#include "agent/env.h"
#include "agent/interpreter.h"
#include "agent/init.h"
#include "agent/listen.h"
#include "agent/options.h"
#include "agent/shell_pool.h"
#include "agent/shim.h"
#include "agent/shim_main.h"
#include "agent/supervisor.h"
#include "common/log.h"

#define MAIN_GRACE_MS  1000     /* for what runs inside, after SIGTERM, */
#define MAIN_QUIT_MS   500      /* then without asking, */
#define MAIN_STOP_MS   4000     /* and no longer than this */
#define MAIN_MAPPED    (128 * 1024)

agent_state           agent;
static agent_options  main_options;
static uv_signal_t    main_signals[8];
static uv_timer_t     main_stop_timer;
static uint64_t       main_stop_since;
static uint64_t       main_patience;        /* until nobody is asked */
static int            main_quitting;
static int            main_exit;


static int
main_usage(FILE *to)
{
    fprintf(to,
            "usage: sandbox-agent [OPTION]... [--] [COMMAND [ARGUMENT]...]\n"
            "  --listen unix:PATH | vsock:PORT[:CID] | tcp:ADDRESS:PORT\n"
            "                     or SANDBOX_LISTEN\n"
            "  --key-file FILE    its first line is the key; or "
            "SANDBOX_KEY_FILE\n"
            "  --boot-file FILE   a boot object, wiped when it was read; or "
            "SANDBOX_BOOT_FILE\n"
            "  --listen-fd N, --boot-fd N\n"
            "                     the same by descriptor\n"
            "  --workspace DIR    what raw file routes are kept in; or "
            "SANDBOX_WORKSPACE\n"
            "  --backups DIR      where archives of backups are; or "
            "SANDBOX_BACKUPS\n"
            "  --init             as PID 1 of a virtual machine; or "
            "SANDBOX_INIT=1\n"
            "  --inherit-env      commands get the agent's environment\n"
            "  --version, --help\n");

    return to == stdout ? 0 : 2;
}


/* Nothing inside may look at our memory or descriptors, and we need as many
 * descriptors as we may have. */

static void
main_harden(void)
{
    struct rlimit  lim;

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        shim_set_nofile(lim.rlim_cur == RLIM_INFINITY ? 0 : lim.rlim_cur);
        lim.rlim_cur = lim.rlim_max < 65536 ? lim.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &lim);
    }

    signal(SIGPIPE, SIG_IGN);
    umask(022);
}


/* What was needed once goes back: large buffers are mapped one by one and
 * threads share the heap, or what a burst has left behind would stay. */

static void
main_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, MAIN_MAPPED);
    mallopt(M_TRIM_THRESHOLD, MAIN_MAPPED);
}


/* A descriptor of ours must never be taken for a standard one. */

static void
main_standard_fds(void)
{
    int  fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);

    if (fd > 2) {
        close(fd);
    }
}


/* The shims kill what is below them; what doesn't go in time goes with us. */

static void
main_stop_look(uv_timer_t *timer)
{
    uint64_t  elapsed;

    elapsed = uv_now(agent.loop) - main_stop_since;

    if (shim_count() == 0) {
        uv_stop(agent.loop);

    } else if (elapsed >= main_patience + MAIN_STOP_MS) {
        log_warn("%u shims did not end", shim_count());
        shim_kill_all();
        uv_stop(agent.loop);

    } else if (elapsed >= main_patience + MAIN_QUIT_MS && !main_quitting) {
        main_quitting = 1;
        shim_stop(0, NULL);
    }
}


static void
main_stop(int sig)
{
    shim  *command;

    agent.stopping = 1;
    conn_stop();

    command = supervisor_stop(sig, main_options.stop_ms);
    main_patience = command != NULL && main_options.stop_ms > MAIN_GRACE_MS
                    ? main_options.stop_ms : MAIN_GRACE_MS;
    shim_stop(MAIN_GRACE_MS, command);

    main_stop_since = uv_now(agent.loop);
    uv_timer_init(agent.loop, &main_stop_timer);
    uv_timer_start(&main_stop_timer, main_stop_look, 0, 5);
}


static void
main_terminated(uv_signal_t *handle, int sig)
{
    log_info("signal %d: stopping", sig);

    if (agent.stopping) {
        /* Asked twice: nobody is waited for. */
        main_patience = 0;
        main_quitting = 1;
        main_stop_since = uv_now(agent.loop);
        shim_stop(0, NULL);
        return;
    }

    main_stop(sig);
}


static void
main_command_ended(int code)
{
    main_exit = code;
    main_stop(SIGTERM);
}


static void
main_forward(uv_signal_t *handle, int sig)
{
    supervisor_signal(sig);
}


static void
main_child(uv_signal_t *handle, int sig)
{
    pid_t  pid;
    int    status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        shim_reaped(pid, status);
        log_debug("reaped %d", (int) pid);
    }
}


static void
main_watch_signals(void)
{
    size_t  i, n;
    static const struct {
        int           sig;
        uv_signal_cb  cb;
    } all[] = {
        { SIGTERM, main_terminated }, { SIGINT, main_terminated },
        { SIGCHLD, main_child },
        /* Only where there is a command that they can be meant for. */
        { SIGHUP, main_forward }, { SIGQUIT, main_forward },
        { SIGUSR1, main_forward }, { SIGUSR2, main_forward },
        { SIGWINCH, main_forward }
    };

    n = agent.command != NULL ? sizeof(all) / sizeof(all[0]) : 3;

    for (i = 0; i < n; i++) {
        uv_signal_init(agent.loop, &main_signals[i]);
        uv_signal_start(&main_signals[i], all[i].cb, all[i].sig);
    }
}


static void
main_nothing(uv_work_t *work)
{
}


static void
main_nothing_done(uv_work_t *work, int status)
{
}


static void
main_loop(void)
{
    /* Threads may still wake it up while the process ends. */
    static uv_loop_t  loop;

    uv_loop_init(&loop);
    agent.loop = &loop;
}


/* libuv makes its threads when they are first needed, and aborts where that is
 * impossible: it must not be when a sandbox is full of processes. */

static void
main_threads(void)
{
    static uv_work_t  work;

    uv_queue_work(agent.loop, &work, main_nothing, main_nothing_done);
}


static int
main_run(int listen_fd, char **env, const char *cwd)
{
    main_watch_signals();

    base_routes(&agent.routes);
    session_routes(&agent.routes);
    exec_routes(&agent.routes);
    process_routes(&agent.routes);
    readiness_routes(&agent.routes);
    bridge_exec_routes(&agent.routes);
    terminal_routes(&agent.routes);
    file_routes(&agent.routes);
    archive_routes(&agent.routes);
    git_routes(&agent.routes);
    watch_routes(&agent.routes);
    interpreter_routes(&agent.routes);
    backup_routes(&agent.routes);
    internal_routes(&agent.routes);
    bridge_files_routes(&agent.routes);
    bridge_routes(&agent.routes);

    if (conn_listen(listen_fd) != 0) {
        log_error("the listening socket can't be watched");
        return 1;
    }

    main_threads();
    pool_start();

    if (main_options.init) {
        /* Whoever started the machine reads this on its console. */
        log_info("init: ready");
    }

    if (agent.command != NULL) {
        supervisor_start(agent.command, env, cwd,
                         main_options.raw_stdio, main_command_ended);
    }

    uv_run(agent.loop, UV_RUN_DEFAULT);

    return main_exit;
}


static void
main_log(const agent_options *o)
{
    log_level  level;

    if (o->log_level != NULL && log_level_parse(o->log_level, &level)) {
        log_set_level(level);
    }

    log_set_json(o->log_format != NULL && strcmp(o->log_format, "json") == 0);
}


/* An image's own environment is for what runs in it, but not what only the
 * agent is told. */

static char **
main_environment(char **inherited)
{
    char    **env, **own, *name;
    size_t    i, n;

    own = env_default();
    env = env_copy(inherited);

    for (i = 0, n = 0; env[i] != NULL; i++) {
        if (options_own_variable(env[i])) {
            free(env[i]);
        } else {
            env[n++] = env[i];
        }
    }
    env[n] = NULL;

    for (i = 0; own[i] != NULL; i++) {
        name = strdup(own[i]);
        *strchr(name, '=') = '\0';
        if (env_get(env, name) == NULL) {
            env_set(&env, name, env_get(own, name));
        }
        free(name);
    }
    env_free(own);

    return env;
}


/* Who was started before anybody has a name for it has time: what its first
 * command needs is there when the name comes. */

static void
main_prepare(const agent_options *o)
{
    struct pollfd  p;

    p.fd = o->boot_fd;
    p.events = POLLIN;

    if (poll(&p, 1, 0) == 0) {
        fcntl(o->boot_fd, F_SETFD, FD_CLOEXEC);
        fcntl(o->listen_fd, F_SETFD, FD_CLOEXEC);
        shim_prepare();
    }
}


static int
main_boot(agent_options *o, char **inherited, error **err)
{
    int          bad;
    const char  *timeout;

    agent.request_ms = o->request_ms;
    strcpy(agent.cwd, o->workspace);
    strcpy(agent.workspace, o->workspace);
    strcpy(agent.backups, o->backups);
    agent.version = o->told_version != NULL ? o->told_version
                                            : SANDBOX_VERSION;
    agent.env = o->inherit ? main_environment(inherited) : env_default();

    if (o->boot_fd != -1) {
        main_prepare(o);

    } else if (o->init) {
        shim_prepare();
    }

    if ((o->boot_fd != -1 ? boot_read_fd(&agent, o->boot_fd, err)
         : o->boot_file != NULL ? boot_read_file(&agent, o->boot_file, err)
         : boot_read_key_file(&agent, o->key_file, err)) != 0)
    {
        return -1;
    }

    timeout = env_get(agent.env, "COMMAND_TIMEOUT_MS");
    if (timeout == NULL) {
        timeout = env_get(inherited, "COMMAND_TIMEOUT_MS");
    }

    agent.command_timeout_ms = options_timeout(timeout, &bad);
    if (bad) {
        log_warn("COMMAND_TIMEOUT_MS is not a number of milliseconds");
    }

    return 0;
}


/* From the options on. */

static int
main_serve(agent_options *o)
{
    int              listen_fd, rc;
    char             cwd[PATH_MAX];
    error           *err;
    listen_address   address;

    /* As an image's entry point.  What a kernel gives its init is nobody
     * else's. */
    if (o->boot_fd == -1 && !o->init && (getpid() == 1 || o->command != NULL))
    {
        o->inherit = 1;
    }

    main_harden();
    main_memory();

    if (getcwd(cwd, sizeof(cwd)) == NULL) {
        strcpy(cwd, "/");
    }

    err = NULL;
    listen_fd = o->listen_fd;

    rc = main_boot(o, environ, &err);

    if (o->command != NULL) {
        agent.command = o->command;
    }

    main_loop();

    if (rc == 0 && (o->init || o->inherit)) {
        /* Images of others don't have it. */
        mkdir(agent.workspace, 0755);
    }

    if (rc == 0 && o->init) {
        init_apply(&agent.vm, agent.hostname);
        shim_pool_start(1);
        shell_pool_start();

    } else if (rc == 0) {
        shim_pool_start(0);
    }

    if (rc == 0 && o->listen != NULL) {
        rc = options_listen(o->listen, &address, &err);
        if (rc == 0) {
            listen_fd = listen_open(&address, &err);
        }
    }

    if (rc != 0 || listen_fd == -1) {
        log_error("%s", err->message);
        error_free(err);
        return 1;
    }

    rc = main_run(listen_fd, agent.env, cwd);

    if (o->listen != NULL) {
        listen_close(&address);
    }

    return rc;
}


int
main(int argc, char **argv)
{
    int             rc, early;
    error          *err;
    agent_options  *o;

    if (argc == 2 && strcmp(argv[0], SHIM_ARGV0) == 0) {
        shim_main(argv[1]);
    }

    rc = init_modules_asked(argv);

    if (rc != -1) {
        return rc;
    }

    o = &main_options;
    err = NULL;
    rc = options_parse(o, argv, environ, &err);

    if (o->init && getpid() != 1) {
        fprintf(stderr, "sandbox-agent: --init is for PID 1\n");
        return 2;
    }

    early = o->init ? init_early() : 0;
    main_standard_fds();

    if (rc != 0) {
        fprintf(stderr, "sandbox-agent: %s\n", err->message);
        error_free(err);
        rc = main_usage(stderr);

    } else if (early != 0) {
        rc = 1;

    } else if (o->version) {
        printf("sandbox-agent %s\n", SANDBOX_VERSION);

    } else if (o->help) {
        rc = main_usage(stdout);

    } else {
        main_log(o);
        rc = main_serve(o);
    }

    if (o->init) {
        log_info("ends with %d", rc);
        init_end(o->power);
    }

    return rc;
}
