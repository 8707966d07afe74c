/*
 * The filter: what isn't named here doesn't exist inside (ENOSYS, so that a C
 * library falls back to an older call); what is dangerous and well known is
 * refused (EPERM); some calls are allowed with harmless arguments only.  All
 * processes inside have lost the capabilities for most of what is refused
 * anyway; the filter keeps the code behind it out of reach.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base64.h"
#include "sandboxd/seccomp.h"

/* A program can't be longer than the kernel's limit of 4096 instructions. */
#define PROGRAM_MAX  (4096 * 8)

#define NAMESPACES  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS             \
                     | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID            \
                     | CLONE_NEWNET)

static const char *const  allowed[] = {
    /* files and directories */
    "access", "chdir", "chmod", "chown", "chown32", "chroot", "close",
    "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3",
    "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
    "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32",
    "fchownat", "fcntl", "fcntl64", "fdatasync", "fgetxattr", "flistxattr",
    "flock", "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64",
    "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat",
    "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch",
    "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown",
    "lchown32", "lgetxattr", "link", "linkat", "listxattr", "llistxattr",
    "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64",
    "mkdir", "mkdirat", "mknod", "mknodat", "newfstatat", "open", "openat",
    "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev",
    "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv",
    "removexattr", "rename", "renameat", "renameat2", "rmdir", "sendfile",
    "sendfile64", "setxattr", "splice", "stat", "stat64", "statfs",
    "statfs64", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
    "syncfs", "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat",
    "utime", "utimensat", "utimensat_time64", "utimes", "vmsplice", "write",
    "writev",

    /* memory */
    "brk", "get_mempolicy", "madvise", "membarrier", "memfd_create",
    "mincore", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect",
    "mremap", "mseal", "msync", "munlock", "munlockall", "munmap",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "process_madvise",
    "process_mrelease", "remap_file_pages",

    /* processes, threads, ids; ptrace reaches nothing outside */
    "arch_prctl", "capget", "capset", "execve", "execveat", "exit",
    "exit_group", "fork", "futex", "futex_time64", "futex_wait",
    "futex_waitv", "futex_wake", "futex_requeue", "get_robust_list",
    "get_thread_area", "getcpu", "getegid", "getegid32", "geteuid",
    "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getpgid",
    "getpgrp", "getpid", "getppid", "getpriority", "getresgid",
    "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage",
    "getsid", "gettid", "getuid", "getuid32", "ioprio_get", "ioprio_set",
    "kcmp", "kill", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "pidfd_getfd", "pidfd_open",
    "pidfd_send_signal", "prctl", "process_vm_readv", "process_vm_writev",
    "ptrace", "rseq", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_rr_get_interval",
    "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr",
    "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp",
    "set_robust_list", "set_thread_area", "set_tid_address", "setfsgid",
    "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
    "setgroups", "setgroups32", "setpgid", "setpriority", "setregid",
    "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32",
    "setreuid", "setreuid32", "setsid", "setuid", "setuid32", "sysinfo",
    "tgkill", "times", "tkill", "ugetrlimit", "uname", "vfork", "wait4",
    "waitid", "waitpid",

    /* signals, time, waiting */
    "alarm", "clock_getres", "clock_getres_time64", "clock_gettime",
    "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "getitimer",
    "gettimeofday", "map_shadow_stack", "nanosleep", "_newselect", "pause",
    "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64",
    "restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "select", "setitimer",
    "sigaltstack", "signalfd", "signalfd4", "sigreturn", "time",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create",
    "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
    "timerfd_settime64",

    /* pipes, sockets (socket itself is below), System V and POSIX IPC; no aio,
     * of which a host has 65536 requests for everybody */
    "accept", "accept4", "bind", "connect", "getpeername", "getrandom",
    "getsockname", "getsockopt", "ipc", "listen", "mq_getsetattr",
    "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64",
    "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget",
    "msgrcv", "msgsnd", "pipe", "pipe2", "recv", "recvfrom", "recvmmsg",
    "recvmmsg_time64", "recvmsg", "semctl", "semget", "semop", "semtimedop",
    "semtimedop_time64", "send", "sendmmsg", "sendmsg", "sendto",
    "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown",
    "socketpair",
};

