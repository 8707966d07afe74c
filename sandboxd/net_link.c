/* A sandbox's link; see net_link.h. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/process_start.h"
#include "common/small_file.h"
#include "sandboxd/net_link.h"

#define MESSAGE_MAX       1024
#define COUNT_ANSWER_MAX  16384


typedef struct {
    union {
        struct nlmsghdr  head;
        char             bytes[MESSAGE_MAX];
    };
} message;


static int
link_failed(const char *what, error **err)
{
    return error_set(err, 503, "start_failed", "network: %s: %s", what,
                     strerror(errno));
}


void
net_link_name(uint32_t slot, char name[NET_LINK_NAME])
{
    snprintf(name, NET_LINK_NAME, NET_LINK_PREFIX "%08x", slot);
}


static struct rtattr *
message_add(message *m, unsigned short type, const void *data, size_t len)
{
    struct rtattr  *a;

    if (NLMSG_ALIGN(m->head.nlmsg_len) + RTA_SPACE(len) > MESSAGE_MAX) {
        abort();
    }

    a = (struct rtattr *) (m->bytes + NLMSG_ALIGN(m->head.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short) RTA_LENGTH(len);

    if (len > 0) {
        memcpy(RTA_DATA(a), data, len);
    }

    m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + RTA_SPACE(len);

    return a;
}


static void
message_end(message *m, struct rtattr *nest)
{
    nest->rta_len = (unsigned short)
                    (m->bytes + m->head.nlmsg_len - (char *) nest);
}


/* Sends one request and waits for its acknowledgement; -1: errno. */
static int
message_send(message *m)
{
    int               fd;
    ssize_t           n;
    message           answer;
    struct nlmsgerr  *e;

    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd == -1) {
        return -1;
    }

    n = send(fd, m, m->head.nlmsg_len, 0);

    if (n != -1) {
        n = recv(fd, &answer, sizeof(answer), 0);
    }

    close(fd);

    if (n == -1) {
        return -1;
    }

    if ((size_t) n < NLMSG_LENGTH(sizeof(int))
        || answer.head.nlmsg_type != NLMSG_ERROR)
    {
        errno = EPROTO;
        return -1;
    }

    e = NLMSG_DATA(&answer.head);
    errno = -e->error;

    return e->error == 0 ? 0 : -1;
}


static void
message_link(message *m, unsigned short type, unsigned short flags)
{
    memset(m, 0, sizeof(*m));
    m->head.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg));
    m->head.nlmsg_type = type;
    m->head.nlmsg_flags = (unsigned short) (NLM_F_REQUEST | NLM_F_ACK | flags);
}


/* Locally administered; tells the address after a restart. */
static void
link_mac(unsigned char mac[6], unsigned char side, uint32_t address)
{
    mac[0] = 0x02;
    mac[1] = side;
    address = htonl(address);
    memcpy(mac + 2, &address, 4);
}


