/* The arguments of QEMU; see qemu.h. */

#include <stdio.h>
#include <string.h>

#include "sandboxd/arg_list.h"
#include "sandboxd/qemu.h"

#define STRING(x)     STRING_OF(x)
#define STRING_OF(x)  #x

/* Without KVM nothing in the machine can tell how fast its clock is, so it is
 * told, and, if the host trusts its own, that there is no better one: the
 * kernel would compare it with the ticks that it counts, of which a busy host
 * loses some. */
#define LINE_TSC      " tsc_early_khz=%u%s no_timer_check"
#define TSC_TRUSTED   " tsc=reliable"
#define TSC_UNKNOWN   2500000           /* kHz */

/* What a start does that nobody there has use for, and what protects the kernel
 * from its processes' guesses, takes longest where it is emulated:
 *
 *   noreplace-smp                      each of 8,600 locks patched, in an
 *                                      address space of its own
 *   ftrace_check_for_weak_functions    looks up the names of 37,000 functions
 *   trace_eval_init, tracer_init_tracefs   /sys/kernel/tracing
 *   crypto_kdf108_init                 only a test of itself
 *   load_system_certificate_list       keys for modules, which have no
 *                                      signature here
 *   lsm                                but those that processes use themselves
 */
#define LINE_TCG      " nokaslr mitigations=off noreplace-smp"               \
                      " lsm=landlock,yama initcall_blacklist="               \
                      "ftrace_check_for_weak_functions,trace_eval_init,"     \
                      "tracer_init_tracefs,crypto_kdf108_init,"              \
                      "load_system_certificate_list"

/* Emulated, an instruction that copies byte by byte takes as long as it says:
 * the kernel and the C library have faster ways where there is none of those
 * that claim to be fast. */
#define CPU_TCG       "max,-erms,-fsrm"

#define LINE          "console=ttyS0 reboot=t panic=-1 quiet pci=off"        \
                      " random.trust_cpu=on cryptomgr.notests audit=0"       \
                      " 8250.nr_uarts=1 i8042.noaux i8042.nomux"             \
                      " i8042.dumbkbd SANDBOX_INIT=1"                        \
                      " SANDBOX_BOOT_FILE=/dev/sandbox/boot"

#define LISTEN_TCP    " SANDBOX_LISTEN=tcp:" VM_GUEST_ADDRESS ":"            \
                      STRING(VM_GUEST_PORT)
#define LISTEN_VSOCK  " SANDBOX_LISTEN=vsock:" STRING(VM_GUEST_PORT)

typedef enum {
    CHANNEL_TAP,
    CHANNEL_VHOST_USER,
    CHANNEL_VHOST
} channel;

/* A comma would begin the next property. */
static void
add_name(arg_list *l, const char *name)
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
    arg_add(l, "-name");
    arg_add(l, "guest=%s", text);
}


static void
add_disk(arg_list *l, const char *name, int fd, const char *more)
{
    arg_add(l, "-add-fd");
    arg_add(l, "fd=%d,set=%d", fd, fd);
    arg_add(l, "-drive");
    arg_add(l, "id=%s,file=/dev/fdset/%d,format=raw,if=none,file.locking=off,"
        "auto-read-only=off%s",
        name, fd, more);
    arg_add(l, "-device");
    arg_add(l, "virtio-blk-device,drive=%s,serial=%s", name, name);
}


static void
add_own_disk(arg_list *l, const vmm_machine *m)
{
    int   n;
    char  more[160];

    n = snprintf(more, sizeof(more), ",discard=unmap");

    if (m->disk_rate != 0) {
        n += snprintf(more + n, sizeof(more) - (size_t) n,
                      ",throttling.bps-total=%llu",
                      (unsigned long long) m->disk_rate);
    }

    if (m->disk_ops != 0) {
        snprintf(more + n, sizeof(more) - (size_t) n,
                 ",throttling.iops-total=%llu",
                 (unsigned long long) m->disk_ops);
    }

    add_disk(l, "disk", VM_FD_DISK, more);
}


/* It is the keeper's as well, and a program's beside it. */
static void
add_memory(arg_list *l, const vmm_machine *m)
{
    arg_add(l, "-m");
    arg_add(l, "%lluM", (unsigned long long) (m->memory >> 20));
    arg_add(l, "-object");
    arg_add(l, "memory-backend-file,id=ram,share=on,mem-path=" VM_RAM
            ",size=%lluM", (unsigned long long) (m->memory >> 20));
}


static void
add_vsock(arg_list *l, const vmm_machine *m, channel to)
{
    if (to == CHANNEL_TAP) {
        return;
    }

    /* There is no vsock but by virtio 1. */
    arg_add(l, "-global");
    arg_add(l, "virtio-mmio.force-legacy=false");

    if (to == CHANNEL_VHOST_USER) {
        arg_add(l, "-chardev");
        arg_add(l, "socket,id=vsock,fd=%d", VM_FD_VSOCK);
        arg_add(l, "-device");
        arg_add(l, "vhost-user-vsock-device,chardev=vsock");

    } else {
        arg_add(l, "-device");
        arg_add(l, "vhost-vsock-device,guest-cid=%u,vhostfd=%d",
                (unsigned) m->cid, VM_FD_VSOCK);
    }
}


