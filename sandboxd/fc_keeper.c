/*
 * What a keeper tells its Firecracker: the machine, that it shall start, sleep
 * or go on; and how the agent is reached, through the socket that Firecracker
 * has made.  Nothing of it waits; see fc.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "sandboxd/fc.h"
#include "sandboxd/fc_client.h"

#define LOOK_MS   5                     /* while something is under way */
#define SAVE_MS   120000                /* as long as its memory takes */

#define STRING(x)     STRING_OF(x)
#define STRING_OF(x)  #x

/* A reset is how a guest ends its VMM, which has no power button.  The disks
 * have no serial numbers of ours. */
#define LINE  "console=ttyS0 reboot=k panic=-1 quiet pci=off"                \
              " random.trust_cpu=on cryptomgr.notests audit=0"               \
              " 8250.nr_uarts=1 i8042.noaux i8042.nomux i8042.nopnp"         \
              " i8042.dumbkbd SANDBOX_INIT=1 SANDBOX_POWER=reboot"           \
              " SANDBOX_DISKS=boot,root,disk"                                \
              " SANDBOX_BOOT_FILE=/dev/sandbox/boot"                         \
              " SANDBOX_LISTEN=vsock:" STRING(VM_GUEST_PORT)

typedef enum {
    FC_IDLE,
    FC_STARTING,
    FC_SAVING,
    FC_RESUMING,                        /* of a machine that can't be saved */
    FC_LIMITING                         /* its network or its disk */
} fc_doing;

static fc_client  fc;
static fc_doing   fc_now;
static bool       fc_unsaved;           /* why it is resumed */
static bool       fc_save_next;         /* once it does nothing else */
static bool       fc_disk_next;         /* the same; what a memory brings */
static fc_limit   fc_disk;              /* along may be another limit */
static bool       fc_stands;            /* it has been saved */
static bool       fc_rate_next;         /* once it runs and does nothing, */
static uint64_t   fc_rate_bytes;        /* so much */
static bool       fc_rated;             /* it has a limit, or may have */
static bool       fc_again;             /* it starts from what was kept */
static int        fc_set = -1, fc_timer = -1, fc_polled = -1;


static void
timer_set(long ms)
{
    struct itimerspec  t;

    memset(&t, 0, sizeof(t));
    t.it_value.tv_nsec = ms * 1000000;
    t.it_interval = t.it_value;
    (void) timerfd_settime(fc_timer, 0, &t, NULL);
}


static void
set_add(int fd, uint32_t events)
{
    struct epoll_event  ev;

    memset(&ev, 0, sizeof(ev));
    ev.events = events;
    (void) epoll_ctl(fc_set, EPOLL_CTL_ADD, fd, &ev);
}


/* Takes the plan. */
static void
do_begin(fc_doing what, fc_plan *plan)
{
    fc_now = what;
    fc_polled = -1;
    fc_client_begin(&fc, FC_API, plan, clock_ms(CLOCK_MONOTONIC));
    timer_set(LOOK_MS);
}


static void
do_end(void)
{
    fc_client_end(&fc);
    fc_now = FC_IDLE;
    timer_set(0);
}


static void
machine_plan(fc_plan *plan, const fc_told *told)
{
    fc_machine  m;

    memset(&m, 0, sizeof(m));
    m.cpus = told->cpus;
    m.memory = told->memory;
    m.kernel = FC_IN_KERNEL;
    m.initrd = FC_IN_INITRAMFS;
    m.line = LINE;
    m.drives[0].id = "boot";
    m.drives[0].path = FC_IN_BOOT;
    m.drives[1].id = "root";
    m.drives[1].path = FC_IN_IMAGE;
    m.drives[1].read_only = true;
    m.drives[2].id = "disk";
    m.drives[2].path = FC_IN_DISK;
    m.drives[2].rate = fc_disk;
    m.drive_count = 3;
    m.vsock = FC_IN_VSOCK;
    m.tap = VM_TAP;
    m.mac = VM_GUEST_MAC;
    m.balloon = true;

    fc_plan_boot(plan, &m);
}


int
fc_begin(const vm_order *order, error **err)
{
    fc_plan  plan;
    fc_told  told;

    if (fc_args_told(order, &told) != 0) {
        return error_set(err, 500, "internal", "the order is incomplete");
    }

    fc_set = epoll_create1(EPOLL_CLOEXEC);
    fc_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (fc_set == -1 || fc_timer == -1) {
        return error_set(err, 500, "start_failed", "epoll: %s",
                         strerror(errno));
    }

    set_add(fc_timer, EPOLLIN);

    fc_again = order->boot_len != 0;
    fc_rated = fc_again;
    fc_disk_next = fc_again;
    fc_disk.bytes = told.disk_rate;
    fc_disk.ops = told.disk_ops;

    if (fc_again) {
        fc_plan_load(&plan, FC_IN_KEPT_STATE, FC_IN_KEPT);
    } else {
        machine_plan(&plan, &told);
    }

    do_begin(FC_STARTING, &plan);

    return fc_set;
}


