/*
 * A machine that was started before anybody had asked for it: it is told once
 * whose it is, and ends with who could tell it.  See vm.h.
 */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/vm.h"

static int   owner_epoll = -1;
static char  owner_tag;             /* its address is our pointer */


void
vm_owner_open(const vm_order *order, int epoll)
{
    struct epoll_event  ev;

    if (!order->unused) {
        close(VM_FD_OWNER);
        return;
    }

    owner_epoll = epoll;
    ev.events = EPOLLIN;
    ev.data.ptr = &owner_tag;
    (void) epoll_ctl(epoll, EPOLL_CTL_ADD, VM_FD_OWNER, &ev);
}


bool
vm_owner_event(void *ptr)
{
    ssize_t   n;
    vm_owner  by;

    if (ptr != &owner_tag) {
        return false;
    }

    n = recv(VM_FD_OWNER, &by, sizeof(by), MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }

    if (n != sizeof(by)) {
        vm_end(0, "it was nobody's");
    }

    by.key[sizeof(by.key) - 1] = '\0';
    by.asleep[sizeof(by.asleep) - 1] = '\0';
    vm_owned(&by);
    explicit_bzero(&by, sizeof(by));
    (void) epoll_ctl(owner_epoll, EPOLL_CTL_DEL, VM_FD_OWNER, NULL);
    close(VM_FD_OWNER);

    return true;
}
