/* What a host has to be like for networks of sandboxes; see net_part.h. */

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/small_file.h"
#include "sandboxd/net_part.h"

#define LOCK_NAME  "sandboxd-network"   /* abstract: of this namespace */


/* Two with one table would undo each other's rules. */
int
net_host_lock(error **err)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_un  un;

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path + 1, LOCK_NAME, sizeof(LOCK_NAME) - 1);
    len = (socklen_t) (offsetof(struct sockaddr_un, sun_path)
                       + sizeof(LOCK_NAME));

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd == -1 || bind(fd, (struct sockaddr *) &un, len) == -1) {
        error_set(err, 500, "network", "--network-pool: %s",
                  errno == EADDRINUSE ? "another sandboxd has this network "
                  "namespace's sandboxes" : strerror(errno));

        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    return fd;
}


/* The operator's decision, with effects beyond sandboxes. */
int
net_host_forwards(error **err)
{
    char  text[16];

    (void) small_file_text("/proc/sys/net/ipv4/ip_forward", text,
                           sizeof(text));

    if (text[0] != '1') {
        return error_set(err, 500, "network", "--network-pool: this host "
                         "forwards nothing (net.ipv4.ip_forward is not 1)");
    }

    return 0;
}
