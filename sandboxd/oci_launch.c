/* One start; see oci_launch.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/process_start.h"
#include "common/small_file.h"
#include "sandboxd/mount.h"
#include "sandboxd/oci_launch.h"
#include "sandboxd/oci_size.h"
#include "sandboxd/oci_tree.h"


#define REAP_TRIES  1000        /* of a millisecond */


void
oci_launch_failed(int answer, const char *fmt, ...)
{
    va_list     args;
    oci_answer  a;

    memset(&a, 0, sizeof(a));
    a.type = OCI_FAILED;

    va_start(args, fmt);
    vsnprintf(a.message, sizeof(a.message), fmt, args);
    va_end(args);

    (void) oci_wire_send(answer, &a, sizeof(a), NULL, 0, NULL, 0);
}


/* Kills every child but one and waits for it; false if there was none.  There
 * is a list of them in /proc only where the kernel was built so. */
static bool
kill_each(pid_t keep)
{
    DIR            *proc;
    bool            found;
    long            ppid;
    char            path[64], text[512], *p;
    pid_t           pid;
    struct dirent  *entry;

    found = false;
    proc = opendir("/proc");

    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        pid = (pid_t) atoi(entry->d_name);

        if (pid <= 1 || pid == keep) {
            continue;
        }

        snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        (void) small_file_text(path, text, sizeof(text));
        p = strrchr(text, ')');

        if (p != NULL && sscanf(p, ") %*c %ld", &ppid) == 1
            && ppid == getpid())
        {
            found = true;
            kill(pid, SIGKILL);
            (void) waitpid(pid, NULL, 0);
        }
    }

    if (proc != NULL) {
        closedir(proc);
    }

    return found;
}


/* Kills all children, adopted ones too, until there are none: those of a
 * child that ends become ours. */
static void
kill_children(void)
{
    while (kill_each(0)) {
        /* void */
    }
}


/* crun leaves a process behind that has ended or is about to; it would
 * otherwise be the driver's to wait for. */
static void
reap_others(pid_t keep)
{
    int        tries;
    siginfo_t  info;

    for (tries = 0; tries < REAP_TRIES; tries++) {
        memset(&info, 0, sizeof(info));

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1) {
            return;
        }

        if (info.si_pid == keep) {
            /* It has ended already, and hides the others. */
            (void) kill_each(keep);
            return;
        }

        if (info.si_pid != 0) {
            (void) waitpid(info.si_pid, NULL, 0);
            return;
        }

        usleep(1000);
    }
}


static void
give_up(const oci_launch *l, const char *what)
{
    int  saved;

    saved = errno;
    kill_children();
    oci_launch_failed(l->answer, "%s: %s", what, strerror(saved));
    _exit(1);
}


static int
file_put(const char *path, const char *text, size_t len)
{
    int      fd;
    ssize_t  n;

    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd == -1) {
        return -1;
    }

    n = write(fd, text, len);
    close(fd);

    return n == (ssize_t) len ? 0 : -1;
}


/* A layer that nobody has run in yet gets the sandbox's own name; whatever is
 * in the way in the image stays as it is. */
static void
layer_name(int root, const char *hostname)
{
    int              fd;
    char             text[256];
    struct open_how  how;

    memset(&how, 0, sizeof(how));
    how.flags = O_WRONLY | O_TRUNC | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;

    fd = (int) syscall(SYS_openat2, root, "etc/hostname", &how, sizeof(how));

    if (fd != -1) {
        snprintf(text, sizeof(text), "%s\n", hostname);
        (void) !write(fd, text, strlen(text));
        close(fd);
    }

    how.flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK;
    fd = (int) syscall(SYS_openat2, root, "etc/hosts", &how, sizeof(how));

    if (fd != -1) {
        snprintf(text, sizeof(text), "127.0.1.1\t%s\n", hostname);
        (void) !write(fd, text, strlen(text));
        close(fd);
    }
}


static int
layer_open(const char *dir)
{
    char  path[64];

    snprintf(path, sizeof(path), "/s/%s/layer", dir);

    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}


static void
layer_prepare(const oci_launch *l)
{
    int  root, layer;

    root = open("/b/rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root == -1) {
        return;
    }

    (void) mkdirat(root, "workspace", 0755);

    if (l->request->hostname[0] != '\0') {
        layer_name(root, l->request->hostname);

        layer = l->disk == -1 ? layer_open(l->request->dir) : -1;

        if (layer != -1) {
            (void) unlinkat(layer, "unused", 0);
            close(layer);
        }
    }

    close(root);
}


