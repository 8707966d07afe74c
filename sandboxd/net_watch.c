/*
 * The rules are everybody's who may change rules: a firewall's reload may well
 * begin with a flush of all there are.  The kernel tells of each change who has
 * made it; what others do to our table undoes what sandboxes were promised, so
 * the table is made anew.  See net_part.h.
 */

/* Before the kernel's, which give way to it. */
#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/net_part.h"

#define BUFFER_BYTES   (1024 * 1024)
#define MESSAGE_BYTES  65536
#define READS_MAX      64           /* before others have their turn */


int
net_watch_open(net *n, error **err)
{
    int                 group, size;
    struct sockaddr_nl  own;

    n->watch_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         NETLINK_NETFILTER);
    memset(&own, 0, sizeof(own));
    own.nl_family = AF_NETLINK;
    group = NFNLGRP_NFTABLES;
    size = BUFFER_BYTES;

    if (n->watch_fd == -1
        || bind(n->watch_fd, (struct sockaddr *) &own, sizeof(own)) == -1
        || setsockopt(n->watch_fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
                      sizeof(group)) == -1)
    {
        return error_set(err, 500, "network", "nftables can't be watched: %s",
                         strerror(errno));
    }

    (void) setsockopt(n->watch_fd, SOL_SOCKET, SO_RCVBUFFORCE, &size,
                      sizeof(size));

    return 0;
}


/* In all messages but those of generations, the first attribute that there is
 * names the table. */
static bool
message_ours(struct nlmsghdr *h)
{
    char             *p;
    size_t            rest, len;
    struct nlattr     a;
    struct nfgenmsg   g;

    if (NFNL_SUBSYS_ID(h->nlmsg_type) != NFNL_SUBSYS_NFTABLES
        || NFNL_MSG_TYPE(h->nlmsg_type) == NFT_MSG_NEWGEN
        || h->nlmsg_len < NLMSG_LENGTH(sizeof(g)))
    {
        return false;
    }

    memcpy(&g, NLMSG_DATA(h), sizeof(g));
    p = (char *) h + NLMSG_SPACE(sizeof(g));
    rest = h->nlmsg_len - NLMSG_LENGTH(sizeof(g));

    while (g.nfgen_family == NFPROTO_INET && rest >= sizeof(a)) {
        memcpy(&a, p, sizeof(a));

        if (a.nla_len < sizeof(a) || a.nla_len > rest) {
            break;
        }

        if ((a.nla_type & NLA_TYPE_MASK) == NFTA_TABLE_NAME) {
            return a.nla_len == NLA_HDRLEN + sizeof(NET_FILTER_TABLE)
                   && memcmp(p + NLA_HDRLEN, NET_FILTER_TABLE,
                             sizeof(NET_FILTER_TABLE)) == 0;
        }

        len = NLA_ALIGN(a.nla_len);
        p += len;
        rest -= len < rest ? len : rest;
    }

    return false;
}


/* Whoever has made the table is we. */
static bool
messages_changed(net *n, char *text, size_t len)
{
    bool              changed;
    struct nlmsghdr  *h;

    changed = false;

    for (h = (struct nlmsghdr *) text; NLMSG_OK(h, len);
         h = NLMSG_NEXT(h, len))
    {
        if (!message_ours(h)) {
            continue;
        }

        if (NFNL_MSG_TYPE(h->nlmsg_type) == NFT_MSG_NEWTABLE) {
            n->watch_own = h->nlmsg_pid;

        } else if (n->watch_own != 0 && h->nlmsg_pid != n->watch_own) {
            changed = true;
        }
    }

    return changed;
}


static void
watch_event(uv_poll_t *poll, int status, int events)
{
    int                 i;
    net                *n;
    bool                changed, lost;
    ssize_t             len;
    socklen_t           size;
    struct sockaddr_nl  from;

    static union {
        struct nlmsghdr  align;
        char             text[MESSAGE_BYTES];
    } in;

    n = poll->data;
    changed = false;
    lost = false;

    for (i = 0; i < READS_MAX; i++) {
        size = sizeof(from);
        len = recvfrom(n->watch_fd, in.text, sizeof(in.text), 0,
                       (struct sockaddr *) &from, &size);

        if (len > 0) {
            changed = (from.nl_pid == 0
                       && messages_changed(n, in.text, (size_t) len))
                      || changed;

        } else if (len == -1 && errno == ENOBUFS) {
            /* Who knows what wasn't told: of others' rules, most likely. */
            lost = true;

        } else if (len == 0 || errno != EINTR) {
            break;
        }
    }

    n->watch_seen = n->watch_seen || changed;

    if (changed || lost) {
        net_jobs_renew(n);
    }

    /* A socket that has lost something has an error until that is read, at
     * which libuv gives up on it. */
    if (status != 0) {
        uv_poll_start(&n->watch, UV_READABLE, watch_event);
    }
}


void
net_watch_begin(net *n)
{
    uv_poll_init(n->loop, &n->watch, n->watch_fd);
    n->watch.data = n;
    uv_poll_start(&n->watch, UV_READABLE, watch_event);
    uv_unref((uv_handle_t *) &n->watch);
}


void
net_watch_close(net *n)
{
    uv_poll_stop(&n->watch);
    uv_close((uv_handle_t *) &n->watch, NULL);
    close(n->watch_fd);
}
