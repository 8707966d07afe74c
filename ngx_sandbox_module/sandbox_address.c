/* Addresses of agents that others run; see sandbox_address.h. */

#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "sandbox_address.h"


_Static_assert(sizeof(struct sockaddr_in6) <= 28
               && sizeof(struct sockaddr_in) <= 28
               && sizeof(struct sockaddr_vm) <= 28, "an address is too large");


int
sandbox_address_tcp(sandbox_address *dst, const char *host, long long port)
{
    memset(dst, 0, sizeof(*dst));

    if (host == NULL || port < 1 || port > 65535) {
        return -1;
    }

    if (inet_pton(AF_INET, host, dst->host) == 1) {
        dst->kind = SANDBOX_ADDRESS_IPV4;

    } else if (inet_pton(AF_INET6, host, dst->host) == 1) {
        dst->kind = SANDBOX_ADDRESS_IPV6;

    } else {
        return -1;
    }

    dst->port = (uint32_t) port;

    return 0;
}


int
sandbox_address_hybrid(sandbox_address *dst, long long port)
{
    memset(dst, 0, sizeof(*dst));

    if (port < 1 || port > 0xfffffffeLL) {
        return -1;
    }

    dst->port = (uint32_t) port;
    dst->kind = SANDBOX_ADDRESS_HYBRID;

    return 0;
}


/* 1 is this machine; the others below 3 are the hypervisor's and the host's. */
int
sandbox_address_vsock(sandbox_address *dst, long long cid, long long port)
{
    uint32_t  n;

    memset(dst, 0, sizeof(*dst));

    if ((cid < 3 && cid != 1) || cid > 0xfffffffeLL
        || port < 1 || port > 0xfffffffeLL)
    {
        return -1;
    }

    n = (uint32_t) cid;
    memcpy(dst->host, &n, sizeof(n));
    dst->port = (uint32_t) port;
    dst->kind = SANDBOX_ADDRESS_VSOCK;

    return 0;
}


size_t
sandbox_address_write(const sandbox_address *address,
    const sandbox_address_tag *tag, void *dst)
{
    size_t                len;
    unsigned char        *p;
    struct sockaddr_in   *sin;
    struct sockaddr_vm   *svm;
    struct sockaddr_in6  *sin6;

    memset(dst, 0, SANDBOX_ADDRESS_MAX);

    switch (address->kind) {

    case SANDBOX_ADDRESS_IPV4:
        sin = dst;
        sin->sin_family = AF_INET;
        sin->sin_port = htons((uint16_t) address->port);
        memcpy(&sin->sin_addr, address->host, 4);
        len = sizeof(*sin);
        break;

    case SANDBOX_ADDRESS_IPV6:
        sin6 = dst;
        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons((uint16_t) address->port);
        memcpy(&sin6->sin6_addr, address->host, 16);
        len = sizeof(*sin6);
        break;

    case SANDBOX_ADDRESS_VSOCK:
        svm = dst;
        svm->svm_family = AF_VSOCK;
        svm->svm_port = address->port;
        memcpy(&svm->svm_cid, address->host, 4);
        len = sizeof(*svm);
        break;

    default:
        return 0;
    }

    p = (unsigned char *) dst + len;
    p[0] = tag->control;
    memcpy(p + 2, &tag->port, 2);
    memcpy(p + 4, &tag->slot, 4);
    memcpy(p + 8, &tag->epoch, 4);

    return len + SANDBOX_ADDRESS_TAG_LEN;
}
