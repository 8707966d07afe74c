/* The first ping of an agent; see agent_probe.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/agent_probe.h"

#define EXPECTED  "OK\nHTTP/1.1 200"

struct agent_probe {
    uv_poll_t   poll;
    agent_probed  cb;
    void       *data;
    int         fd;
    size_t      len;
    char        answer[sizeof(EXPECTED)];
};


static void
probe_end(agent_probe *probe, error *err)
{
    uv_poll_stop(&probe->poll);
    probe->cb(probe->data, err);
}


static void
probe_readable(uv_poll_t *handle, int status, int events)
{
    error      *err;
    ssize_t     n;
    agent_probe  *probe;

    probe = handle->data;
    err = NULL;

    n = recv(probe->fd, probe->answer + probe->len,
             sizeof(EXPECTED) - 1 - probe->len, MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        error_set(&err, 503, "start_failed", "the agent closed its first "
                  "connection%s%s", n == -1 ? ": " : "",
                  n == -1 ? strerror(errno) : "");
        probe_end(probe, err);
        return;
    }

    probe->len += (size_t) n;

    if (memcmp(probe->answer, EXPECTED, probe->len) != 0) {
        error_set(&err, 503, "start_failed", "the agent's first answer is not "
                  "a healthy one");
        probe_end(probe, err);
        return;
    }

    if (probe->len == sizeof(EXPECTED) - 1) {
        probe_end(probe, NULL);
    }
}


static int
probe_connect(agent_probe *probe, const char *path, const char *key)
{
    int                 n;
    char                text[256];
    struct sockaddr_un  sun;

    probe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe->fd == -1) {
        return -1;
    }

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);

    if (connect(probe->fd, (struct sockaddr *) &sun, sizeof(sun)) == -1) {
        return -1;
    }

    n = snprintf(text, sizeof(text), "CONTROL %s\nGET /api/ping HTTP/1.1\r\n"
                 "Host: localhost\r\nConnection: close\r\n\r\n", key);

    return send(probe->fd, text, (size_t) n, MSG_NOSIGNAL) == n ? 0 : -1;
}


agent_probe *
agent_probe_start(uv_loop_t *loop, const char *path, const char *key,
    agent_probed cb, void *data, error **err)
{
    agent_probe  *probe;

    probe = calloc(1, sizeof(agent_probe));
    if (probe == NULL) {
        error_set(err, 500, "internal", "out of memory");
        return NULL;
    }

    probe->cb = cb;
    probe->data = data;

    if (probe_connect(probe, path, key) == -1) {
        error_set(err, 503, "start_failed", "can't connect to the agent: %s",
                  strerror(errno));

        if (probe->fd != -1) {
            close(probe->fd);
        }

        free(probe);
        return NULL;
    }

    uv_poll_init(loop, &probe->poll, probe->fd);
    probe->poll.data = probe;
    uv_poll_start(&probe->poll, UV_READABLE, probe_readable);

    return probe;
}


static void
probe_closed(uv_handle_t *handle)
{
    agent_probe  *probe;

    probe = handle->data;

    close(probe->fd);
    free(probe);
}


void
agent_probe_stop(agent_probe *probe)
{
    if (probe != NULL && !uv_is_closing((uv_handle_t *) &probe->poll)) {
        uv_close((uv_handle_t *) &probe->poll, probe_closed);
    }
}
