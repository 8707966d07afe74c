/* The benchmarks' HTTP client; see client.h. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define CLIENT_ROOM  (1024 * 1024)


double
now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
}


static int
client_connect(const peer *to)
{
    int                 fd, on;
    struct sockaddr_in  in;
    struct sockaddr_un  un;

    if (to->path != NULL) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        memset(&un, 0, sizeof(un));
        un.sun_family = AF_UNIX;
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", to->path);

        if (connect(fd, (struct sockaddr *) &un, sizeof(un)) == 0) {
            return fd;
        }

    } else {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        memset(&in, 0, sizeof(in));
        in.sin_family = AF_INET;
        in.sin_port = htons((unsigned short) to->port);
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        if (connect(fd, (struct sockaddr *) &in, sizeof(in)) == 0) {
            return fd;
        }
    }

    close(fd);

    return -1;
}


void
client_open(client *c, const peer *to)
{
    char            line[1];
    struct timeval  patience = { 120, 0 };

    memset(c, 0, sizeof(*c));
    c->to = to;
    c->fd = client_connect(to);
    c->buf = malloc(CLIENT_ROOM);

    if (c->fd == -1 || c->buf == NULL) {
        c->fd = -1;
        return;
    }

    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));

    if (to->preface != NULL) {
        if (write(c->fd, to->preface, strlen(to->preface)) < 0) {
            return;
        }
        while (read(c->fd, line, 1) == 1 && line[0] != '\n') {
            /* OK */
        }
    }
}


void
client_close(client *c)
{
    if (c->fd != -1) {
        close(c->fd);
    }
    free(c->buf);
    c->fd = -1;
    c->buf = NULL;
}


void
client_send(client *c, const char *method, const char *path,
    const void *body, size_t len)
{
    int           n, i;
    char          head[2048];
    ssize_t       sent;
    struct iovec  iov[2];

    n = snprintf(head, sizeof(head), "%s %s%s HTTP/1.1\r\nHost: localhost\r\n"
                 "%s", method, c->to->prefix, path, c->to->headers);
    n += snprintf(head + n, sizeof(head) - (size_t) n, body == NULL ? "\r\n"
                  : "Content-Type: application/json\r\n"
                    "Content-Length: %zu\r\n\r\n", len);

    iov[0].iov_base = head;
    iov[0].iov_len = (size_t) n;
    iov[1].iov_base = (void *) body;
    iov[1].iov_len = body == NULL ? 0 : len;

    for (i = 0; i < 2; ) {
        sent = writev(c->fd, iov + i, 2 - i);
        if (sent < 0) {
            return;             /* told by the answer that doesn't come */
        }
        while (i < 2 && (size_t) sent >= iov[i].iov_len) {
            sent -= (ssize_t) iov[i].iov_len;
            i++;
        }
        if (i < 2) {
            iov[i].iov_base = (char *) iov[i].iov_base + sent;
            iov[i].iov_len -= (size_t) sent;
        }
    }
}


/* More bytes, behind those that are there. */

static int
client_more(client *c)
{
    ssize_t  n;

    if (c->pos == c->len) {
        c->pos = 0;
        c->len = 0;

    } else if (c->len == CLIENT_ROOM) {
        memmove(c->buf, c->buf + c->pos, c->len - c->pos);
        c->len -= c->pos;
        c->pos = 0;
    }

    n = read(c->fd, c->buf + c->len, CLIENT_ROOM - c->len);
    if (n <= 0) {
        return -1;
    }

    c->len += (size_t) n;

    return 0;
}


/* One line, without its CR LF; NULL if the connection ended. */

static char *
client_line(client *c)
{
    char  *p, *end;

    for ( ;; ) {
        p = c->buf + c->pos;
        end = memchr(p, '\n', c->len - c->pos);

        if (end != NULL) {
            c->pos = (size_t) (end + 1 - c->buf);
            if (end > p && end[-1] == '\r') {
                end--;
            }
            *end = '\0';
            return p;
        }

        if (client_more(c) != 0) {
            return NULL;
        }
    }
}


static int
client_bytes(client *c, size_t n, client_data cb, void *ctx)
{
    size_t  have, room;

    while (n != 0) {
        if (c->pos == c->len && client_more(c) != 0) {
            return -1;
        }

        have = c->len - c->pos < n ? c->len - c->pos : n;

        if (c->received < sizeof(c->start) - 1) {
            room = sizeof(c->start) - 1 - c->received;
            memcpy(c->start + c->received, c->buf + c->pos,
                   have < room ? have : room);
            c->start[have < room ? c->received + have
                                 : sizeof(c->start) - 1] = '\0';
        }

        if (cb != NULL) {
            cb(ctx, c->buf + c->pos, have);
        }

        c->received += have;
        c->pos += have;
        n -= have;
    }

    return 0;
}


int
client_receive(client *c, client_data cb, void *ctx)
{
    int        chunked;
    char      *line;
    size_t     n;
    long long  length;

    chunked = 0;
    length = 0;
    c->received = 0;
    c->start[0] = '\0';

    line = client_line(c);
    if (line == NULL) {
        return -1;
    }

    c->first = now_ms();
    c->status = atoi(line + strcspn(line, " "));

    while ((line = client_line(c)) != NULL && line[0] != '\0') {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            length = atoll(line + 15);
        } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            chunked = 1;
        }
    }

    if (line == NULL) {
        return -1;
    }

    if (!chunked) {
        return client_bytes(c, (size_t) length, cb, ctx) == 0 ? c->status : -1;
    }

    for ( ;; ) {
        line = client_line(c);
        if (line == NULL) {
            return -1;
        }

        n = strtoul(line, NULL, 16);

        if (client_bytes(c, n, cb, ctx) != 0 || client_line(c) == NULL) {
            return -1;
        }

        if (n == 0) {
            return c->status;
        }
    }
}


int
client_ask(client *c, const char *method, const char *path, const void *body,
    size_t len, client_data cb, void *ctx)
{
    int  status, again;

    for (again = 0; ; again++) {
        client_send(c, method, path, body, len);
        status = client_receive(c, cb, ctx);

        if (status != -1 || again != 0) {
            return status;
        }

        /* A kept connection has its end; a new one hasn't. */
        client_close(c);
        client_open(c, c->to);
    }
}


void
client_must(client *c, const char *method, const char *path, const void *body,
    size_t len, client_data cb, void *ctx)
{
    int  status;

    status = client_ask(c, method, path, body, len, cb, ctx);

    if (status < 200 || status > 299) {
        fprintf(stderr, "bench: %s %s%s answers %d: %.300s\n", method,
                c->to->prefix, path, status, c->start);
        exit(1);
    }
}
