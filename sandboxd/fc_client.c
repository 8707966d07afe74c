/* Requests to Firecracker; see fc_client.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/fc_client.h"


static void
client_next(fc_client *c, uint64_t now)
{
    free(c->text);
    c->text = fc_request_text(&c->plan.r[c->next], &c->len);
    c->sent = 0;
    c->answer->len = 0;
    c->end = now + c->plan.r[c->next].timeout_ms;
}


void
fc_client_begin(fc_client *c, const char *path, fc_plan *plan, uint64_t now)
{
    memset(c, 0, sizeof(*c));
    c->fd = -1;
    c->path = path;
    c->plan = *plan;
    memset(plan, 0, sizeof(*plan));
    c->end = now + FC_CONNECT_MS;
    c->answer = malloc(sizeof(fc_answer));

    if (c->answer == NULL) {
        abort();
    }

    c->answer->len = 0;
}


bool
fc_client_busy(const fc_client *c)
{
    return c->answer != NULL;
}


void
fc_client_end(fc_client *c)
{
    if (c->answer == NULL) {
        return;
    }

    if (c->fd != -1) {
        close(c->fd);
    }

    fc_plan_free(&c->plan);
    free(c->text);
    free(c->answer);
    memset(c, 0, sizeof(*c));
    c->fd = -1;
}


/* 1: connected; 0: nobody listens yet. */
static int
client_connect(fc_client *c, error **err)
{
    int                 fd;
    struct sockaddr_un  un;

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;

    if (strlen(c->path) >= sizeof(un.sun_path)) {
        return error_set(err, 500, "start_failed", "Firecracker's socket has "
                         "too long a name");
    }

    strcpy(un.sun_path, c->path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1) {
        return error_set(err, 500, "start_failed", "socket: %s",
                         strerror(errno));
    }

    if (connect(fd, (struct sockaddr *) &un, sizeof(un)) == 0) {
        c->fd = fd;
        return 1;
    }

    if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN) {
        error_set(err, 500, "start_failed", "Firecracker's socket: %s",
                  strerror(errno));
        close(fd);
        return -1;
    }

    close(fd);

    return 0;
}


static int
client_failed(const fc_client *c, const char *why, error **err)
{
    return error_set(err, 500, "start_failed", "Firecracker: %s %s: %s",
                     c->plan.r[c->next].method, c->plan.r[c->next].target,
                     why);
}


/* 1: sent. */
static int
client_send(fc_client *c, error **err)
{
    ssize_t  n;

    while (c->sent < c->len) {
        n = send(c->fd, c->text + c->sent, c->len - c->sent,
                 MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n == -1) {
            return errno == EAGAIN ? 0
                   : client_failed(c, strerror(errno), err);
        }

        c->sent += (size_t) n;
    }

    return 1;
}


/* 1: answered. */
static int
client_receive(fc_client *c, error **err)
{
    int         rc;
    ssize_t     n;
    fc_answer  *a;

    a = c->answer;

    for ( ;; ) {
        n = recv(c->fd, a->text + a->len, sizeof(a->text) - 1 - a->len,
                 MSG_DONTWAIT);

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n == -1) {
            return errno == EAGAIN ? 0
                   : client_failed(c, strerror(errno), err);
        }
        if (n == 0) {
            return client_failed(c, "no answer", err);
        }

        a->len += (size_t) n;
        rc = fc_answer_look(a);

        /* A full buffer holds an answer, or nothing that can become one. */
        if (rc != 0) {
            return rc == 1 ? 1 : client_failed(c, "no valid answer", err);
        }
    }
}


/* 1: the answer is that it is done. */
static int
client_judge(fc_client *c, error **err)
{
    char  fault[FC_FAULT_MAX];

    if (c->answer->status == 200 || c->answer->status == 204) {
        return 1;
    }

    fc_answer_fault(c->answer, fault);

    return client_failed(c, fault, err);
}


int
fc_client_go(fc_client *c, uint64_t now, error **err)
{
    int  rc;

    rc = 1;

    if (c->fd == -1) {
        rc = client_connect(c, err);

        if (rc == 0 && now >= c->end) {
            return error_set(err, 500, "start_failed", "Firecracker doesn't "
                             "listen");
        }

        if (rc == 1) {
            client_next(c, now);
        }
    }

    while (rc == 1) {
        rc = client_send(c, err);
        rc = rc == 1 ? client_receive(c, err) : rc;
        rc = rc == 1 ? client_judge(c, err) : rc;

        if (rc == 1) {
            if (++c->next == c->plan.count) {
                return 1;
            }
            client_next(c, now);
        }
    }

    if (rc == 0 && c->fd != -1 && now >= c->end) {
        return client_failed(c, "not in time", err);
    }

    return rc;
}
