/* sources: common/process_start.c common/small_file.c */
/* The start of a process, whatever its name is. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/process_start.h"
#include "t/unit/tap.h"


static uint64_t
ticks_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);

    return (uint64_t) ts.tv_sec * (uint64_t) sysconf(_SC_CLK_TCK)
           + (uint64_t) ts.tv_nsec * (uint64_t) sysconf(_SC_CLK_TCK)
             / 1000000000;
}


/* A child that waits, with a name of its choice. */
static pid_t
child(const char *name)
{
    int    pipes[2];
    char   c;
    pid_t  pid;

    if (pipe(pipes) != 0) {
        abort();
    }

    pid = fork();

    if (pid == 0) {
        prctl(PR_SET_NAME, name);
        (void) !write(pipes[1], "+", 1);
        for ( ;; ) {
            pause();
        }
    }

    close(pipes[1]);
    (void) !read(pipes[0], &c, 1);
    close(pipes[0]);

    return pid;
}


static void
named(const char *name)
{
    pid_t     pid;
    uint64_t  before, after, at;

    before = ticks_now();
    pid = child(name);
    after = ticks_now();
    at = process_start_time(pid);

    ok(at + 1 >= before && at <= after + 1, "\"%s\" has begun when it did",
       name);
    ok(process_start_time(pid) == at, "and stays at that");

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);

    ok(process_start_time(pid) == 0, "until it is gone");
}


int
main(void)
{
    ok(process_start_time(getpid()) > process_start_time(1),
       "the first process was before this one");

    named("plain");
    named("a b c d e f");
    named(") R 1 1 1 1");
    named("");

    return done_testing();
}