/* Names are relative, so that the sandbox's mount table shows those. */
static int
layer_mount(const oci_launch *l)
{
    char  options[128];

    if (l->disk != -1) {
        if (mkdir("/b/disk", 0700) == -1
            || mount_attach(l->disk, "/b/disk") == -1
            || chdir("/b/disk") == -1)
        {
            return -1;
        }

    } else {
        snprintf(options, sizeof(options), "/s/%s", l->request->dir);

        if (chdir(options) == -1) {
            return -1;
        }
    }

    snprintf(options, sizeof(options), "lowerdir=/i/%u,upperdir=layer/upper,"
             "workdir=layer/work,userxattr", l->request->image);

    if (mount("overlay", "/b/rootfs", "overlay", 0, options) == -1) {
        return -1;
    }

    return chdir("/b");
}


static void
bundle_make(const oci_launch *l)
{
    if (unshare(CLONE_NEWNS) == -1
        || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == -1)
    {
        give_up(l, "unshare");
    }

    if (mount("bundle", "/b", "tmpfs", MS_NOSUID | MS_NODEV,
              "mode=0755,size=8m") == -1
        || mkdir("/b/rootfs", 0755) == -1 || mkdir("/b/crun", 0700) == -1)
    {
        give_up(l, "bundle");
    }

    if (file_put("/b/config.json", l->config, l->request->config_len) == -1) {
        give_up(l, "config.json");
    }

    if (layer_mount(l) == -1) {
        give_up(l, "can't mount the sandbox's filesystem");
    }

    if (l->request->fresh) {
        layer_prepare(l);
    }

    /* Attributes were set on the mount that this copies. */
    if ((int) l->request->image == l->host_image
        && mount_bind("/i/usr", "/b/rootfs/usr", 0) == -1)
    {
        give_up(l, "/usr");
    }
}


static void
crun_exec(const oci_launch *l)
{
    int  crun, boot, sock, log;

    static char *const  argv[] = {
        "crun", "--root=/b/crun", "--log=/b/log", "--cgroup-manager=disabled",
        "run", "--detach", "--preserve-fds=2", "--no-new-keyring",
        "--pid-file=/b/pid", "--bundle=/b", "sandbox", NULL
    };
    static char *const  env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };

    /* Whoever kills the launch, the kernel for want of memory not least. */
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

    crun = fcntl(l->crun, F_DUPFD_CLOEXEC, 16);
    sock = fcntl(l->listen, F_DUPFD_CLOEXEC, 16);
    boot = fcntl(l->boot, F_DUPFD_CLOEXEC, 16);
    log = fcntl(l->log, F_DUPFD_CLOEXEC, 16);

    if (crun == -1 || sock == -1 || boot == -1 || log == -1
        || dup2(log, 2) == -1 || dup2(sock, 3) == -1 || dup2(boot, 4) == -1
        || close_range(5, ~0U, CLOSE_RANGE_CLOEXEC) == -1)
    {
        _exit(125);
    }

    fexecve(crun, argv, env);
    _exit(126);
}


static void
wait_for_go(const oci_launch *l)
{
    char        c;
    ssize_t     n;
    oci_answer  a;

    memset(&a, 0, sizeof(a));
    a.type = OCI_READY;
    a.pid = getpid();

    if (oci_wire_send(l->answer, &a, sizeof(a), NULL, 0, NULL, 0) == -1) {
        _exit(1);
    }

    do {
        n = recv(l->answer, &c, 1, 0);
    } while (n == -1 && errno == EINTR);

    if (n != 1) {
        _exit(1);
    }
}


/* crun's last line, without the time that it begins with. */
static void
crun_failed(const oci_launch *l, int status)
{
    char    text[2048], *line, *p;
    size_t  n;

    (void) small_file_text("/b/log", text, sizeof(text));

    for (n = strlen(text); n > 0 && text[n - 1] == '\n'; n--) {
        /* void */
    }

    text[n] = '\0';
    p = strrchr(text, '\n');
    line = p != NULL ? p + 1 : text;

    p = strstr(line, "Z: ");
    if (p != NULL && p - line < 40) {
        line = p + 3;
    }

    kill_children();

    if (*line != '\0') {
        oci_launch_failed(l->answer, "crun: %s", line);

    } else if (WIFSIGNALED(status)) {
        oci_launch_failed(l->answer, "crun was ended by signal %d",
                          WTERMSIG(status));
    } else {
        oci_launch_failed(l->answer, "crun failed with status %d",
                          WEXITSTATUS(status));
    }

    _exit(1);
}


