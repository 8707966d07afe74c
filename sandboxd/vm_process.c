/* The processes that a keeper starts, above all the VMM; see vm.h. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/vmm.h"


void
vm_become(uid_t uid)
{
    if (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0
        || setresuid(uid, uid, uid) != 0
        || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    {
        vm_end(1, "the user can't be changed");
    }
}


void
vm_limit(int what, uint64_t value)
{
    struct rlimit  limit;

    limit.rlim_cur = value;
    limit.rlim_max = value;
    (void) setrlimit(what, &limit);
}


static void __attribute__((noreturn))
vmm_exec(const vmm *kind, vm_order *order, int console)
{
    int       fd;
    char     *p, *argv[VM_ARGS_MAX + 1];
    sigset_t  none;
    uint32_t  i;

    static char *const  env[] = { "PATH=/usr/bin:/bin", NULL };

    p = (char *) (order + 1);

    for (i = 0; i < order->argc && i < VM_ARGS_MAX; i++) {
        argv[i] = p;
        p += strlen(p) + 1;
    }
    argv[i] = NULL;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    dup2(console, 1);
    dup2(console, 2);

    /* Ours are close-on-exec; these are the VMM's.  What sleep keeps, and has
     * kept, is handed over when it is asked for. */
    for (fd = VM_FD_BOOT; fd <= VM_FD_LAST; fd++) {
        if ((fd < VM_FD_MEMORY || fd > VM_FD_CONTROL) && fd != VM_FD_OWNER) {
            (void) fcntl(fd, F_SETFD, 0);
        }
    }

    /* Broken out of, it could make its files longer, or leave its memory. */
    vm_limit(RLIMIT_FSIZE, order->file_max);
    vm_limit(RLIMIT_CORE, 0);

    if (kind->jailer) {
        /* It is root until it has made the jail; the keeper, another user, has
         * to be able to connect to sockets that are made there. */
        (void) umask(0);
        (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

    } else {
        vm_become(order->vmm_uid);
    }

    execve(argv[0], argv, env);

    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}


pid_t
vm_process_start(const vmm *kind, vm_order *order, int *console,
    error **err)
{
    int    fds[2];
    pid_t  pid;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        error_set(err, 500, "start_failed", "pipe: %s", strerror(errno));
        return -1;
    }

    (void) fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *console = fds[0];
    pid = fork();

    if (pid == 0) {
        vmm_exec(kind, order, fds[1]);
    }

    close(fds[1]);

    if (pid == -1) {
        error_set(err, 500, "start_failed", "fork: %s", strerror(errno));
    }

    return pid;
}
