/* Messages with descriptors; see oci_wire.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sandboxd/oci_wire.h"


ssize_t
oci_wire_send(int sock, const void *head, size_t head_len, const void *body,
    size_t body_len, const int *fds, unsigned nfds)
{
    ssize_t          n;
    struct iovec     iov[2];
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        char            space[CMSG_SPACE(OCI_REQUEST_FDS * sizeof(int))];
        struct cmsghdr  align;
    } control;

    iov[0].iov_base = (void *) head;
    iov[0].iov_len = head_len;
    iov[1].iov_base = (void *) body;
    iov[1].iov_len = body_len;

    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = iov;
    msg.msg_iovlen = body_len > 0 ? 2 : 1;

    if (nfds > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));

        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    }

    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    return n;
}


ssize_t
oci_wire_recv(int sock, void *buf, size_t size, int *fds, unsigned nfds,
    int flags)
{
    unsigned         i, got;
    ssize_t          n;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        char            space[CMSG_SPACE(OCI_REQUEST_FDS * sizeof(int))];
        struct cmsghdr  align;
    } control;

    for (i = 0; i < nfds; i++) {
        fds[i] = -1;
    }

    iov.iov_base = buf;
    iov.iov_len = size;

    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.space;
    msg.msg_controllen = sizeof(control.space);

    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return -1;
    }

    for (cmsg = CMSG_FIRSTHDR(&msg); cmsg != NULL;
         cmsg = CMSG_NXTHDR(&msg, cmsg))
    {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }

        got = (unsigned) ((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));

        for (i = 0; i < got; i++) {
            int  fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));

            if (i < nfds) {
                fds[i] = fd;
            } else {
                close(fd);
            }
        }
    }

    return n;
}
