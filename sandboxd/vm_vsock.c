/* Connections to the agent that don't go over the TAP; see vm.h. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "sandboxd/vm.h"

#define STRING(x)     STRING_OF(x)
#define STRING_OF(x)  #x

#define CONNECT       "CONNECT " STRING(VM_GUEST_PORT) "\n"
#define GREETING_MAX  32                /* of "OK <number>\n" */
#define CONNECT_S     15                /* the kernel's 2 are few for a machine
                                           that is busy */


/* The line has to arrive in one piece; it fits into any socket. */
int
vm_hybrid_connect(const char *path)
{
    int                 fd;
    struct sockaddr_un  un;

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd != -1
        && (connect(fd, (struct sockaddr *) &un, sizeof(un)) != 0
            || send(fd, CONNECT, sizeof(CONNECT) - 1, MSG_NOSIGNAL)
               != sizeof(CONNECT) - 1))
    {
        close(fd);
        fd = -1;
    }

    return fd;
}


/* Its answer is a line with any number; nothing of what is behind is taken. */
int
vm_hybrid_connected(int fd)
{
    char     text[GREETING_MAX], *end;
    ssize_t  n;

    n = recv(fd, text, sizeof(text), MSG_PEEK | MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0) {
        return -1;
    }

    end = memchr(text, '\n', (size_t) n);

    if (end == NULL) {
        return n == sizeof(text) ? -1 : 0;
    }

    if (end - text < 3 || memcmp(text, "OK ", 3) != 0) {
        return -1;
    }

    return recv(fd, text, (size_t) (end + 1 - text), MSG_DONTWAIT)
           == end + 1 - text ? 1 : -1;
}


int
vm_vsock_connect(uint32_t cid)
{
    int                  fd;
    struct timeval       limit;
    struct sockaddr_vm   to;

    memset(&to, 0, sizeof(to));
    to.svm_family = AF_VSOCK;
    to.svm_cid = cid;
    to.svm_port = VM_GUEST_PORT;
    fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    limit.tv_sec = CONNECT_S;
    limit.tv_usec = 0;

    if (fd != -1) {
        (void) setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit,
                          sizeof(limit));
    }

    if (fd != -1 && connect(fd, (struct sockaddr *) &to, sizeof(to)) != 0
        && errno != EINPROGRESS)
    {
        close(fd);
        fd = -1;
    }

    return fd;
}
