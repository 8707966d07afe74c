/* The jailer; see fc_stub.h. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "t/driver/fc_stub.h"

typedef struct {
    const char  *id, *exec, *uid, *gid, *base;
    char       **more;
} jail;


static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *fmt, ...)
{
    int      e = errno;
    va_list  args;

    va_start(args, fmt);
    printf("Jailer error: ");
    vprintf(fmt, args);
    printf(": %s\n", strerror(e));
    exit(1);
}


static void
limit(const char *text)
{
    int            what;
    const char    *value;
    struct rlimit  l;

    what = strncmp(text, "fsize=", 6) == 0 ? RLIMIT_FSIZE
           : strncmp(text, "no-file=", 8) == 0 ? RLIMIT_NOFILE : -1;
    value = strchr(text, '=');

    if (what == -1) {
        fail("--resource-limit %s", text);
    }

    l.rlim_cur = l.rlim_max = strtoull(value + 1, NULL, 10);

    if (setrlimit((__rlimit_resource_t) what, &l) != 0) {
        fail("%s", text);
    }
}


static void
parse(jail *j, int argc, char **argv)
{
    int           i;
    size_t        k;
    const char  **slots[] = { &j->id, &j->exec, &j->uid, &j->gid, &j->base };

    static const char *const  names[] = { "--id", "--exec-file", "--uid",
                                          "--gid", "--chroot-base-dir" };

    j->base = "/srv/jailer";

    for (i = 1; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        if (strcmp(argv[i], "--resource-limit") == 0) {
            limit(argv[i + 1]);
            continue;
        }

        for (k = 0; k < 5 && strcmp(argv[i], names[k]) != 0; k++) {
            /* void */
        }

        if (k == 5) {
            fail("unknown argument %s", argv[i]);
        }

        *slots[k] = argv[i + 1];
    }

    j->more = i < argc ? argv + i + 1 : argv + argc;

    if (j->id == NULL || j->exec == NULL || j->uid == NULL || j->gid == NULL) {
        fail("an argument is missing");
    }

    if (strlen(j->id) > 64
        || j->id[strspn(j->id, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")]
           != '\0'
        || strstr(strrchr(j->exec, '/') + 1, "firecracker") == NULL)
    {
        fail("--id or --exec-file is invalid");
    }
}


/* Links where the copy goes are refused. */
static void
copy(const char *from, const char *to)
{
    int          in, out;
    char         block[65536];
    ssize_t      n;
    struct stat  st;

    in = open(from, O_RDONLY | O_CLOEXEC);
    out = open(to, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0755);

    if (in == -1 || out == -1 || fstat(out, &st) != 0 || st.st_nlink != 1) {
        fail("%s to %s", from, to);
    }

    while ((n = read(in, block, sizeof(block))) > 0) {
        if (write(out, block, (size_t) n) != n) {
            fail("%s", to);
        }
    }

    close(in);
    close(out);
}


static void
enter(const char *root)
{
    if (unshare(CLONE_NEWNS) != 0
        || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) != 0
        || mount(root, root, NULL, MS_BIND | MS_REC, NULL) != 0
        || chdir(root) != 0 || mkdir("old_root", 0600) != 0
        || syscall(SYS_pivot_root, ".", "old_root") != 0 || chdir("/") != 0
        || umount2("old_root", MNT_DETACH) != 0 || rmdir("old_root") != 0)
    {
        fail("%s", root);
    }
}


static void
folder(const char *path, uid_t uid, gid_t gid)
{
    if ((mkdir(path, 0700) != 0 && errno != EEXIST) || chmod(path, 0700) != 0
        || chown(path, uid, gid) != 0)
    {
        fail("%s", path);
    }
}


static void
device(const char *path, unsigned major, unsigned minor, uid_t uid, gid_t gid)
{
    if (mknod(path, S_IFCHR | 0600, makedev(major, minor)) != 0
        || chown(path, uid, gid) != 0)
    {
        fail("%s", path);
    }
}


/* What the guest has that is played here.  The real one makes none of it. */
static void
guest(uid_t uid, gid_t gid)
{
    int           fd;
    struct ifreq  lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd == -1 || ioctl(fd, SIOCSIFFLAGS, &lo) != 0) {
        fail("lo");
    }
    close(fd);

    folder("/proc", 0, 0);
    (void) chmod("/proc", 0555);

    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)
        != 0)
    {
        fail("/proc");
    }

    device("/dev/null", 1, 3, uid, gid);
    device("/dev/zero", 1, 5, uid, gid);
}


int
jailer_main(int argc, char **argv)
{
    FILE  *f;
    jail   j;
    char   root[512], path[768], *args[64] = { NULL };
    int    n, i;
    uid_t  uid;
    gid_t  gid;

    static char *const  none[] = { NULL };

    memset(&j, 0, sizeof(j));
    syscall(SYS_close_range, 3, ~0u, 0);
    parse(&j, argc, argv);
    uid = (uid_t) strtoul(j.uid, NULL, 10);
    gid = (gid_t) strtoul(j.gid, NULL, 10);

    n = 0;
    snprintf(root, sizeof(root), "%s", j.base);
    for (i = 0; i < 3; i++) {
        strncat(root, i == 0 ? "/firecracker/" : i == 1 ? j.id : "/root",
                sizeof(root) - strlen(root) - 1);
        if (mkdir(root, 0755) != 0 && errno != EEXIST) {
            fail("%s", root);
        }
    }

    snprintf(path, sizeof(path), "%s/firecracker", root);
    copy(j.exec, path);
    enter(root);

    folder("/", uid, gid);
    folder("/dev", uid, gid);
    folder("/dev/net", uid, gid);
    folder("/run", uid, gid);
    device("/dev/net/tun", 10, 200, uid, gid);
    device("/dev/kvm", 10, 232, uid, gid);
    device("/dev/urandom", 1, 9, uid, gid);
    guest(uid, gid);

    f = fopen("/firecracker.pid", "wxe");
    if (f == NULL || fprintf(f, "%d", (int) getpid()) < 1 || fclose(f) != 0) {
        fail("/firecracker.pid");
    }

    if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
        fail("uid");
    }

    args[n++] = "/firecracker";
    args[n++] = "--id";
    args[n++] = (char *) j.id;
    args[n++] = "--start-time-us";
    args[n++] = "1";

    for (i = 0; n < 63 && j.more[i] != NULL; i++) {
        args[n++] = j.more[i];
    }

    execve(args[0], args, none);
    fail("exec");
}