static const char *const  refused[] = {
    "acct", "add_key", "adjtimex", "bpf", "clock_adjtime", "clock_settime",
    "create_module", "delete_module", "fanotify_init", "fanotify_mark",
    "finit_module", "fsconfig", "fsmount", "fsopen", "fspick",
    "get_kernel_syms", "init_module", "ioperm", "iopl", "kexec_file_load",
    "kexec_load", "keyctl", "lookup_dcookie", "lsm_get_self_attr",
    "lsm_list_modules", "lsm_set_self_attr", "mbind", "memfd_secret",
    "migrate_pages", "modify_ldt", "mount", "mount_setattr", "move_mount",
    "move_pages", "name_to_handle_at", "nfsservctl", "open_by_handle_at",
    "open_tree", "perf_event_open", "pivot_root", "query_module", "quotactl",
    "quotactl_fd", "reboot", "request_key", "set_mempolicy",
    "set_mempolicy_home_node", "setdomainname", "sethostname", "setns",
    "settimeofday", "stime", "swapoff", "swapon", "sysfs", "syslog", "umount",
    "umount2", "uselib", "userfaultfd", "ustat", "vhangup", "vm86", "vm86old",
};


static int
add_names(scmp_filter_ctx ctx, uint32_t action, const char *const *names,
    size_t n)
{
    int     nr, rc;
    size_t  i;

    for (i = 0; i < n; i++) {
        nr = seccomp_syscall_resolve_name(names[i]);

        /* Names of other architectures and of newer kernels. */
        if (nr == __NR_SCMP_ERROR || nr < 0) {
            continue;
        }

        rc = seccomp_rule_add(ctx, action, nr, 0);
        if (rc != 0) {
            return rc;
        }
    }

    return 0;
}


/* clone and unshare without new namespaces; clone3 hides its flags behind a
 * pointer, so that C libraries are sent back to clone. */
static int
add_namespaces(scmp_filter_ctx ctx)
{
    int     rc;
    size_t  i, n;

    static const int           calls[] = { SCMP_SYS(clone), SCMP_SYS(unshare) };
    static const scmp_datum_t  flags[] = {
        CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
        CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET
    };

    for (n = 0; n < sizeof(calls) / sizeof(calls[0]); n++) {
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[n], 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES, 0));

        for (i = 0; rc == 0 && i < sizeof(flags) / sizeof(flags[0]); i++) {
            rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), calls[n], 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, flags[i],
                                          flags[i]));
        }

        if (rc != 0) {
            return rc;
        }
    }

    return 0;
}


/* Local and Internet sockets, and of netlink what lists addresses and routes
 * and devices: every other family is kernel code that nobody here needs. */
static int
add_sockets(scmp_filter_ctx ctx)
{
    int     rc;
    size_t  i;

    static const int  families[] = { AF_UNIX, AF_INET, AF_INET6 };

    for (i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t) families[i]));
        if (rc != 0) {
            return rc;
        }
    }

    /* Programs that would like to write to the audit log can do without where
     * the protocol doesn't exist. */
    for (i = 0; i < MAX_LINKS; i++) {
        rc = seccomp_rule_add(ctx, i == NETLINK_ROUTE
                                   || i == NETLINK_KOBJECT_UEVENT
                                   ? SCMP_ACT_ALLOW
                                   : SCMP_ACT_ERRNO(EPROTONOSUPPORT),
                              SCMP_SYS(socket), 2,
                              SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
                              SCMP_A2(SCMP_CMP_EQ, i));
        if (rc != 0) {
            return rc;
        }
    }

    for (i = 0; i < AF_MAX; i++) {
        if (i == AF_UNIX || i == AF_INET || i == AF_INET6 || i == AF_NETLINK) {
            continue;
        }

        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT),
                              SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, i));
        if (rc != 0) {
            return rc;
        }
    }

    return 0;
}


/* Setting the limit of core files does nothing, and says that it has worked: it
 * is below all that a program could wish for, and 0 would be worse than what it
 * is (see the driver's helper).  The kernel ignores the upper half of the
 * number. */
