/* What this host has: KVM, groups, networks; see doctor.h. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nftables/libnftables.h>

#include "common/small_file.h"
#include "sandboxd/cgroup_layout.h"
#include "sandboxd/doctor.h"
#include "sandboxd/kvm_probe.h"

#define FILE_MAX_BYTES  65536


json_t *
doctor_state(const char *state, const char *detail)
{
    return json_pack("{s:s, s:s}", "state", state, "detail", detail);
}


json_t *
doctor_kvm(void)
{
    char  detail[160];

    static const char *const  states[] = { "absent", "closed", "no guests",
                                           "works" };

    return doctor_state(states[kvm_probe(detail)], detail);
}


static char *
file_read(const char *path)
{
    char  *text;

    text = malloc(FILE_MAX_BYTES + 1);
    if (text == NULL) {
        abort();
    }

    (void) small_file_text(path, text, FILE_MAX_BYTES + 1);

    return text;
}


/* Of version 2, the files tell. */
static unsigned
group_controllers(const cgroup_hierarchy *h)
{
    char      path[2 * CGROUP_PATH_MAX + 32], *text;
    unsigned  found;

    if (!h->v2) {
        return h->controllers;
    }

    snprintf(path, sizeof(path), "%s%s/cgroup.controllers", h->mount, h->own);
    text = file_read(path);
    found = (strstr(text, "cpu") != NULL ? CGROUP_CPU : 0)
            | (strstr(text, "memory") != NULL ? CGROUP_MEMORY : 0)
            | (strstr(text, "pids") != NULL ? CGROUP_PIDS : 0);
    free(text);

    return found;
}


json_t *
doctor_cgroup(void)
{
    char           *mountinfo, *self, detail[160];
    unsigned        i, found, v1, v2;
    cgroup_layout   layout;

    mountinfo = file_read("/proc/self/mountinfo");
    self = file_read("/proc/self/cgroup");
    cgroup_layout_parse(&layout, mountinfo, self);
    free(mountinfo);
    free(self);

    v1 = 0;
    v2 = 0;

    for (i = 0; i < layout.count; i++) {
        *(layout.h[i].v2 ? &v2 : &v1) |= group_controllers(&layout.h[i]);
    }

    found = v1 | v2;
    snprintf(detail, sizeof(detail), "version %s:%s%s%s%s",
             v1 != 0 && v2 != 0 ? "1 and 2" : v1 != 0 ? "1" : "2",
             found & CGROUP_CPU ? " cpu" : "",
             found & CGROUP_MEMORY ? " memory" : "",
             found & CGROUP_PIDS ? " pids" : "",
             found == 0 ? " no controller for cpu, memory or pids" : "");

    return doctor_state(found == (CGROUP_CPU | CGROUP_MEMORY | CGROUP_PIDS)
                        ? "works" : found != 0 ? "partly" : "absent", detail);
}


/* In a network namespace of its own, which goes with it. */
static int
network_try(void)
{
    struct nft_ctx  *ctx;

    if (unshare(CLONE_NEWNET) != 0) {
        return 1;
    }

    ctx = nft_ctx_new(NFT_CTX_DEFAULT);
    if (ctx == NULL) {
        return 2;
    }

    (void) nft_ctx_buffer_output(ctx);
    (void) nft_ctx_buffer_error(ctx);

    return nft_run_cmd_from_buffer(ctx,
               "add table ip doctor\n"
               "add chain ip doctor post { type nat hook postrouting "
                   "priority 100; }\n"
               "add rule ip doctor post masquerade\n"
               "add chain ip doctor go { type filter hook forward "
                   "priority 0; }\n"
               "add rule ip doctor go ct state established accept\n") == 0
           ? 0 : 2;
}


json_t *
doctor_network(void)
{
    int    status;
    pid_t  pid;

    fflush(NULL);
    pid = fork();

    if (pid == 0) {
        _exit(network_try());
    }

    if (pid == -1 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return doctor_state("closed", "it can't be tried");
    }

    if (WEXITSTATUS(status) == 1) {
        return doctor_state("closed", "no network namespace can be made: this "
                            "needs root");
    }

    if (WEXITSTATUS(status) != 0) {
        return doctor_state("partly", "network namespaces, but no nftables "
                            "with masquerade and conntrack in this kernel");
    }

    if (access("/dev/net/tun", R_OK | W_OK) != 0) {
        return doctor_state("partly", "network namespaces and nftables, but no "
                            "/dev/net/tun, which virtual machines need");
    }

    return doctor_state("works", "network namespaces, nftables, TAPs");
}


json_t *
doctor_vsock(void)
{
    int  fd, code;

    fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
    code = errno;

    if (fd != -1) {
        close(fd);
        return doctor_state("works", "/dev/vhost-vsock, for QEMU's machines");
    }

    return code == ENOENT
           ? doctor_state("absent", "no /dev/vhost-vsock: QEMU's machines are "
                          "reached without it, too")
           : doctor_state("closed", "/dev/vhost-vsock can't be opened");
}
