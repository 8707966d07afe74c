/* The init of a virtual machine; see init.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/init.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/small_file.h"

#define INIT_AHEAD_MS    600000     /* no start takes that long */
#define INIT_LAST_MS     2000       /* for processes after SIGTERM */
#define INIT_WORKING_SET "1000"     /* ms, which the kernel keeps */

#define INIT_SAFE        (MS_NOSUID | MS_NODEV | MS_NOEXEC)

typedef struct {
    const char     *type;
    const char     *target;
    unsigned long   flags;
    const char     *data;
    mode_t          mode;           /* of the directory that is made */
} init_mount;

/* The first ones are needed to find the root. */
#define INIT_FIRST  3

static const init_mount  init_mounts[] = {
    { "proc",     "/proc",          INIT_SAFE, NULL, 0555 },
    { "sysfs",    "/sys",           INIT_SAFE, NULL, 0555 },
    { "devtmpfs", "/dev",           MS_NOSUID, "mode=0755", 0755 },
    { "devpts",   "/dev/pts",       MS_NOSUID | MS_NOEXEC,
      "newinstance,gid=5,mode=0620,ptmxmode=0666", 0755 },
    { "tmpfs",    "/dev/shm",       MS_NOSUID | MS_NODEV, "mode=1777", 0777 },
    { "tmpfs",    "/run",           MS_NOSUID | MS_NODEV, "mode=0755", 0755 },
    { "cgroup2",  "/sys/fs/cgroup", INIT_SAFE, NULL, 0755 }
};

static const char *const  init_links[][2] = {
    { "/proc/self/fd",   "/dev/fd" },
    { "/proc/self/fd/0", "/dev/stdin" },
    { "/proc/self/fd/1", "/dev/stdout" },
    { "/proc/self/fd/2", "/dev/stderr" }
};


static int
init_is_mounted(const char *path)
{
    char         above[256];
    struct stat  here, up;

    snprintf(above, sizeof(above), "%s/..", path);

    return stat(path, &here) == 0 && stat(above, &up) == 0
           && here.st_dev != up.st_dev;
}


static void
init_mount_one(const init_mount *m)
{
    if (init_is_mounted(m->target)) {
        return;
    }

    mkdir(m->target, m->mode);

    if (mount(m->type, m->target, m->type, m->flags, m->data) != 0) {
        log_warn("init: %s on %s: %s", m->type, m->target, strerror(errno));
    }
}


/* A root that can't be written to needs a place for temporary files. */

static void
init_tmp(void)
{
    static const init_mount  tmp = {
        "tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", 01777
    };

    if (mkdir("/tmp", 01777) == 0) {
        chmod("/tmp", 01777);
    }

    if (access("/tmp", W_OK) != 0) {
        init_mount_one(&tmp);
    }
}


/* Without a /dev/console in the first file system, the kernel starts us
 * without standard descriptors. */

static void
init_console(void)
{
    int  fd;

    if (fcntl(STDERR_FILENO, F_GETFD) != -1) {
        return;
    }

    do {
        fd = open("/dev/console", O_RDWR | O_NOCTTY);
    } while (fd >= 0 && fd < 2);

    if (fd > 2) {
        close(fd);
    }
}


