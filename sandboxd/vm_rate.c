/*
 * How fast a machine's network may be: said by sandboxd, as often as it likes,
 * to a socket in the machine's directory, which only root reaches; beside what
 * is enforced on the host's side of the link.  See vm.h.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/vmm.h"

static const vmm  *rate_kind;
static int         rate_fd = -1;        /* its address is the pointer */


/* While paths are the host's.  By the directory's descriptor: a path may be
 * longer than an address. */
int
vm_rate_open(const vmm *kind, const vm_order *order, error **err)
{
    int                 fd, dir;
    struct sockaddr_un  at;

    rate_kind = kind;

    if (kind->rate == NULL) {
        return 0;
    }

    dir = open(order->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memset(&at, 0, sizeof(at));
    at.sun_family = AF_UNIX;
    snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/" VM_RATE,
             dir);

    (void) unlinkat(dir, VM_RATE, 0);

    if (dir != -1 && fd != -1
        && bind(fd, (struct sockaddr *) &at, sizeof(at)) == 0)
    {
        /* None of the numbers that others have. */
        rate_fd = fcntl(fd, F_DUPFD_CLOEXEC, VM_FD_LAST + 1);
    }

    if (fd != -1) {
        close(fd);
    }

    if (dir != -1) {
        close(dir);
    }

    return rate_fd != -1 ? 0
           : error_set(err, 500, "start_failed", "the socket " VM_RATE ": %m");
}


void
vm_rate_watch(int epoll)
{
    struct epoll_event  ev;

    if (rate_fd != -1) {
        ev.events = EPOLLIN;
        ev.data.ptr = &rate_fd;
        (void) epoll_ctl(epoll, EPOLL_CTL_ADD, rate_fd, &ev);
    }
}


bool
vm_rate_event(void *ptr)
{
    uint64_t  rate;

    if (ptr != &rate_fd) {
        return false;
    }

    if (recv(rate_fd, &rate, sizeof(rate), MSG_TRUNC) == sizeof(rate)) {
        rate_kind->rate(rate);
    }

    return true;
}