static int
pair_make(const net_link *l, const char *name, const char *inside, int ns)
{
    message           m;
    unsigned char     mac[6];
    struct rtattr    *info, *data, *peer;
    struct ifinfomsg  none;

    memset(&none, 0, sizeof(none));
    message_link(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    message_add(&m, IFLA_IFNAME, name, strlen(name) + 1);
    link_mac(mac, 's', l->address);
    message_add(&m, IFLA_ADDRESS, mac, sizeof(mac));

    info = message_add(&m, IFLA_LINKINFO, NULL, 0);
    message_add(&m, IFLA_INFO_KIND, "veth", 4);
    data = message_add(&m, IFLA_INFO_DATA, NULL, 0);
    peer = message_add(&m, VETH_INFO_PEER, &none, sizeof(none));
    message_add(&m, IFLA_IFNAME, inside, strlen(inside) + 1);
    link_mac(mac, 'g', l->address);
    message_add(&m, IFLA_ADDRESS, mac, sizeof(mac));
    message_add(&m, IFLA_NET_NS_FD, &ns, sizeof(ns));
    message_end(&m, peer);
    message_end(&m, data);
    message_end(&m, info);

    return message_send(&m);
}


static void
inet_set(struct sockaddr *to, uint32_t address)
{
    struct sockaddr_in  in;

    memset(&in, 0, sizeof(in));
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(address);
    memcpy(to, &in, sizeof(in));
}


static int
route_add(int fd, const char *name, uint32_t to, uint32_t mask,
    uint32_t gateway)
{
    char            dev[NET_LINK_NAME];
    struct rtentry  rt;

    memset(&rt, 0, sizeof(rt));
    snprintf(dev, sizeof(dev), "%s", name);
    inet_set(&rt.rt_dst, to);
    inet_set(&rt.rt_genmask, mask);
    inet_set(&rt.rt_gateway, gateway);
    rt.rt_flags = (unsigned short) (RTF_UP | (mask == UINT32_MAX ? RTF_HOST : 0)
                                    | (gateway != 0 ? RTF_GATEWAY : 0));
    rt.rt_dev = dev;

    return ioctl(fd, SIOCADDRT, &rt);
}


static void
sys_set(const char *fmt, const char *name, const char *value)
{
    char  path[128];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(path, sizeof(path), fmt, name);
#pragma GCC diagnostic pop

    (void) small_file_write(path, value);
}


/* One address for the link alone, no IPv6, up, and a route to the other. */
static int
end_set(const char *name, uint32_t own, uint32_t other)
{
    int           fd, rc;
    struct ifreq  ifr;

    sys_set("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name, "1");
    sys_set("/proc/sys/net/ipv4/conf/%s/arp_ignore", name, "1");
    sys_set("/proc/sys/net/ipv4/conf/%s/rp_filter", name, "1");
    sys_set("/proc/sys/net/ipv4/conf/%s/accept_redirects", name, "0");
    sys_set("/proc/sys/net/ipv4/conf/%s/send_redirects", name, "0");

    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }

    memset(&ifr, 0, sizeof(ifr));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    inet_set(&ifr.ifr_addr, own);
    rc = ioctl(fd, SIOCSIFADDR, &ifr);

    if (rc == 0) {
        inet_set(&ifr.ifr_netmask, UINT32_MAX);
        rc = ioctl(fd, SIOCSIFNETMASK, &ifr);
    }

    if (rc == 0) {
        ifr.ifr_flags = IFF_UP | IFF_RUNNING;
        rc = ioctl(fd, SIOCSIFFLAGS, &ifr);
    }

    if (rc == 0) {
        rc = route_add(fd, name, other, UINT32_MAX, 0);
    }

    close(fd);

    return rc;
}


static int
default_set(const char *name, uint32_t gateway)
{
    int  fd, rc;

    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }

    rc = route_add(fd, name, 0, 0, gateway);
    close(fd);

    return rc;
}


int
net_link_namespace(const driver_handle *handle, error **err)
{
    int          fd;
    char         path[64];
    struct stat  own, st;

    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int) handle->pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        return link_failed("namespace", err);
    }

    /* Read after it was opened: it is the same process, and not one that has
     * its number by now. */
    if (process_start_time(handle->pid) != handle->start_time
        || fstat(fd, &st) == -1 || stat("/proc/thread-self/ns/net", &own) == -1
        || (own.st_ino == st.st_ino && own.st_dev == st.st_dev))
    {
        close(fd);
        return error_set(err, 503, "start_failed", "network: the sandbox has "
                         "no network namespace, or has ended");
    }

    return fd;
}


int
net_link_enter(int ns, int *back, error **err)
{
    *back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (*back == -1 || setns(ns, CLONE_NEWNET) == -1) {
        link_failed("namespace", err);

        if (*back != -1) {
            close(*back);
        }
        return -1;
    }

    return 0;
}


void
net_link_leave(int back)
{
    /* Whatever came next would be done to the wrong network. */
    if (setns(back, CLONE_NEWNET) == -1) {
        abort();
    }

    close(back);
}


