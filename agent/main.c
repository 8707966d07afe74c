/*
 * sandbox-agent: what runs inside every sandbox.  Starts, reads what the boot
 * channel tells, listens, and ends everything in order on SIGTERM or SIGINT.
 * As PID 1 it also is the parent of whatever loses its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/conn.h"
#include "agent/env.h"
#include "agent/shim.h"
#include "agent/shim_main.h"
#include "common/log.h"

#define MAIN_GRACE_MS  1000     /* for what runs inside, after SIGTERM, */
#define MAIN_QUIT_MS   1500     /* then without asking, */
#define MAIN_STOP_MS   5000     /* and no longer than this */

agent_state         agent;
static uv_signal_t  main_signals[3];
static uv_timer_t   main_stop_timer;
static uint64_t     main_stop_since;


static int
main_usage(void)
{
    fprintf(stderr,
            "usage: sandbox-agent --listen-fd N --boot-fd N\n"
            "       sandbox-agent --listen PATH --key-file FILE "
            "[--workspace DIR]\n"
            "       sandbox-agent --version\n");
    return 2;
}


/* A socket that is made by hand belongs to its owner alone. */

static int
main_listen_path(const char *path)
{
    int                 fd;
    mode_t              old;
    struct sockaddr_un  un;

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;

    if (strlen(path) >= sizeof(un.sun_path)) {
        log_error("--listen: the path is longer than %zu bytes",
                  sizeof(un.sun_path) - 1);
        return -1;
    }

    strcpy(un.sun_path, path);
    unlink(path);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    old = umask(0177);

    if (fd == -1 || bind(fd, (struct sockaddr *) &un, sizeof(un)) != 0
        || listen(fd, 1024) != 0)
    {
        log_error("--listen %s: %s", path, strerror(errno));
        if (fd != -1) {
            close(fd);
        }
        fd = -1;
    }

    umask(old);

    return fd;
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


/* The shims kill what is below them; what doesn't go in time goes with us. */

static void
main_stop_look(uv_timer_t *timer)
{
    uint64_t  elapsed;

    elapsed = uv_now(agent.loop) - main_stop_since;

    if (shim_count() == 0) {
        uv_stop(agent.loop);

    } else if (elapsed >= MAIN_QUIT_MS && elapsed < MAIN_QUIT_MS + 100) {
        shim_stop(0);

    } else if (elapsed >= MAIN_STOP_MS) {
        log_warn("%u shims did not end", shim_count());
        shim_kill_all();
        uv_stop(agent.loop);
    }
}


static void
main_stop(uv_signal_t *handle, int sig)
{
    if (agent.stopping) {
        return;
    }

    log_info("signal %d: stopping", sig);
    agent.stopping = 1;
    conn_stop();
    shim_stop(MAIN_GRACE_MS);

    main_stop_since = uv_now(agent.loop);
    uv_timer_init(agent.loop, &main_stop_timer);
    uv_timer_start(&main_stop_timer, main_stop_look, 0, 5);
}


static void
main_child(uv_signal_t *handle, int sig)
{
    pid_t  pid;
    int    status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        shim_reaped(pid);
        log_debug("reaped %d", (int) pid);
    }
}


static void
main_signal(uv_signal_t *handle, uv_signal_cb cb, int sig)
{
    uv_signal_init(agent.loop, handle);
    uv_signal_start(handle, cb, sig);
}


static int
main_number(const char *text)
{
    char  *end;
    long   n;

    n = strtol(text, &end, 10);

    return *text == '\0' || *end != '\0' || n < 3 || n > 1000000 ? -1
                                                                 : (int) n;
}


static int
main_run(int listen_fd)
{
    /* Threads may still wake it up while the process ends. */
    static uv_loop_t  loop;

    uv_loop_init(&loop);
    agent.loop = &loop;

    main_signal(&main_signals[0], main_stop, SIGTERM);
    main_signal(&main_signals[1], main_stop, SIGINT);
    main_signal(&main_signals[2], main_child, SIGCHLD);

    base_routes(&agent.routes);
    session_routes(&agent.routes);
    exec_routes(&agent.routes);
    process_routes(&agent.routes);
    readiness_routes(&agent.routes);
    bridge_exec_routes(&agent.routes);
    file_routes(&agent.routes);

    if (conn_listen(listen_fd) != 0) {
        log_error("the listening socket can't be watched");
        return 1;
    }

    shim_pool_start();
    uv_run(&loop, UV_RUN_DEFAULT);

    return 0;
}


int
main(int argc, char **argv)
{
    int          i, listen_fd, boot_fd, rc;
    error       *err;
    const char  *path, *key_file, *workspace;

    listen_fd = -1;
    boot_fd = -1;
    path = NULL;
    key_file = NULL;
    workspace = "/workspace";
    err = NULL;

    if (argc == 2 && strcmp(argv[0], SHIM_ARGV0) == 0) {
        shim_main(argv[1]);
    }

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("sandbox-agent %s\n", SANDBOX_VERSION);
        return 0;
    }

    for (i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            return main_usage();
        }

        if (strcmp(argv[i], "--listen-fd") == 0) {
            listen_fd = main_number(argv[i + 1]);

        } else if (strcmp(argv[i], "--boot-fd") == 0) {
            boot_fd = main_number(argv[i + 1]);

        } else if (strcmp(argv[i], "--listen") == 0) {
            path = argv[i + 1];

        } else if (strcmp(argv[i], "--key-file") == 0) {
            key_file = argv[i + 1];

        } else if (strcmp(argv[i], "--workspace") == 0
                   && argv[i + 1][0] == '/'
                   && strlen(argv[i + 1]) < sizeof(agent.cwd))
        {
            workspace = argv[i + 1];

        } else {
            return main_usage();
        }
    }

    if ((listen_fd == -1) == (path == NULL)
        || (boot_fd == -1) == (key_file == NULL))
    {
        return main_usage();
    }

    main_harden();
    agent.env = env_default();
    strcpy(agent.cwd, workspace);
    strcpy(agent.workspace, workspace);

    rc = boot_fd != -1 ? boot_read_fd(&agent, boot_fd, &err)
                       : boot_read_key_file(&agent, key_file, &err);
    if (rc != 0) {
        log_error("boot: %s", err->message);
        error_free(err);
        return 1;
    }

    if (path != NULL) {
        listen_fd = main_listen_path(path);
        if (listen_fd == -1) {
            return 1;
        }
    }

    rc = main_run(listen_fd);

    if (path != NULL) {
        unlink(path);
    }

    return rc;
}
