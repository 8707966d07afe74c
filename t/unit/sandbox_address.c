/* sources: ngx_sandbox_module/sandbox_address.c */

/* Addresses of agents that others run; see ngx_sandbox_module/sandbox_address.h. */

#include <stdbool.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "ngx_sandbox_module/sandbox_address.h"
#include "t/unit/tap.h"


/* Aligned like an address, and exactly as large as promised. */
typedef union {
    struct sockaddr_in   in;
    struct sockaddr_in6  in6;
    struct sockaddr_vm   vm;
    unsigned char        bytes[SANDBOX_ADDRESS_MAX];
} room;


static void
test_read(void)
{
    sandbox_address  a;

    ok(sandbox_address_tcp(&a, "10.1.2.3", 7000) == 0
       && a.kind == SANDBOX_ADDRESS_IPV4 && a.port == 7000, "IPv4");
    ok(sandbox_address_tcp(&a, "fd00::7", 65535) == 0
       && a.kind == SANDBOX_ADDRESS_IPV6 && a.port == 65535, "IPv6");
    ok(sandbox_address_vsock(&a, 3, 1) == 0
       && a.kind == SANDBOX_ADDRESS_VSOCK && a.port == 1, "a cid");
    ok(sandbox_address_vsock(&a, 0xfffffffe, 0xfffffffe) == 0
       && sandbox_address_vsock(&a, 1, 1) == 0, "the last one, this machine");
    ok(sandbox_address_hybrid(&a, 1024) == 0
       && a.kind == SANDBOX_ADDRESS_HYBRID && a.port == 1024
       && sandbox_address_hybrid(&a, 0) < 0
       && sandbox_address_hybrid(&a, 0xffffffff) < 0, "a VMM's port");

    ok(sandbox_address_tcp(&a, NULL, 1) < 0 && a.kind == SANDBOX_ADDRESS_NONE,
       "nothing is no address");
    ok(sandbox_address_tcp(&a, "localhost", 1) < 0
       && a.kind == SANDBOX_ADDRESS_NONE, "nor a name");
    ok(sandbox_address_tcp(&a, "", 1) < 0
       && sandbox_address_tcp(&a, "1.2.3", 1) < 0
       && sandbox_address_tcp(&a, "1.2.3.4 ", 1) < 0
       && sandbox_address_tcp(&a, "::1%lo", 1) < 0, "nor half of one");
    ok(sandbox_address_tcp(&a, "10.1.2.3", 0) < 0
       && sandbox_address_tcp(&a, "10.1.2.3", 65536) < 0
       && sandbox_address_tcp(&a, "10.1.2.3", -1) < 0
       && a.kind == SANDBOX_ADDRESS_NONE, "nor one without a port");
    ok(sandbox_address_vsock(&a, 2, 1) < 0 && sandbox_address_vsock(&a, 0, 1) < 0
       && sandbox_address_vsock(&a, -1, 1) < 0
       && sandbox_address_vsock(&a, 0xffffffff, 1) < 0
       && sandbox_address_vsock(&a, 7, 0) < 0
       && a.kind == SANDBOX_ADDRESS_NONE, "nor the host's own cids");
}


static void
test_write(void)
{
    size_t               len;
    room                 r;
    sandbox_address      a;
    sandbox_address_tag  tag = { 0, 8000, 12, 5 };

    sandbox_address_tcp(&a, "10.1.2.3", 7000);
    len = sandbox_address_write(&a, &tag, &r);
    ok(len == sizeof(struct sockaddr_in) + SANDBOX_ADDRESS_TAG_LEN
       && r.in.sin_family == AF_INET && r.in.sin_port == htons(7000)
       && r.in.sin_addr.s_addr == htonl(0x0a010203), "IPv4, and a tag");

    sandbox_address_tcp(&a, "fd00::7", 7000);
    len = sandbox_address_write(&a, &tag, &r);
    ok(len == sizeof(struct sockaddr_in6) + SANDBOX_ADDRESS_TAG_LEN
       && len == SANDBOX_ADDRESS_MAX && r.in6.sin6_family == AF_INET6
       && r.in6.sin6_port == htons(7000) && r.in6.sin6_scope_id == 0
       && r.in6.sin6_addr.s6_addr[0] == 0xfd
       && r.in6.sin6_addr.s6_addr[15] == 7, "IPv6, and a tag");

    sandbox_address_vsock(&a, 77, 1024);
    len = sandbox_address_write(&a, &tag, &r);
    ok(len == sizeof(struct sockaddr_vm) + SANDBOX_ADDRESS_TAG_LEN
       && r.vm.svm_family == AF_VSOCK && r.vm.svm_cid == 77
       && r.vm.svm_port == 1024 && r.vm.svm_reserved1 == 0,
       "a virtual machine, and a tag");

    sandbox_address_hybrid(&a, 1024);
    ok(sandbox_address_write(&a, &tag, &r) == 0, "a VMM's is its slot's");
    memset(&a, 0, sizeof(a));
    ok(sandbox_address_write(&a, &tag, &r) == 0, "none is none");
}


/* The socket's own length ends before the tag: connect() takes the rest. */
static void
test_connect(void)
{
    int                  s, l;
    room                 r;
    size_t               len;
    socklen_t            size;
    sandbox_address      a;
    struct sockaddr_in   sin;
    sandbox_address_tag  tag = { 1, 0, 0xffffffff, 0xffffffff };

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof(sin);
    l = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(l, (struct sockaddr *) &sin, sizeof(sin)) != 0
        || listen(l, 1) != 0
        || getsockname(l, (struct sockaddr *) &sin, &size) != 0)
    {
        printf("# no loopback here\n");
        return;
    }

    sandbox_address_tcp(&a, "127.0.0.1", ntohs(sin.sin_port));
    len = sandbox_address_write(&a, &tag, &r);
    s = socket(AF_INET, SOCK_STREAM, 0);
    ok(connect(s, (struct sockaddr *) &r, (socklen_t) len) == 0,
       "the kernel doesn't look at the tag");
}


static bool
differ(const sandbox_address *a, sandbox_address_tag x, sandbox_address_tag y)
{
    room    r, s;
    size_t  len;

    len = sandbox_address_write(a, &x, &r);

    return sandbox_address_write(a, &y, &s) == len
           && memcmp(&r, &s, len) != 0;
}


static void
test_tags(void)
{
    int                  i;
    sandbox_address      a[3];
    sandbox_address_tag  tag = { 0, 8000, 12, 5 };

    sandbox_address_tcp(&a[0], "10.1.2.3", 7000);
    sandbox_address_tcp(&a[1], "fd00::7", 7000);
    sandbox_address_vsock(&a[2], 77, 1024);

    for (i = 0; i < 3; i++) {
        ok(differ(&a[i], tag, (sandbox_address_tag) { 1, 8000, 12, 5 })
           && differ(&a[i], tag, (sandbox_address_tag) { 0, 8001, 12, 5 })
           && differ(&a[i], tag, (sandbox_address_tag) { 0, 8000, 13, 5 })
           && differ(&a[i], tag, (sandbox_address_tag) { 0, 8000, 12, 6 })
           && !differ(&a[i], tag, tag),
           "kind, port, sandbox and run are told apart");
    }
}


int
main(void)
{
    test_read();
    test_write();
    test_connect();
    test_tags();

    return done_testing();
}