static void
add_line(arg_list *l, const vmm_machine *m, channel to)
{
    const char  *listen;

    listen = to == CHANNEL_TAP ? LISTEN_TCP : LISTEN_VSOCK;
    arg_add(l, "-append");

    if (m->kvm) {
        arg_add(l, "%s%s", LINE, listen);

    } else {
        arg_add(l, "%s%s" LINE_TSC "%s", LINE, listen,
                m->tsc_khz != 0 ? m->tsc_khz : TSC_UNKNOWN,
                m->tsc_khz != 0 ? TSC_TRUSTED : "", LINE_TCG);
    }
}


static void
args_machine(arg_list *l, const vmm_machine *m, channel to)
{
    arg_add(l, "%s", m->program);
    add_name(l, m->name);
    arg_add(l, "-M");
    arg_add(l, "microvm,rtc=on,pit=on,pic=on,memory-backend=ram%s",
            m->acpi ? "" : ",acpi=off");

    /* With what QEMU 10 takes by itself where there is ACPI, and three devices,
     * the kernel finds no tables. */
    arg_add(l, "-bios");
    arg_add(l, "qboot.rom");
    arg_add(l, "-accel");
    arg_add(l, "%s", m->kvm ? "kvm" : "tcg,tb-size=64");
    arg_add(l, "-cpu");
    arg_add(l, "%s", m->kvm ? "host" : CPU_TCG);
    add_memory(l, m);
    arg_add(l, "-smp");
    arg_add(l, "%u", m->cpus);
    arg_add(l, "-nodefaults");
    arg_add(l, "-no-user-config");
    arg_add(l, "-no-reboot");
    arg_add(l, "-display");
    arg_add(l, "none");
    arg_add(l, "-monitor");
    arg_add(l, "none");
    arg_add(l, "-serial");
    arg_add(l, "stdio");
    arg_add(l, "-sandbox");
    arg_add(l, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
        "resourcecontrol=deny");

    add_disk(l, "boot", VM_FD_BOOT, "");
    add_disk(l, "root", VM_FD_ROOT, ",readonly=on");
    add_own_disk(l, m);

    arg_add(l, "-netdev");
    arg_add(l, "tap,id=net,fd=%d", VM_FD_TAP);
    arg_add(l, "-device");
    arg_add(l, "virtio-net-device,netdev=net,mac=" VM_GUEST_MAC);
    add_vsock(l, m, to);

    /* What the guest doesn't use any more is the host's again. */
    arg_add(l, "-device");
    arg_add(l, "virtio-balloon-device,free-page-reporting=on,"
            "deflate-on-oom=on");

    arg_add(l, "-chardev");
    arg_add(l, "socket,id=monitor,fd=%d", VM_FD_MONITOR);
    arg_add(l, "-mon");
    arg_add(l, "chardev=monitor,mode=control");

    if (m->again) {
        arg_add(l, "-S");
        arg_add(l, "-incoming");
        arg_add(l, "defer");
    }

    arg_add(l, "-kernel");
    arg_add(l, VM_KERNEL);
    arg_add(l, "-initrd");
    arg_add(l, VM_INITRAMFS);
    add_line(l, m, to);
}


static int
args_build(const vmm_machine *m, channel to, char *dst, size_t size,
    uint32_t *argc, uint32_t *len)
{
    arg_list  l;

    memset(&l, 0, sizeof(l));
    l.p = dst;
    l.size = size;

    args_machine(&l, m, to);
    *argc = l.argc;

    if (to == CHANNEL_VHOST_USER) {
        arg_add(&l, "%s", m->aid);
    }

    *len = (uint32_t) l.len;

    return l.full || *argc > VM_ARGS_MAX ? -1 : 0;
}


int
qemu_args(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
    uint32_t *len)
{
    return args_build(m, CHANNEL_TAP, dst, size, argc, len);
}


int
qemu_args_vhost_user(const vmm_machine *m, char *dst, size_t size,
    uint32_t *argc, uint32_t *len)
{
    return args_build(m, CHANNEL_VHOST_USER, dst, size, argc, len);
}


int
qemu_args_vhost(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
    uint32_t *len)
{
    return args_build(m, CHANNEL_VHOST, dst, size, argc, len);
}


const char *
qemu_args_aid(const vm_order *order)
{
    uint32_t     i;
    const char  *p, *end;

    p = (const char *) (order + 1);
    end = p + order->args_len;

    for (i = 0; p < end; i++) {
        if (memchr(p, '\0', (size_t) (end - p)) == NULL) {
            break;
        }

        if (i == order->argc) {
            return p;
        }

        p += strlen(p) + 1;
    }

    return NULL;
}
