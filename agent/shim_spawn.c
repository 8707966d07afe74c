/* A shim starts its command; see shim_internal.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim_internal.h"

#define SHIM_SPEC_MAX   (8 * 1024 * 1024)


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

    if (shim_self.has_tty) {
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

    rc = posix_spawn(&shim_self.child, argv[0], &acts, &attr, argv, env);

    posix_spawn_file_actions_destroy(&acts);
    posix_spawnattr_destroy(&attr);

    return rc;
}


void
shim_drop(void)
{
    int  i;

    /* The numbers stay taken: nothing that is received may land there. */
    for (i = 0; i < SHIM_HELD_MAX; i++) {
        dup3(shim_self.null, SHIM_HELD + i, O_CLOEXEC);
    }
}


void
shim_spawn_child(const int *fds, int nfds)
{
    int           rc;
    char         *spec, *p, *end, *cwd, **argv, **env;
    size_t        len;
    unsigned long count;
    struct stat   st;

    shim_self.child = 0;
    shim_self.nmarked = 0;
    shim_self.had_children = 0;
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
            shim_self.child = 0;
            shim_tell(SHIM_FAILED, 0, rc, 0);
        } else {
            shim_tell(SHIM_SPAWNED, shim_self.child, 0, 0);
        }

        (void) !chdir("/");
    }

    free(argv);
    free(env);
    free(spec);
}


void
shim_hold(const int *fds, int nfds)
{
    int  i;

    for (i = 0; i < nfds && i < SHIM_HELD_MAX; i++) {
        dup3(fds[i], SHIM_HELD + i, O_CLOEXEC);
    }

    shim_tell(SHIM_IS_HELD, 0, 0, 0);
}
