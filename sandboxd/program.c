/* Other programs' versions; see program.h. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "sandboxd/program.h"


static pid_t
program_start(const char *path, const char *argument, int out)
{
    int                         rc;
    pid_t                       pid;
    char                       *argv[] = { (char *) path, (char *) argument,
                                           NULL };
    posix_spawn_file_actions_t  actions;

    static char *const  env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                  "LC_ALL=C", NULL };

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, out, 2);

    rc = posix_spawn(&pid, path, &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);

    return rc == 0 ? pid : -1;
}


/* Up to its end; what doesn't fit is read and forgotten. */
static int
program_hear(int fd, char out[PROGRAM_TEXT], uint64_t end)
{
    char           block[PROGRAM_TEXT];
    size_t         len, take;
    ssize_t        n;
    uint64_t       now;
    struct pollfd  p = { fd, POLLIN, 0 };

    for (len = 0; (now = clock_ms(CLOCK_MONOTONIC)) < end; ) {
        if (poll(&p, 1, (int) (end - now)) <= 0) {
            continue;
        }

        n = read(fd, block, sizeof(block));

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            out[len] = '\0';
            return 0;
        }

        take = (size_t) n < PROGRAM_TEXT - 1 - len ? (size_t) n
               : PROGRAM_TEXT - 1 - len;
        memcpy(out + len, block, take);
        len += take;
    }

    return -1;
}


int
program_say(const char *path, const char *argument, char out[PROGRAM_TEXT],
    unsigned timeout_ms)
{
    int    rc, fds[2];
    pid_t  pid;

    out[0] = '\0';

    if (pipe2(fds, O_CLOEXEC) == -1) {
        return -1;
    }

    pid = program_start(path, argument, fds[1]);
    close(fds[1]);
    rc = -1;

    if (pid != -1) {
        rc = program_hear(fds[0], out, clock_ms(CLOCK_MONOTONIC) + timeout_ms);

        /* Its end of the pipe may be closed, and the program live on. */
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, NULL, 0);
    }

    close(fds[0]);

    return rc;
}


int
version_find(const char *text, version *v)
{
    int          i;
    char        *end;
    const char  *p;

    memset(v, 0, sizeof(*v));

    for (p = text; *p != '\0'; p++) {
        if (!isdigit((unsigned char) *p)) {
            continue;
        }

        v->n[0] = (unsigned) strtoul(p, &end, 10);

        if (*end != '.' || !isdigit((unsigned char) end[1])) {
            p = end - 1;
            continue;
        }

        for (i = 1; i < 3 && *end == '.' && isdigit((unsigned char) end[1]);
             i++)
        {
            v->n[i] = (unsigned) strtoul(end + 1, &end, 10);
        }

        return 0;
    }

    return -1;
}


int
version_compare(const version *a, const version *b)
{
    int  i;

    for (i = 0; i < 3; i++) {
        if (a->n[i] != b->n[i]) {
            return a->n[i] < b->n[i] ? -1 : 1;
        }
    }

    return 0;
}