static void
init_limits(void)
{
    struct rlimit  lim;

    /* The kernel's own are for a machine of another time. */
    lim.rlim_cur = INIT_NOFILE_SOFT;
    lim.rlim_max = INIT_NOFILE;

    if (setrlimit(RLIMIT_NOFILE, &lim) != 0
        && getrlimit(RLIMIT_NOFILE, &lim) == 0
        && lim.rlim_cur > INIT_NOFILE_SOFT)
    {
        lim.rlim_cur = INIT_NOFILE_SOFT;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}


/* Programs are read from a disk again and again where nothing is left but their
 * pages, and nobody gets anywhere for minutes.  With a working set that is kept
 * (the kernel's Documentation/admin-guide/mm/multigen_lru.rst), what takes too
 * much is ended instead. */

static void
init_memory(void)
{
    (void) small_file_write("/sys/kernel/mm/lru_gen/enabled", "y");
    (void) small_file_write("/sys/kernel/mm/lru_gen/min_ttl_ms",
                            INIT_WORKING_SET);
}


static void
init_mounts_all(void)
{
    size_t  i;

    umask(0);

    for (i = 0; i < sizeof(init_mounts) / sizeof(init_mounts[0]); i++) {
        init_mount_one(&init_mounts[i]);
    }

    for (i = 0; i < sizeof(init_links) / sizeof(init_links[0]); i++) {
        (void) !symlink(init_links[i][0], init_links[i][1]);
    }

    init_tmp();
    umask(022);
    (void) !chdir("/");
}


int
init_early(void)
{
    size_t  i;
    int     rc;

    umask(0);

    for (i = 0; i < INIT_FIRST; i++) {
        init_mount_one(&init_mounts[i]);
    }

    umask(022);
    init_console();
    init_modules(NULL);
    init_disks();
    init_modules_later();
    rc = init_root();

    init_mounts_all();
    init_fuse();
    init_limits();
    init_memory();
    init_loopback();

    /* Ctrl-Alt-Del, which is how a VMM asks for the end, comes as SIGINT. */
    reboot(RB_DISABLE_CAD);

    return rc < 0 ? -1 : 0;
}


/* What was told is from before the machine was started, so a clock can only
 * be right if it is a little ahead.  One that was read at its start knows whole
 * seconds, of a time before now: the later of the two is nearer. */

static void
init_clock(int64_t told)
{
    int64_t          now;
    struct timespec  ts;

    if (told == 0) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &ts);
    now = (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    if (now >= told && now - told < INIT_AHEAD_MS) {
        return;
    }

    ts.tv_sec = told / 1000;
    ts.tv_nsec = told % 1000 * 1000000;

    if (clock_settime(CLOCK_REALTIME, &ts) != 0) {
        log_warn("init: the clock can't be set: %s", strerror(errno));
    }
}


static int
init_entropy(const vm_config *c)
{
    int                       fd, rc;
    union {
        struct rand_pool_info  info;
        char                   room[sizeof(struct rand_pool_info)
                                    + VM_ENTROPY_MAX];
    } pool;

    if (c->entropy_len == 0) {
        return -1;
    }

    memset(&pool, 0, sizeof(pool));
    pool.info.entropy_count = (int) c->entropy_len * 8;
    pool.info.buf_size = (int) c->entropy_len;
    memcpy(pool.room + sizeof(struct rand_pool_info), c->entropy,
           c->entropy_len);

    fd = open("/dev/random", O_WRONLY | O_CLOEXEC);
    rc = fd != -1 ? ioctl(fd, RNDADDENTROPY, &pool) : -1;

    /* Not some time later: another machine may go on from the same memory. */
    if (rc == 0) {
        rc = ioctl(fd, RNDRESEEDCRNG);
    }

    if (rc != 0) {
        log_warn("init: entropy: %s", strerror(errno));
    }
    if (fd != -1) {
        close(fd);
    }
    explicit_bzero(&pool, sizeof(pool));

    return rc;
}


/* What there is of it, was another machine's. */
static void
init_machine_id(void)
{
    size_t         i;
    buffer         b;
    unsigned char  id[16];

    if (access("/etc/machine-id", F_OK) != 0
        || getrandom(id, sizeof(id), 0) != sizeof(id))
    {
        return;
    }

    memset(&b, 0, sizeof(b));

    for (i = 0; i < sizeof(id); i++) {
        buffer_printf(&b, "%02x", id[i]);
    }

    buffer_puts(&b, "\n");
    init_replace("/etc/machine-id", &b);
    buffer_free(&b);
}


int
init_again(const vm_config *c, const char *hostname)
{
    int  rc;

    init_clock(c->time_ms);
    rc = init_entropy(c);

    if (hostname != NULL) {
        init_machine_id();
        init_processes(c->processes);
        init_names(c, hostname);
        init_network(c);
    }

    return rc;
}


void
init_apply(const vm_config *c, const char *hostname)
{
    init_clock(c->time_ms == 0 ? 0
               : c->time_ms + (int64_t) clock_ms(CLOCK_MONOTONIC));
    init_entropy(c);
    init_processes(c->processes);
    init_names(c, hostname);
    init_network(c);
}


/* The end. */

static int
init_wait_all(int ms)
{
    pid_t  pid;

    for (;; ms -= 5) {
        pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD) {
            return 0;
        }
        if (pid > 0) {
            continue;
        }
        if (ms <= 0) {
            return -1;
        }
        usleep(5000);
    }
}


void
init_end(const char *power)
{
    int  how;

    /* What was adopted; the shims have ended all else. */
    kill(-1, SIGTERM);
    kill(-1, SIGCONT);

    if (init_wait_all(INIT_LAST_MS) != 0) {
        kill(-1, SIGKILL);
        init_wait_all(INIT_LAST_MS);
    }

    sync();

    if (power != NULL && strcmp(power, "exit") == 0) {
        return;
    }

    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0) {
        log_debug("init: the root can't be made read-only: %s",
                  strerror(errno));
    }
    sync();

    how = RB_POWER_OFF;
    if (power != NULL ? strcmp(power, "reboot") == 0
                      : access("/sys/firmware/acpi", F_OK) != 0)
    {
        how = RB_AUTOBOOT;
    }

    log_info("init: %s", how == RB_AUTOBOOT ? "restart" : "power off");
    reboot(how);

    /* Not allowed to: then as good as it can be. */
    reboot(RB_AUTOBOOT);
    log_error("init: %s", strerror(errno));
}
