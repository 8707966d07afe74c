/* The arguments of QEMU; see qemu.h. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sandboxd/qemu.h"

#define STRING(x)     STRING_OF(x)
#define STRING_OF(x)  #x

/* Without KVM nothing in the machine can tell how fast its clock is, so it is
 * told; and what protects the kernel from its processes' guesses costs most. */
#define LINE_TCG      " tsc_early_khz=2500000 no_timer_check nokaslr"       \
                      " mitigations=off"

#define LINE          "console=ttyS0 reboot=t panic=-1 quiet pci=off"        \
                      " random.trust_cpu=on cryptomgr.notests audit=0"       \
                      " 8250.nr_uarts=1 i8042.noaux i8042.nomux"             \
                      " i8042.dumbkbd SANDBOX_INIT=1"                        \
                      " SANDBOX_BOOT_FILE=/dev/sandbox/boot"                 \
                      " SANDBOX_LISTEN=tcp:" VM_GUEST_ADDRESS ":"            \
                      STRING(VM_GUEST_PORT)

typedef struct {
    char      *p;
    size_t     size, len;
    uint32_t   argc;
    bool       full;
} list;


static void add(list *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


static void
add(list *l, const char *fmt, ...)
{
    int      n;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(l->p + l->len, l->size - l->len, fmt, args);
    va_end(args);

    if (n < 0 || (size_t) n >= l->size - l->len) {
        l->full = true;
        return;
    }

    l->len += (size_t) n + 1;
    l->argc++;
}


/* A comma would begin the next property. */
static void
add_name(list *l, const char *name)
{
    char    text[512];
    size_t  i, n;

    for (i = 0, n = 0; name[i] != '\0' && n < sizeof(text) - 2; i++) {
        if (name[i] == ',') {
            text[n++] = ',';
        }
        text[n++] = name[i];
    }

    text[n] = '\0';
    add(l, "-name");
    add(l, "guest=%s", text);
}


static void
add_disk(list *l, const char *name, int fd, const char *more)
{
    add(l, "-add-fd");
    add(l, "fd=%d,set=%d", fd, fd);
    add(l, "-drive");
    add(l, "id=%s,file=/dev/fdset/%d,format=raw,if=none,file.locking=off,"
        "auto-read-only=off%s",
        name, fd, more);
    add(l, "-device");
    add(l, "virtio-blk-device,drive=%s,serial=%s", name, name);
}


int
qemu_args(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
    uint32_t *len)
{
    list  l;

    memset(&l, 0, sizeof(l));
    l.p = dst;
    l.size = size;

    add(&l, "%s", m->program);
    add_name(&l, m->name);
    add(&l, "-M");
    add(&l, "microvm,rtc=on,pit=on,pic=on");
    add(&l, "-accel");
    add(&l, "%s", m->kvm ? "kvm" : "tcg,tb-size=64");
    add(&l, "-cpu");
    add(&l, "%s", m->kvm ? "host" : "max");
    add(&l, "-m");
    add(&l, "%lluM", (unsigned long long) (m->memory >> 20));
    add(&l, "-smp");
    add(&l, "%u", m->cpus);
    add(&l, "-nodefaults");
    add(&l, "-no-user-config");
    add(&l, "-no-reboot");
    add(&l, "-display");
    add(&l, "none");
    add(&l, "-monitor");
    add(&l, "none");
    add(&l, "-serial");
    add(&l, "stdio");
    add(&l, "-sandbox");
    add(&l, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
        "resourcecontrol=deny");

    add_disk(&l, "boot", VM_FD_BOOT, "");
    add_disk(&l, "root", VM_FD_ROOT, ",readonly=on");
    add_disk(&l, "disk", VM_FD_DISK, ",discard=unmap");

    add(&l, "-netdev");
    add(&l, "tap,id=net,fd=%d", VM_FD_TAP);
    add(&l, "-device");
    add(&l, "virtio-net-device,netdev=net,mac=" VM_GUEST_MAC);

    /* What the guest doesn't use any more is the host's again. */
    add(&l, "-device");
    add(&l, "virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on");

    add(&l, "-chardev");
    add(&l, "socket,id=monitor,fd=%d", VM_FD_MONITOR);
    add(&l, "-mon");
    add(&l, "chardev=monitor,mode=control");

    if (m->again) {
        add(&l, "-incoming");
        add(&l, "fd:%d", VM_FD_KEPT);
    }

    add(&l, "-kernel");
    add(&l, VM_KERNEL);
    add(&l, "-initrd");
    add(&l, VM_INITRAMFS);
    add(&l, "-append");
    add(&l, "%s%s", LINE, m->kvm ? "" : LINE_TCG);

    *argc = l.argc;
    *len = (uint32_t) l.len;

    return l.full || l.argc > VM_ARGS_MAX ? -1 : 0;
}
