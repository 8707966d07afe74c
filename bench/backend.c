/*
 * The backend of the edge's benchmark: answers every HTTP/1.1 request on a
 * connection with the same small response, on two Unix sockets.  On the first
 * one a connection is HTTP from its first byte; on the second it begins with
 * the agent's line, which is answered OK.
 *
 *   backend PLAIN-SOCKET AGENT-SOCKET
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS  4096
#define BUFFER       8192

typedef struct {
    int     fd;
    int     line;           /* the agent's line is still to come */
    size_t  len;
    char    buf[BUFFER];
} connection;

static const char  response[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    "Content-Length: 3\r\n\r\nok\n";


static int
listen_on(const char *path)
{
    int                 fd;
    struct sockaddr_un  sa = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(sa.sun_path)) {
        fprintf(stderr, "backend: %s is too long\n", path);
        exit(1);
    }

    strcpy(sa.sun_path, path);
    unlink(path);
    umask(0);               /* nginx's workers are somebody else */

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1 || bind(fd, (struct sockaddr *) &sa, sizeof(sa)) == -1
        || listen(fd, 4096) == -1)
    {
        perror(path);
        exit(1);
    }

    return fd;
}


/* Answers every whole request in the buffer; -1 ends the connection. */
static int
serve(connection *c)
{
    char   *end, out[BUFFER];
    size_t  used, n;

    n = 0;

    for ( ;; ) {
        if (c->line) {
            end = memchr(c->buf, '\n', c->len);
            if (end == NULL) {
                break;
            }
            used = (size_t) (end + 1 - c->buf);
            c->line = 0;
            memcpy(out + n, "OK\n", 3);
            n += 3;

        } else {
            end = memmem(c->buf, c->len, "\r\n\r\n", 4);
            if (end == NULL || n + sizeof(response) > sizeof(out)) {
                break;
            }
            used = (size_t) (end + 4 - c->buf);
            memcpy(out + n, response, sizeof(response) - 1);
            n += sizeof(response) - 1;
        }

        c->len -= used;
        memmove(c->buf, c->buf + used, c->len);
    }

    if (n != 0 && send(c->fd, out, n, MSG_NOSIGNAL) != (ssize_t) n) {
        return -1;
    }

    return c->len == sizeof(c->buf) ? -1 : 0;
}


int
main(int argc, char **argv)
{
    int                 ep, fd, i, n, lfd[2];
    ssize_t             got;
    connection         *c;
    struct epoll_event  ev, events[256];

    if (argc != 3) {
        fprintf(stderr, "usage: backend PLAIN-SOCKET AGENT-SOCKET\n");
        return 2;
    }

    ep = epoll_create1(EPOLL_CLOEXEC);

    for (i = 0; i < 2; i++) {
        lfd[i] = listen_on(argv[1 + i]);
        ev.events = EPOLLIN;
        ev.data.ptr = &lfd[i];
        epoll_ctl(ep, EPOLL_CTL_ADD, lfd[i], &ev);
    }

    for ( ;; ) {
        n = epoll_wait(ep, events, 256, -1);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if ((void *) c == &lfd[0] || (void *) c == &lfd[1]) {
                fd = accept4(*(int *) c, NULL, NULL,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd == -1) {
                    continue;
                }
                ev.data.ptr = calloc(1, sizeof(connection));
                if (ev.data.ptr == NULL) {
                    return 1;
                }
                ((connection *) ev.data.ptr)->fd = fd;
                ((connection *) ev.data.ptr)->line = (void *) c == &lfd[1];
                ev.events = EPOLLIN;
                epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
                continue;
            }

            got = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
            if (got > 0) {
                c->len += (size_t) got;
                if (serve(c) == 0) {
                    continue;
                }
            } else if (got == -1 && errno == EAGAIN) {
                continue;
            }

            close(c->fd);
            free(c);
        }
    }
}
