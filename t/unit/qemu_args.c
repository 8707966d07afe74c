/* sources: sandboxd/qemu_args.c sandboxd/arg_list.c */

/* The arguments of QEMU. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/qemu.h"
#include "t/unit/tap.h"

static char      text[8192];
static uint32_t  argc, len;


/* The argument behind this one; "" if there is none. */
static const char *
after(const char *name)
{
    char      *p;
    uint32_t   i;

    for (i = 0, p = text; i + 1 < argc; i++) {
        if (strcmp(p, name) == 0) {
            return p + strlen(p) + 1;
        }
        p += strlen(p) + 1;
    }

    return "";
}


static int
has(const char *name)
{
    char      *p;
    uint32_t   i;

    for (i = 0, p = text; i < argc; i++) {
        if (strcmp(p, name) == 0) {
            return 1;
        }
        p += strlen(p) + 1;
    }

    return 0;
}


/* Does the last drive, and no other, have limits, and end so? */
static int
limited(const char *end)
{
    char      *p;
    int        last;
    size_t     n;
    uint32_t   i;

    for (i = 0, p = text, last = 0; i < argc; i++) {
        n = strlen(p);

        if (strncmp(p, "id=", 3) == 0 && strstr(p, "if=none") != NULL) {
            if (last) {
                return -1;
            }

            last = strstr(p, "throttling") != NULL && n > strlen(end)
                   && strcmp(p + n - strlen(end), end) == 0;
        }

        p += n + 1;
    }

    return last;
}


static void
vsock(vmm_machine *a)
{
    vm_order  *order;

    order = calloc(1, sizeof(vm_order) + VM_TEXT_MAX);
    a->aid = "/opt/vhost-device-vsock";
    ok(qemu_args_vhost_user(a, text, sizeof(text), &argc, &len) == 0
       && strstr(after("-object"), "share=on") != NULL
       && strstr(after("-M"), "memory-backend=ram") != NULL,
       "memory that is shared");
    ok(has("virtio-mmio.force-legacy=false")
       && has("vhost-user-vsock-device,chardev=vsock")
       && strstr(after("-append"), "SANDBOX_LISTEN=vsock:5000") != NULL
       && strstr(after("-append"), "tcp:") == NULL, "reached by vsock");
    ok(!has(a->aid), "the program beside it is none of QEMU's arguments");

    order->argc = argc;
    order->args_len = len;
    memcpy(order + 1, text, len);
    ok(qemu_args_aid(order) != NULL
       && strcmp(qemu_args_aid(order), a->aid) == 0, "but is told");
    order->args_len--;
    ok(qemu_args_aid(order) == NULL, "an order that is cut off");
    order->argc = 1u << 30;
    ok(qemu_args_aid(order) == NULL, "one that lies");
    free(order);

    a->cid = 0x40000007;
    ok(qemu_args_vhost(a, text, sizeof(text), &argc, &len) == 0
       && has("vhost-vsock-device,guest-cid=1073741831,vhostfd=14")
       && has("virtio-mmio.force-legacy=false"),
       "by the kernel's vsock");
}


int
main(void)
{
    char       *p;
    uint32_t    i;
    vmm_machine   a;

    memset(&a, 0, sizeof(a));
    a.program = "/bin/qemu";
    a.name = "/x,readonly=off/1";
    a.memory = 160ull << 20;
    a.cpus = 2;

    ok(qemu_args(&a, text, sizeof(text), &argc, &len) == 0
       && strcmp(text, a.program) == 0, "a program");
    for (i = 0, p = text; i < argc; i++) {
        p += strlen(p) + 1;
    }
    ok(p == text + len, "its arguments, as many as it says");
    ok(strcmp(after("-name"), "guest=/x,,readonly=off/1") == 0,
       "a comma in a name begins no property");
    ok(strcmp(after("-m"), "160M") == 0 && strcmp(after("-smp"), "2") == 0,
       "its size");
    ok(strncmp(after("-accel"), "tcg", 3) == 0
       && strstr(after("-append"), " tsc_early_khz=2500000 no_timer_check ")
          != NULL, "emulated");
    a.tsc_khz = 3999999;
    qemu_args(&a, text, sizeof(text), &argc, &len);
    ok(strstr(after("-append"), " tsc_early_khz=3999999 tsc=reliable ")
       != NULL, "at the speed of its host");
    ok(strstr(after("-sandbox"), "spawn=deny") != NULL, "filtered");
    ok(!has("-incoming") && !has("-S"), "it begins");
    ok(strstr(after("-object"), "share=on,mem-path=/vm/ram/memory,size=160M")
       != NULL, "its memory is a file that the keeper has as well");
    ok(strstr(after("-M"), ",acpi=off") != NULL, "a kernel without ACPI");
    ok(!limited(""), "no limits of its disk");
    a.disk_rate = 1 << 20;
    qemu_args(&a, text, sizeof(text), &argc, &len);
    ok(limited(",discard=unmap,throttling.bps-total=1048576"), "one");
    a.disk_ops = 500;
    qemu_args(&a, text, sizeof(text), &argc, &len);
    ok(limited(",discard=unmap,throttling.bps-total=1048576,"
               "throttling.iops-total=500"), "both");
    a.acpi = true;

    a.kvm = true;
    a.again = true;
    qemu_args(&a, text, sizeof(text), &argc, &len);
    ok(strstr(after("-M"), "acpi") == NULL, "and one with it");
    ok(strcmp(after("-accel"), "kvm") == 0
       && strstr(after("-append"), "tsc_early_khz") == NULL, "with KVM");
    ok(strcmp(after("-incoming"), "defer") == 0 && has("-S"),
       "it goes on when it is told to");
    ok(!has("-global") && strstr(after("-append"), "SANDBOX_LISTEN=tcp:")
       != NULL, "reached by TCP");
    vsock(&a);
    ok(qemu_args(&a, text, 100, &argc, &len) == -1, "no room for them");

    return done_testing();
}
