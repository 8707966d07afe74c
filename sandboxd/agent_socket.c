/* The listening socket of an agent; see agent_socket.h. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/agent_socket.h"

#define BACKLOG  4096


/* The permissions are set before anybody can connect. */
int
agent_socket(const char *path, gid_t gid, error **err)
{
    int                 fd;
    struct sockaddr_un  sun;

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1 || (unlink(path) == -1 && errno != ENOENT)
        || bind(fd, (struct sockaddr *) &sun, sizeof(sun)) == -1
        || (gid != (gid_t) -1 && lchown(path, (uid_t) -1, gid) == -1)
        || chmod(path, 0660) == -1 || listen(fd, BACKLOG) == -1)
    {
        error_set(err, errno == ENOSPC || errno == EDQUOT ? 507 : 500,
                  "start_failed", "can't make the agent's socket: %s",
                  strerror(errno));
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    return fd;
}
