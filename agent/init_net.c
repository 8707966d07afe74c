/* The network and the names of a virtual machine; see init.h. */

#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/init.h"
#include "common/buffer.h"
#include "common/log.h"


static int
init_up(int fd, const char *name)
{
    struct ifreq  ifr;

    memset(&ifr, 0, sizeof(ifr));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);

    if (ioctl(fd, SIOCGIFFLAGS, &ifr) != 0) {
        return -1;
    }

    ifr.ifr_flags |= IFF_UP | IFF_RUNNING;

    return ioctl(fd, SIOCSIFFLAGS, &ifr);
}


void
init_loopback(void)
{
    int  fd;

    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd == -1 || init_up(fd, "lo") != 0) {
        log_warn("init: loopback: %s", strerror(errno));
    }
    if (fd != -1) {
        close(fd);
    }
}


static void
init_inet(struct sockaddr *to, uint32_t address)
{
    struct sockaddr_in  in;

    memset(&in, 0, sizeof(in));
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = address;
    memcpy(to, &in, sizeof(in));
}


static int
init_set_address(int fd, const char *name, unsigned long what,
    uint32_t address)
{
    struct ifreq  ifr;

    memset(&ifr, 0, sizeof(ifr));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    init_inet(&ifr.ifr_addr, address);

    return ioctl(fd, what, &ifr);
}


static int
init_set_mtu(int fd, const char *name, unsigned mtu)
{
    struct ifreq  ifr;

    memset(&ifr, 0, sizeof(ifr));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    ifr.ifr_mtu = (int) mtu;

    return ioctl(fd, SIOCSIFMTU, &ifr);
}


static int
init_route(int fd, uint32_t gateway)
{
    struct rtentry  rt;

    memset(&rt, 0, sizeof(rt));
    init_inet(&rt.rt_dst, 0);
    init_inet(&rt.rt_genmask, 0);
    init_inet(&rt.rt_gateway, gateway);
    rt.rt_flags = RTF_UP | RTF_GATEWAY;

    return ioctl(fd, SIOCADDRT, &rt) == 0 || errno == EEXIST ? 0 : -1;
}


void
init_network(const vm_config *c)
{
    int          fd;
    const char  *step;

    if (c->interface[0] == '\0') {
        return;
    }

    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    step = NULL;

    if (fd == -1) {
        step = "socket";

    } else if (init_set_address(fd, c->interface, SIOCSIFADDR, c->address)
               != 0)
    {
        step = "address";

    } else if (init_set_address(fd, c->interface, SIOCSIFNETMASK, c->netmask)
               != 0)
    {
        step = "netmask";

    } else if (c->mtu != 0 && init_set_mtu(fd, c->interface, c->mtu) != 0) {
        step = "mtu";

    } else if (init_up(fd, c->interface) != 0) {
        step = "up";

    } else if (c->gateway != 0 && init_route(fd, c->gateway) != 0) {
        step = "route";
    }

    if (step != NULL) {
        log_error("init: %s: %s: %s", c->interface, step, strerror(errno));
    }
    if (fd != -1) {
        close(fd);
    }
}


/* Replaces a file as a whole: what is there may be a pipe or a link that an
 * earlier run has left. */

void
init_replace(const char *path, const buffer *b)
{
    char   temporary[64];
    FILE  *f;

    snprintf(temporary, sizeof(temporary), "%s.sandbox", path);
    unlink(temporary);

    f = fopen(temporary, "wxe");
    if (f == NULL
        || fwrite(buffer_bytes((buffer *) b), 1, b->len, f) != b->len
        || fchmod(fileno(f), 0644) != 0 || fflush(f) != 0
        || rename(temporary, path) != 0)
    {
        log_warn("init: %s: %s", path, strerror(errno));
        unlink(temporary);
    }

    if (f != NULL) {
        fclose(f);
    }
}


void
init_names(const vm_config *c, const char *hostname)
{
    buffer    b;
    unsigned  i;

    mkdir("/etc", 0755);
    memset(&b, 0, sizeof(b));

    if (hostname[0] != '\0') {
        if (sethostname(hostname, strlen(hostname)) != 0) {
            log_warn("init: hostname: %s", strerror(errno));
        }

        buffer_printf(&b, "127.0.0.1\tlocalhost\n"
                      "::1\tlocalhost ip6-localhost ip6-loopback\n"
                      "127.0.1.1\t%s\n", hostname);
        init_replace("/etc/hosts", &b);
        buffer_free(&b);

        memset(&b, 0, sizeof(b));
        buffer_printf(&b, "%s\n", hostname);
        init_replace("/etc/hostname", &b);
        buffer_free(&b);
    }

    if (c->ndns != 0) {
        memset(&b, 0, sizeof(b));
        for (i = 0; i < c->ndns; i++) {
            buffer_printf(&b, "nameserver %s\n", c->dns[i]);
        }
        init_replace("/etc/resolv.conf", &b);
        buffer_free(&b);
    }
}
