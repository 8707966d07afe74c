/*
 * How the agents of machines are reached: which channel this host's options
 * mean, and the cids of the host's vsock.  See machine.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/log.h"
#include "common/small_file.h"
#include "sandboxd/machine.h"
#include "sandboxd/qemu.h"

/* Above those that other programs give to their machines by themselves. */
#define CID_FIRST  0x40000000u
#define CID_MASK   0x3fffffffu
#define CID_STEP   65537u           /* to the next one, if one is taken */
#define CID_TRIES  64


static int
vhost_check(error **err)
{
    int  fd;

    fd = open(QEMU_VHOST_DEVICE, O_RDWR | O_CLOEXEC);

    if (fd == -1) {
        return error_set(err, 500, "driver", "the channel vhost-vsock needs "
                         QEMU_VHOST_DEVICE ": %s (the kernel's module "
                         "vhost_vsock)", strerror(errno));
    }

    close(fd);

    return 0;
}


static int
vhost_user_check(const driver_host *host, error **err)
{
    const char  *program;

    program = host->vsock_program != NULL ? host->vsock_program
                                          : QEMU_VSOCK_PROGRAM;

    if (access(program, X_OK) == -1) {
        return error_set(err, 500, "driver", "the channel vhost-user-vsock "
                         "needs %s: %s (the package vhost-device-vsock, or "
                         "--vhost-device-vsock)", program, strerror(errno));
    }

    return 0;
}


/* Where the guest's kernel comes with what it needs for vsock. */
static bool
modules_are_there(const driver_host *host)
{
    char  path[BOX_PATH];

    snprintf(path, sizeof(path), "%s/%s", host->kernel_dir != NULL
             ? host->kernel_dir : "", vmm_qemu_vhost.modules);

    return access(path, X_OK) == 0;
}


static const vmm *
channel_found(const driver_host *host)
{
    if (host->keep_memory != MACHINE_KEEP_OFF || !modules_are_there(host)) {
        return &vmm_qemu;
    }

    if (vhost_check(NULL) == 0) {
        return &vmm_qemu_vhost;
    }

    return vhost_user_check(host, NULL) == 0 ? &vmm_qemu_vhost_user
                                             : &vmm_qemu;
}


static int
channel_check(const driver_host *host, const vmm *v, error **err)
{
    if (v == &vmm_qemu_vhost && vhost_check(err) == -1) {
        return -1;
    }

    if (v == &vmm_qemu_vhost_user && vhost_user_check(host, err) == -1) {
        return -1;
    }

    if (!v->memory && host->keep_memory == MACHINE_KEEP_ON) {
        return error_set(err, 500, "driver", "--keep-memory on: the memory of "
                         "machines that are reached by %s can't be kept",
                         v->channel);
    }

    if (!v->memory && host->templates > 0) {
        return error_set(err, 500, "driver", "--templates: machines that are "
                         "reached by %s can't be copied while they run",
                         v->channel);
    }

    return 0;
}


const vmm *
machine_channel_choose(const driver_host *host, const char *name, error **err)
{
    const vmm   *v;
    const char  *channel;

    channel = host->channel;
    v = vmm_of(name, NULL);

    if (v == &vmm_qemu) {
        v = channel == NULL || strcmp(channel, "auto") == 0
            ? channel_found(host) : vmm_of(name, channel);
    }

    if (v == NULL) {
        error_set(err, 500, "driver", "there is no channel \"%s\" to QEMU's "
                  "machines", channel);

    } else if (channel_check(host, v, err) == -1) {
        v = NULL;
    }

    return v;
}


static int
cid_note(int dir, uint32_t cid, error **err)
{
    int   fd, n;
    char  text[16];

    fd = openat(dir, "cid", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
                | O_NOFOLLOW, 0600);
    n = snprintf(text, sizeof(text), "%u\n", (unsigned) cid);

    if (fd == -1 || write(fd, text, (size_t) n) != n) {
        box_failed(err, "sandbox's directory");
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    close(fd);

    return 0;
}


uint32_t
machine_cid_noted(int dir)
{
    int64_t  cid;

    (void) small_file_number_at(dir, "cid", O_NOFOLLOW, &cid);

    return cid >= CID_FIRST && cid <= (CID_FIRST | CID_MASK) ? (uint32_t) cid
                                                             : 0;
}


/* Who has it is the kernel's to say: other programs take some, too. */
static int
cid_set(int fd, uint32_t slot, uint32_t *cid)
{
    int       i;
    uint64_t  want;

    for (i = 0; i < CID_TRIES; i++) {
        want = CID_FIRST + ((slot + (uint32_t) i * CID_STEP) & CID_MASK);

        if (ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &want) == 0) {
            *cid = (uint32_t) want;
            return 0;
        }

        if (errno != EADDRINUSE) {
            break;
        }
    }

    return -1;
}


int
machine_cid_take(uint32_t slot, int dir, uint32_t *cid, error **err)
{
    int  fd;

    fd = open(QEMU_VHOST_DEVICE, O_RDWR | O_CLOEXEC);

    if (fd == -1 || cid_set(fd, slot, cid) != 0) {
        box_failed(err, QEMU_VHOST_DEVICE);

    } else if (cid_note(dir, *cid, err) == 0) {
        return fd;
    }

    if (fd != -1) {
        close(fd);
    }

    return -1;
}
