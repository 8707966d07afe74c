/* The listening socket; see listen.h. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Needs what is above. */
#include <linux/vm_sockets.h>

#include "agent/listen.h"

#define LISTEN_BACKLOG  1024

typedef union {
    struct sockaddr      any;
    struct sockaddr_un   un;
    struct sockaddr_vm   vm;
    struct sockaddr_in   in;
    struct sockaddr_in6  in6;
} listen_sockaddr;

static unsigned  listen_vsock_peer;    /* 0: not over vsock */


static int
listen_fill_tcp(const listen_address *a, listen_sockaddr *to, socklen_t *len)
{
    if (a->ipv6) {
        to->in6.sin6_family = AF_INET6;
        to->in6.sin6_port = htons((uint16_t) a->port);
        *len = sizeof(to->in6);
        return inet_pton(AF_INET6, a->host, &to->in6.sin6_addr);
    }

    to->in.sin_family = AF_INET;
    to->in.sin_port = htons((uint16_t) a->port);
    *len = sizeof(to->in);

    return inet_pton(AF_INET, a->host, &to->in.sin_addr);
}


static int
listen_fill(const listen_address *a, listen_sockaddr *to, socklen_t *len)
{
    memset(to, 0, sizeof(*to));

    switch (a->kind) {
    case LISTEN_UNIX:
        to->un.sun_family = AF_UNIX;
        memcpy(to->un.sun_path, a->host, strlen(a->host) + 1);
        *len = sizeof(to->un);
        return 1;

    case LISTEN_VSOCK:
        to->vm.svm_family = AF_VSOCK;
        to->vm.svm_cid = VMADDR_CID_ANY;
        to->vm.svm_port = a->port;
        *len = sizeof(to->vm);
        return 1;

    default:
        return listen_fill_tcp(a, to, len);
    }
}


/* A socket that is made by hand belongs to its owner alone. */

static int
listen_bind(int fd, const listen_address *a, const listen_sockaddr *to,
    socklen_t len)
{
    int     rc, on;
    mode_t  old;

    on = 1;

    if (a->kind == LISTEN_TCP) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        /* What is accepted inherits it. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }

    listen_close(a);
    old = umask(0177);
    rc = bind(fd, &to->any, len);
    umask(old);

    return rc == 0 ? listen(fd, LISTEN_BACKLOG) : -1;
}


int
listen_open(const listen_address *a, error **err)
{
    int              fd;
    socklen_t        len;
    listen_sockaddr  to;

    if (listen_fill(a, &to, &len) != 1) {
        return error_set(err, 400, "usage", "%s: not a numeric address",
                         a->host);
    }

    fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1 || listen_bind(fd, a, &to, len) != 0) {
        error_set(err, 500, "listen", "%.200s: %s", a->text, strerror(errno));
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    listen_vsock_peer = a->kind == LISTEN_VSOCK ? a->peer : 0;

    return fd;
}


void
listen_close(const listen_address *a)
{
    if (a->kind == LISTEN_UNIX) {
        unlink(a->host);
    }
}


int
listen_peer_allowed(int fd)
{
    socklen_t        len;
    listen_sockaddr  from;

    if (listen_vsock_peer == 0) {
        return 1;
    }

    len = sizeof(from);
    memset(&from, 0, sizeof(from));

    return getpeername(fd, &from.any, &len) == 0
           && from.any.sa_family == AF_VSOCK
           && from.vm.svm_cid == listen_vsock_peer;
}