int
net_link_make(const net_link *l, int ns, error **err)
{
    int          back, rc;
    char         name[NET_LINK_NAME];
    const char  *inside;

    net_link_name(l->slot, name);
    inside = l->machine ? NET_KEEPER : NET_INSIDE;

    if (pair_make(l, name, inside, ns) == -1) {
        return link_failed(name, err);
    }

    if (end_set(name, l->gateway, l->address) == -1) {
        link_failed(name, err);
        net_link_remove(l->slot, NULL);
        return -1;
    }

    rc = net_link_enter(ns, &back, err);

    if (rc == 0) {
        rc = end_set(inside, l->address, l->gateway);

        if (rc == 0) {
            rc = default_set(inside, l->gateway);
        }

        if (rc == -1) {
            link_failed(inside, err);

        } else if (l->machine) {
            sys_set("/proc/sys/net/ipv4/%s", "ip_forward", "1");
        }

        net_link_leave(back);
    }

    if (rc == -1) {
        net_link_remove(l->slot, NULL);
    }

    return rc;
}


int
net_link_remove(uint32_t slot, error **err)
{
    char     name[NET_LINK_NAME];
    message  m;

    net_link_name(slot, name);
    message_link(&m, RTM_DELLINK, 0);
    message_add(&m, IFLA_IFNAME, name, strlen(name) + 1);

    if (message_send(&m) == -1 && errno != ENODEV) {
        return link_failed(name, err);
    }

    return 0;
}


void
net_link_count(uint32_t slot, driver_stats *stats)
{
    int                        fd;
    char                       name[NET_LINK_NAME];
    size_t                     rest;
    ssize_t                    n;
    message                    m;
    struct rtattr             *a;
    struct rtnl_link_stats64   count;

    union {
        struct nlmsghdr  head;
        char             bytes[COUNT_ANSWER_MAX];
    } answer;

    net_link_name(slot, name);
    message_link(&m, RTM_GETLINK, 0);
    m.head.nlmsg_flags = NLM_F_REQUEST;
    message_add(&m, IFLA_IFNAME, name, strlen(name) + 1);

    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd == -1) {
        return;
    }

    n = send(fd, &m, m.head.nlmsg_len, 0);

    if (n != -1) {
        n = recv(fd, &answer, sizeof(answer), 0);
    }

    close(fd);

    if (n < (ssize_t) NLMSG_LENGTH(sizeof(struct ifinfomsg))
        || answer.head.nlmsg_type != RTM_NEWLINK
        || answer.head.nlmsg_len > (size_t) n)
    {
        return;
    }

    rest = answer.head.nlmsg_len - NLMSG_LENGTH(sizeof(struct ifinfomsg));

    for (a = IFLA_RTA(NLMSG_DATA(&answer.head)); RTA_OK(a, rest);
         a = RTA_NEXT(a, rest))
    {
        if (a->rta_type != IFLA_STATS64
            || RTA_PAYLOAD(a) < offsetof(struct rtnl_link_stats64, rx_errors))
        {
            continue;
        }

        /* What our end receives, the sandbox has sent. */
        memcpy(&count, RTA_DATA(a),
               offsetof(struct rtnl_link_stats64, rx_errors));
        stats->sent = (int64_t) count.rx_bytes;
        stats->sent_packets = (int64_t) count.rx_packets;
        stats->received = (int64_t) count.tx_bytes;
        stats->received_packets = (int64_t) count.tx_packets;
    }
}


bool
net_link_address(uint32_t slot, uint32_t *address)
{
    int           fd, rc;
    struct ifreq  ifr;

    memset(&ifr, 0, sizeof(ifr));
    net_link_name(slot, ifr.ifr_name);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return false;
    }

    rc = ioctl(fd, SIOCGIFHWADDR, &ifr);
    close(fd);

    if (rc == -1 || ifr.ifr_hwaddr.sa_data[1] != 's') {
        return false;
    }

    memcpy(address, ifr.ifr_hwaddr.sa_data + 2, 4);
    *address = ntohl(*address);

    return true;
}


void
net_link_each(void (*found)(void *data, uint32_t slot), void *data)
{
    char                  *end;
    const char            *name;
    unsigned long          slot;
    struct if_nameindex   *all, *i;

    all = if_nameindex();

    for (i = all; i != NULL && i->if_index != 0; i++) {
        name = i->if_name;

        if (strncmp(name, NET_LINK_PREFIX, 3) == 0 && strlen(name) == 11
            && strspn(name + 3, "0123456789abcdef") == 8)
        {
            slot = strtoul(name + 3, &end, 16);
            found(data, (uint32_t) slot);
        }
    }

    if (all != NULL) {
        if_freenameindex(all);
    }
}
