/* What /dev/kvm is worth; see kvm_probe.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandboxd/kvm_probe.h"

#define GUEST_AT    0x1000
#define GUEST_SIZE  4096
#define CR0_EM      (1u << 2)
#define CR4_SSE     (3u << 9)

/* addps %xmm0,%xmm0; hlt.  KVM's emulator, which is all that there is where
 * the processor can't run a guest itself, knows no addps. */
static const unsigned char  kvm_guest[] = { 0x0f, 0x58, 0xc0, 0xf4 };

typedef struct {
    int              kvm, vm, vcpu;
    void            *memory;
    struct kvm_run  *run;
    size_t           run_size;
} probe;


static kvm_state
probe_end(char detail[160], kvm_state state, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static kvm_state
probe_end(char detail[160], kvm_state state, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(detail, 160, fmt, args);
    va_end(args);

    return state;
}


static int
probe_make(probe *p)
{
    int                                 size;
    struct kvm_userspace_memory_region  region;

    p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
    p->vcpu = p->vm != -1 ? ioctl(p->vm, KVM_CREATE_VCPU, 0) : -1;
    size = ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (p->vcpu == -1 || size < (int) sizeof(struct kvm_run)) {
        return -1;
    }

    p->run_size = (size_t) size;
    p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                  p->vcpu, 0);
    p->memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED
                     | MAP_ANONYMOUS, -1, 0);

    if (p->run == MAP_FAILED || p->memory == MAP_FAILED) {
        return -1;
    }

    memcpy(p->memory, kvm_guest, sizeof(kvm_guest));
    memset(&region, 0, sizeof(region));
    region.guest_phys_addr = GUEST_AT;
    region.memory_size = GUEST_SIZE;
    region.userspace_addr = (uint64_t) (uintptr_t) p->memory;

    return ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region);
}


static int
probe_run(probe *p)
{
    struct kvm_regs   regs;
    struct kvm_sregs  sregs;

    if (ioctl(p->vcpu, KVM_GET_SREGS, &sregs) == -1) {
        return -1;
    }

    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    sregs.cr0 &= ~(uint64_t) CR0_EM;
    sregs.cr4 |= CR4_SSE;

    memset(&regs, 0, sizeof(regs));
    regs.rip = GUEST_AT;
    regs.rflags = 2;

    if (ioctl(p->vcpu, KVM_SET_SREGS, &sregs) == -1
        || ioctl(p->vcpu, KVM_SET_REGS, &regs) == -1)
    {
        return -1;
    }

    return ioctl(p->vcpu, KVM_RUN, 0);
}


static void
probe_close(probe *p)
{
    if (p->run != MAP_FAILED) {
        munmap(p->run, p->run_size);
    }
    if (p->memory != MAP_FAILED) {
        munmap(p->memory, GUEST_SIZE);
    }
    if (p->vcpu != -1) {
        close(p->vcpu);
    }
    if (p->vm != -1) {
        close(p->vm);
    }
    close(p->kvm);
}


kvm_state
kvm_probe(char detail[160])
{
    int        rc;
    probe      p = { -1, -1, -1, MAP_FAILED, MAP_FAILED, 0 };
    kvm_state  state;

    p.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (p.kvm == -1) {
        return probe_end(detail, errno == ENOENT ? KVM_ABSENT : KVM_CLOSED,
                         "/dev/kvm: %s", strerror(errno));
    }

    if (ioctl(p.kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        close(p.kvm);
        return probe_end(detail, KVM_CLOSED, "/dev/kvm is no KVM of version "
                         "%d", KVM_API_VERSION);
    }

    rc = probe_make(&p) == 0 ? probe_run(&p) : -1;

    if (rc == -1) {
        state = probe_end(detail, KVM_NO_GUESTS, "/dev/kvm opens, but makes "
                          "no guest: %s", strerror(errno));

    } else if (p.run->exit_reason != KVM_EXIT_HLT) {
        state = probe_end(detail, KVM_NO_GUESTS, "/dev/kvm opens, but a guest "
                          "ends with exit %u", p.run->exit_reason);

    } else {
        state = probe_end(detail, KVM_WORKS, "a guest runs");
    }

    probe_close(&p);

    return state;
}
