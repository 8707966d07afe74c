/* How fast the network of a machine may be, as its keeper is told; see
 * machine.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/machine.h"


/* It is enforced on this side of its link as well: a keeper that isn't told has
 * no more than that.  One of an earlier sandboxd doesn't listen. */
void
machine_rate_run(driver *d, uint32_t slot, uint64_t rate)
{
    int                 dir, fd;
    char                path[BOX_PATH];
    struct sockaddr_un  at;

    box_path((box_driver *) d, slot, NULL, path, sizeof(path));
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    machine_socket_address(dir, VM_RATE, &at);

    if (dir == -1 || fd == -1
        || sendto(fd, &rate, sizeof(rate), MSG_NOSIGNAL,
                  (struct sockaddr *) &at, sizeof(at)) != sizeof(rate))
    {
        log_debug("%s: slot %08x: its keeper is not told its bandwidth: %s",
                  d->name, slot, strerror(errno));
    }

    if (dir != -1) {
        close(dir);
    }

    if (fd != -1) {
        close(fd);
    }
}
