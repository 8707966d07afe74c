/*
 * The network of a virtual machine: a TAP with the keeper on its other end, in
 * a namespace that has nothing else, so that every machine can have the same
 * addresses.  See vm.h.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/small_file.h"
#include "sandboxd/vm.h"


static int
net_failed(const char *what, error **err)
{
    return error_set(err, 500, "start_failed", "network: %s: %s", what,
                     strerror(errno));
}


static int
net_tap(error **err)
{
    int           fd;
    struct ifreq  ifr;

    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1) {
        return net_failed("/dev/net/tun", err);
    }

    memset(&ifr, 0, sizeof(ifr));
    strcpy(ifr.ifr_name, VM_TAP);
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

    if (ioctl(fd, TUNSETIFF, &ifr) != 0) {
        net_failed("TAP", err);
        close(fd);
        return -1;
    }

    return fd;
}


static void
net_mac(struct sockaddr *to, const char *text)
{
    unsigned  b[6];
    size_t    i;

    to->sa_family = ARPHRD_ETHER;

    if (sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4],
               &b[5]) == 6)
    {
        for (i = 0; i < 6; i++) {
            to->sa_data[i] = (char) b[i];
        }
    }
}


static void
net_inet(struct sockaddr *to, const char *address)
{
    struct sockaddr_in  in;

    memset(&in, 0, sizeof(in));
    in.sin_family = AF_INET;
    inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(to, &in, sizeof(in));
}


static int
net_addresses(int fd)
{
    struct ifreq   ifr;
    struct arpreq  arp;

    memset(&ifr, 0, sizeof(ifr));
    strcpy(ifr.ifr_name, VM_TAP);

    net_mac(&ifr.ifr_hwaddr, VM_HOST_MAC);
    if (ioctl(fd, SIOCSIFHWADDR, &ifr) != 0) {
        return -1;
    }

    net_inet(&ifr.ifr_addr, VM_HOST_ADDRESS);
    if (ioctl(fd, SIOCSIFADDR, &ifr) != 0) {
        return -1;
    }

    net_inet(&ifr.ifr_netmask, "255.255.255.252");
    if (ioctl(fd, SIOCSIFNETMASK, &ifr) != 0) {
        return -1;
    }

    ifr.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(fd, SIOCSIFFLAGS, &ifr) != 0) {
        return -1;
    }

    /* Nobody has to be asked where the guest is, and a guest that is still
     * starting can't be missed. */
    memset(&arp, 0, sizeof(arp));
    net_inet(&arp.arp_pa, VM_GUEST_ADDRESS);
    net_mac(&arp.arp_ha, VM_GUEST_MAC);
    arp.arp_flags = ATF_PERM | ATF_COM;
    strcpy(arp.arp_dev, VM_TAP);

    return ioctl(fd, SIOCSARP, &arp);
}


int
vm_net(error **err)
{
    int  fd, tap;

    (void) small_file_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    (void) small_file_write("/proc/sys/net/ipv6/conf/default/disable_ipv6",
                            "1");
    (void) small_file_write("/proc/sys/net/ipv4/ip_forward", "0");

    /* Who asks for us is noted as a neighbour, of which the host has so many
     * for all of its namespaces: a guest that asks in many names must be none
     * of them. */
    (void) small_file_write("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
    (void) small_file_write("/proc/sys/net/ipv4/conf/default/rp_filter", "1");

    tap = net_tap(err);
    if (tap == -1) {
        return -1;
    }

    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd == -1 || net_addresses(fd) != 0) {
        net_failed("address", err);
        close(tap);
        tap = -1;
    }

    if (fd != -1) {
        close(fd);
    }

    return tap;
}