/* Waits for crun's end, or for the end of whoever wants to know it. */
static void
crun_wait(const oci_launch *l, pid_t pid)
{
    int            fd, status;
    struct pollfd  p[2];

    fd = pidfd_open(pid, 0);
    if (fd == -1) {
        give_up(l, "pidfd_open");
    }

    p[0].fd = fd;
    p[0].events = POLLIN;
    p[1].fd = l->answer;
    p[1].events = POLLIN;

    for ( ;; ) {
        if (poll(p, 2, -1) == -1) {
            continue;
        }

        if (p[1].revents) {
            errno = ECANCELED;
            give_up(l, "start");
        }

        if (p[0].revents) {
            break;
        }
    }

    close(fd);

    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)
        || WEXITSTATUS(status) != 0)
    {
        crun_failed(l, status);
    }
}


static void
hand_over(const oci_launch *l)
{
    int         pidfd;
    int64_t     pid;
    oci_answer  a;

    if (small_file_number("/b/pid", &pid) == -1) {
        give_up(l, "crun has written no pid");
    }

    memset(&a, 0, sizeof(a));
    a.type = OCI_STARTED;
    a.pid = (int32_t) pid;

    /* It can't be another process by now: it is a child of this one, which
     * has not waited for it. */
    pidfd = a.pid > 1 ? pidfd_open(a.pid, 0) : -1;
    a.start_time = process_start_time(a.pid);

    if (pidfd == -1 || a.start_time == 0) {
        give_up(l, "the sandbox's first process is gone");
    }

    if (oci_wire_send(l->answer, &a, sizeof(a), NULL, 0, &pidfd, 1) == -1) {
        give_up(l, "hand over");
    }

    /* The driver holds it by itself. */
    close(l->lock);
    reap_others(a.pid);
    _exit(0);
}


void
oci_launch_run(const oci_launch *l)
{
    pid_t  pid;

    signal(SIGCHLD, SIG_DFL);
    (void) prctl(PR_SET_NAME, OCI_LAUNCH_NAME);

    /* What crun leaves behind becomes this process's child, to be killed by
     * it or handed to the driver. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        give_up(l, "prctl");
    }

    bundle_make(l);
    wait_for_go(l);

    pid = _Fork();

    if (pid == 0) {
        crun_exec(l);
    }

    if (pid == -1) {
        give_up(l, "fork");
    }

    crun_wait(l, pid);
    hand_over(l);

    _exit(1);
}


void
oci_launch_name(const oci_request *request, int answer, int pidfd)
{
    int         root, layer;
    oci_answer  a;

    memset(&a, 0, sizeof(a));
    a.type = OCI_DONE;

    layer = request->disk ? -1 : layer_open(request->dir);

    if ((layer == -1 && !request->disk)
        || setns(pidfd, CLONE_NEWNS | CLONE_NEWUTS) == -1
        || sethostname(request->hostname, strlen(request->hostname)) == -1)
    {
        oci_launch_failed(answer, "can't give the sandbox its name: %s",
                          strerror(errno));
        _exit(1);
    }

    root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root != -1) {
        layer_name(root, request->hostname);
    }

    /* Beside a disk its owner removes it. */
    if (layer != -1) {
        (void) unlinkat(layer, "unused", 0);
    }

    (void) oci_wire_send(answer, &a, sizeof(a), NULL, 0, NULL, 0);
    _exit(0);
}


void
oci_launch_remove(const oci_request *request, int answer)
{
    int         fd;
    oci_answer  a;

    memset(&a, 0, sizeof(a));
    a.type = OCI_DONE;

    fd = layer_open(request->dir);

    if (fd == -1 ? errno != ENOENT : oci_tree_empty(fd) == -1) {
        oci_launch_failed(answer, "can't remove a sandbox's files: %s",
                          strerror(errno));
        _exit(1);
    }

    (void) oci_wire_send(answer, &a, sizeof(a), NULL, 0, NULL, 0);
    _exit(0);
}


void
oci_launch_size(const oci_request *request, int answer)
{
    int         layer, upper;
    bool        partial;
    oci_answer  a;

    memset(&a, 0, sizeof(a));
    a.type = OCI_DONE;

    layer = layer_open(request->dir);
    upper = layer == -1 ? -1 : oci_tree_open(layer, "upper");

    if (upper != -1) {
        a.bytes = oci_tree_size(upper, &partial);
        a.partial = partial;

    } else if (errno != ENOENT) {
        oci_launch_failed(answer, "can't size a sandbox's files: %s",
                          strerror(errno));
        _exit(1);
    }

    (void) oci_wire_send(answer, &a, sizeof(a), NULL, 0, NULL, 0);
    _exit(0);
}
