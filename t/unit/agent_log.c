/* sources: sandboxd/agent_log.c common/log.c common/json_text.c common/utf8.c */
/* libs: -luv */

/* What agents say: lines of any length, in the bounds of what was read. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "sandboxd/agent_log.h"
#include "t/unit/tap.h"

static int  log_file;


static void
noted(void *data)
{
}


/* Says it, and returns what the log has of it. */
static const char *
said(const char *text, size_t len)
{
    int          fds[2], err;
    ssize_t      n;
    uv_loop_t    loop;
    agent_log   *log;
    static char  got[65536];

    if (agent_log_pipe(fds) != 0 || ftruncate(log_file, 0) != 0
        || write(fds[1], text, len) != (ssize_t) len)
    {
        abort();
    }

    err = dup(STDERR_FILENO);
    dup2(log_file, STDERR_FILENO);

    uv_loop_init(&loop);
    log = agent_log_start(&loop, 7, fds[0], noted, NULL);
    agent_log_end(log);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);

    dup2(err, STDERR_FILENO);
    close(err);
    close(fds[1]);
    n = pread(log_file, got, sizeof(got) - 1, 0);
    got[n > 0 ? n : 0] = '\0';

    return got;
}


static size_t
count(const char *text, char c)
{
    size_t  n;

    for (n = 0; *text != '\0'; text++) {
        n += *text == c;
    }

    return n;
}


int
main(void)
{
    char         text[4096], name[] = "/tmp/agent_log.XXXXXX";
    const char  *got;

    log_file = mkostemp(name, O_APPEND | O_CLOEXEC);
    unlink(name);

    got = said("one\ntwo\n", 8);
    ok(strstr(got, "slot 00000007: agent: one\n") != NULL
       && strstr(got, "slot 00000007: agent: two\n") != NULL, "two lines");

    /* What is behind the end of a read is none of its words. */
    memset(text, 'x', sizeof(text));
    got = said(text, sizeof(text));
    ok(count(got, 'x') == 1024 && count(got, '\n') == 1,
       "a line without end is cut");

    memset(text, 'y', sizeof(text));
    text[sizeof(text) - 1024 - 2] = '\n';
    got = said(text, sizeof(text));
    ok(count(got, 'y') == 2 * 1024 && count(got, '\n') == 2,
       "at the end of a read, too");

    return done_testing();
}