static void
complain(error **err)
{
    char  text[600];
    int   n;

    n = snprintf(text, sizeof(text), "%s\n", *err != NULL ? (*err)->message
                 : "out of memory");
    (void) !write(VM_FD_LOG, text, (size_t) n);
    error_free(*err);
    *err = NULL;
}


/* A machine that couldn't be saved stands still. */
static vmm_news
save_failed(error **err)
{
    complain(err);
    fc_client_end(&fc);
    fc_unsaved = true;
    fc_resume();

    return VMM_NOTHING;
}


static int
save_begin(void)
{
    fc_plan  plan;

    /* What was saved before is another machine's, or this one's of before. */
    if (ftruncate(VM_FD_MEMORY, 0) != 0 || ftruncate(VM_FD_STATE, 0) != 0) {
        return -1;
    }

    fc_plan_save(&plan, FC_IN_STATE, FC_IN_MEMORY, SAVE_MS);
    do_begin(FC_SAVING, &plan);

    return 0;
}


/* It runs, and nothing is asked of it any more: what has waited for that. */
static vmm_news
idle_next(void)
{
    fc_plan  plan;

    if (fc_save_next) {
        fc_save_next = false;
        return save_begin() == 0 ? VMM_NOTHING : VMM_NOT_SAVED;
    }

    if (fc_disk_next) {
        fc_disk_next = false;
        fc_plan_disk(&plan, "disk", &fc_disk);
        do_begin(FC_LIMITING, &plan);

    } else if (fc_rate_next) {
        fc_rate_next = false;
        fc_rated = fc_rate_bytes != 0;
        fc_plan_rate(&plan, fc_rate_bytes);
        do_begin(FC_LIMITING, &plan);
    }

    return VMM_NOTHING;
}


static vmm_news
do_failed(error **err)
{
    fc_doing  was;

    was = fc_now;

    if (was == FC_SAVING) {
        return save_failed(err);
    }

    do_end();

    if (was == FC_STARTING) {
        return VMM_FAILED;
    }

    complain(err);

    /* It runs on, as what it was. */
    return was == FC_LIMITING ? idle_next() : VMM_BROKEN;
}


static vmm_news
do_done(void)
{
    vmm_news  news;
    fc_doing  was;

    was = fc_now;
    do_end();

    if (was == FC_SAVING) {
        fc_stands = true;
        return VMM_SAVED;
    }

    if (was == FC_RESUMING) {
        fc_stands = false;
    }

    news = idle_next();

    if (was == FC_STARTING && fc_again) {
        return VMM_GOES_ON;
    }

    if (was == FC_RESUMING && fc_unsaved) {
        fc_unsaved = false;
        return VMM_NOT_SAVED;
    }

    return news;
}


vmm_news
fc_event(error **err)
{
    int       rc;
    uint64_t  ticks;

    (void) !read(fc_timer, &ticks, sizeof(ticks));

    if (fc_now == FC_IDLE) {
        return VMM_NOTHING;
    }

    rc = fc_client_go(&fc, clock_ms(CLOCK_MONOTONIC), err);

    if (rc == -1) {
        return do_failed(err);
    }

    if (rc == 1) {
        return do_done();
    }

    /* From then on it is told when there is something to read; the timer is
     * for the deadlines. */
    if (fc.fd != fc_polled && fc.fd != -1) {
        fc_polled = fc.fd;
        set_add(fc.fd, EPOLLIN);
        timer_set(100);
    }

    return VMM_NOTHING;
}


/* One that has been copied may be on its way back. */
int
fc_save(void)
{
    if (fc_now == FC_RESUMING || fc_now == FC_LIMITING) {
        fc_save_next = true;
        return 0;
    }

    return fc_now == FC_IDLE ? save_begin() : -1;
}


void
fc_resume(void)
{
    fc_plan  plan;

    fc_plan_resume(&plan);
    do_begin(FC_RESUMING, &plan);
}


void
fc_rate(uint64_t bytes)
{
    if (bytes == 0 && !fc_rated) {
        fc_rate_next = false;
        return;
    }

    fc_rated = true;
    fc_rate_bytes = bytes;
    fc_rate_next = true;

    if (fc_now == FC_IDLE && !fc_stands) {
        (void) idle_next();
    }
}


int
fc_connect(void)
{
    return vm_hybrid_connect(FC_VSOCK);
}
