/* What an agent says; see agent_log.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/agent_log.h"

#define PIPE_SIZE  16384
#define PIECE      4096         /* is taken at once ... */
#define PAUSE_MS   5000         /* ... and then nothing for so long */
#define WORDS_MAX  1024

struct agent_log {
    uv_poll_t   poll;
    uv_timer_t  pause;
    int         fd;
    uint32_t    slot;
    void      (*said)(void *data);
    void       *data;
    unsigned    closing;
};


int
agent_log_pipe(int fds[2])
{
    int   writer;
    char  path[40];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1) {
        return -1;
    }

    (void) fcntl(fds[0], F_SETPIPE_SZ, PIPE_SIZE);

    /* An end that reads too: without a reader, writing would be an error. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[1]);
    writer = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

    close(fds[1]);
    fds[1] = writer;

    if (writer == -1) {
        close(fds[0]);
        return -1;
    }

    return 0;
}


int
agent_log_find(pid_t pid)
{
    int          fd;
    char         path[40];
    struct stat  st;

    snprintf(path, sizeof(path), "/proc/%d/fd/2", (int) pid);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd != -1 && (fstat(fd, &st) == -1 || !S_ISFIFO(st.st_mode))) {
        close(fd);
        fd = -1;
    }

    return fd;
}


static void
log_lines(agent_log *log, const char *text, size_t len)
{
    size_t       n;
    const char  *end;

    while (len > 0) {
        end = memchr(text, '\n', len);
        n = end != NULL ? (size_t) (end - text) : len;

        log_info("slot %08x: agent: %.*s", log->slot,
                 n > WORDS_MAX ? WORDS_MAX : (int) n, text);

        n += end != NULL;
        text += n;
        len -= n;
    }
}


static ssize_t
log_take(agent_log *log)
{
    char     text[PIECE];
    ssize_t  n;

    n = read(log->fd, text, sizeof(text));

    if (n > 0) {
        log_lines(log, text, (size_t) n);
    }

    return n;
}


static void
log_readable(uv_poll_t *poll, int status, int events);


static void
log_resume(uv_timer_t *timer)
{
    agent_log  *log;

    log = timer->data;
    uv_poll_start(&log->poll, UV_READABLE, log_readable);
}


static void
log_readable(uv_poll_t *poll, int status, int events)
{
    ssize_t     n;
    agent_log  *log;

    log = poll->data;
    uv_poll_stop(poll);
    n = log_take(log);

    /* At the end of the file the agent is gone, or has closed it. */
    if (n != 0) {
        uv_timer_start(&log->pause, log_resume, PAUSE_MS, 0);
    }

    if (n > 0) {
        log->said(log->data);
    }
}


agent_log *
agent_log_start(uv_loop_t *loop, uint32_t slot, int fd,
    void (*said)(void *data), void *data)
{
    agent_log  *log;

    log = fd != -1 ? calloc(1, sizeof(agent_log)) : NULL;

    if (log == NULL || uv_poll_init(loop, &log->poll, fd) != 0) {
        free(log);

        if (fd != -1) {
            close(fd);
        }

        return NULL;
    }

    uv_timer_init(loop, &log->pause);
    log->fd = fd;
    log->slot = slot;
    log->said = said;
    log->data = data;
    log->poll.data = log;
    log->pause.data = log;
    uv_poll_start(&log->poll, UV_READABLE, log_readable);

    return log;
}


static void
log_closed(uv_handle_t *handle)
{
    agent_log  *log;

    log = handle->data;

    if (--log->closing == 0) {
        close(log->fd);
        free(log);
    }
}


void
agent_log_end(agent_log *log)
{
    int  pieces;

    if (log == NULL) {
        return;
    }

    for (pieces = 0; pieces < PIPE_SIZE / PIECE; pieces++) {
        if (log_take(log) <= 0) {
            break;
        }
    }

    log->closing = 2;
    uv_close((uv_handle_t *) &log->poll, log_closed);
    uv_close((uv_handle_t *) &log->pause, log_closed);
}