static int
add_limits(scmp_filter_ctx ctx)
{
    int           rc;
    scmp_datum_t  i;

    for (i = 0; i < RLIM_NLIMITS; i++) {
        if (i == RLIMIT_CORE) {
            continue;
        }

        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setrlimit), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, i));
        if (rc != 0) {
            return rc;
        }

        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, i));
        if (rc != 0) {
            return rc;
        }
    }

    rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(0), SCMP_SYS(setrlimit), 1,
                          SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff,
                                  RLIMIT_CORE));
    if (rc != 0) {
        return rc;
    }

    rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                          SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, RLIMIT_CORE),
                          SCMP_A2(SCMP_CMP_EQ, 0));
    if (rc != 0) {
        return rc;
    }

    return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(0), SCMP_SYS(prlimit64), 2,
                            SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff,
                                    RLIMIT_CORE),
                            SCMP_A2(SCMP_CMP_NE, 0));
}


/* The execution domains of Linux itself, with and without a 32 bit uname. */
static int
add_personality(scmp_filter_ctx ctx)
{
    int     rc;
    size_t  i;

    static const scmp_datum_t  values[] = {
        0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xffffffff
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                              SCMP_A0(SCMP_CMP_EQ, values[i]));
        if (rc != 0) {
            return rc;
        }
    }

    return 0;
}


static int
add_rules(scmp_filter_ctx ctx)
{
    int  rc;

    /* A binary tree instead of a chain of comparisons. */
    rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);

    if (rc == 0) {
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
                              SCMP_ACT_ERRNO(ENOSYS));
    }

    if (rc == 0) {
        rc = add_names(ctx, SCMP_ACT_ALLOW, allowed,
                       sizeof(allowed) / sizeof(allowed[0]));
    }

    if (rc == 0) {
        rc = add_names(ctx, SCMP_ACT_ERRNO(EPERM), refused,
                       sizeof(refused) / sizeof(refused[0]));
    }

    if (rc == 0) {
        rc = add_namespaces(ctx);
    }

    if (rc == 0) {
        rc = add_sockets(ctx);
    }

    if (rc == 0) {
        rc = add_limits(ctx);
    }

    if (rc == 0) {
        rc = add_personality(ctx);
    }

    return rc;
}


static char *
read_program(int fd, error **err)
{
    char     *text;
    size_t    len;
    ssize_t   n;

    static unsigned char  program[PROGRAM_MAX + 8];

    n = pread(fd, program, sizeof(program), 0);

    if (n <= 0 || n > PROGRAM_MAX || n % 8 != 0) {
        error_set(err, 500, "seccomp", "the filter program has %zd bytes", n);
        return NULL;
    }

    text = malloc(base64_encoded_len((size_t) n) + 1);
    if (text == NULL) {
        error_set(err, 500, "internal", "out of memory");
        return NULL;
    }

    len = base64_encode(text, program, (size_t) n);
    text[len] = '\0';

    return text;
}


char *
seccomp_filter_build(error **err)
{
    int              fd, rc;
    char            *text;
    scmp_filter_ctx  ctx;

    ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (ctx == NULL) {
        error_set(err, 500, "seccomp", "libseccomp doesn't work here");
        return NULL;
    }

    text = NULL;
    fd = -1;

    rc = add_rules(ctx);

    if (rc == 0) {
        fd = memfd_create("filter", MFD_CLOEXEC);
        rc = fd == -1 ? -errno : seccomp_export_bpf(ctx, fd);
    }

    if (rc != 0) {
        error_set(err, 500, "seccomp", "can't build the filter: %s",
                  strerror(-rc));

    } else {
        text = read_program(fd, err);
    }

    if (fd != -1) {
        close(fd);
    }

    seccomp_release(ctx);

    return text;
}


int
seccomp_filter_load(error **err)
{
    int              rc;
    scmp_filter_ctx  ctx;

    ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (ctx == NULL) {
        return error_set(err, 500, "seccomp", "libseccomp doesn't work here");
    }

    rc = add_rules(ctx);

    if (rc == 0) {
        rc = seccomp_load(ctx);
    }

    seccomp_release(ctx);

    return rc == 0 ? 0 : error_set(err, 500, "seccomp", "the filter can't be "
                                   "loaded: %s", strerror(-rc));
}
