/*
 * A VMM: what is different between the programs that run virtual machines.
 * The driver (machine.h) and the keeper (vm.h) drive any of them; the first
 * half of the table is the driver's, in sandboxd, the second the keeper's, in
 * a process of its own for each machine.
 *
 *   vmm.c            which there are
 *   fc.h             Firecracker, fc*.c
 *   qemu.c           QEMU: its table, and what the driver asks
 *   qemu_args.c      its arguments
 *   qemu_probe.c     does KVM run guests with it here?
 *   qemu_monitor.c   what the keeper tells it
 *   qemu_vsock.c     what is different where its agents are reached by vsock
 */

#ifndef SANDBOXD_VMM_H
#define SANDBOXD_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "sandboxd/vm.h"

typedef struct vmm  vmm;

/* One machine, as its VMM's arguments are made of. */
typedef struct {
    const char  *program;
    const char  *name;          /* for those who look at processes */
    bool         kvm;
    uint64_t     memory;        /* bytes, whole MiB */
    unsigned     cpus;
    uint64_t     disk_rate;     /* of its disk, bytes and */
    uint64_t     disk_ops;      /* requests a second; 0: no limit */
    bool         again;         /* it goes on from what was kept of it */
    bool         acpi;          /* its kernel finds its devices with it */
    unsigned     tsc_khz;       /* of an emulated one; 0: not known, or not to
                                   be trusted */
    uid_t        uid;           /* as which it runs; 0: any, it isn't run */
    uint32_t     cid;           /* where it has one of the host's */
    const char  *aid;           /* the program beside the VMM, if it has one */
} vmm_machine;

/* With what a VMM is tried. */
typedef struct {
    const char  *program;
    const char  *kernel;
    const char  *initramfs;
} vmm_trial;

/* What a VMM's monitor has said. */
typedef enum {
    VMM_NOTHING,
    VMM_SAVED,                  /* the machine stands still and is in its
                                   files */
    VMM_NOT_SAVED,              /* it couldn't be; it runs on, or is broken */
    VMM_LOADED,                 /* what was kept is in it; it stands still, */
    VMM_GOES_ON,                /* or doesn't */
    VMM_BROKEN,                 /* nothing can be asked for any more */
    VMM_FAILED                  /* it doesn't start; the error says why */
} vmm_news;

/* What was kept of a machine whose VMM has a jailer is called so, beside its
 * disk, until it is in the jail. */
#define VMM_KEPT        "kept"
#define VMM_KEPT_STATE  "kept-state"

struct vmm {
    const char  *name;          /* in an order */
    const char  *driver;        /* "qemu" */
    const char  *dir;           /* of its machines, below the state directory */
    const char  *program;       /* the usual place */
    const char  *package;       /* who has it: "Debian's package ..." */
    bool         memory;        /* a machine's can be kept in files */
    bool         emulates;      /* it can do without KVM */
    bool         jailer;        /* it is started by a program that is root, and
                                   makes the VMM's jail, devices and user; the
                                   VMM opens all by names */
    const char  *channel;       /* to the agent: "tap", "vsock", ... */
    bool         cid;           /* which is a cid of the host's, with the
                                   device that has it at VM_FD_VSOCK */
    const char  *modules;       /* a directory of the kernel's, with those that
                                   the guest needs for that; NULL: none */
    unsigned     connections;   /* to the agent, at most; 0: as many as the
                                   keeper has descriptors for */
    uint64_t     overhead_kvm;  /* bytes on the host, beside the guest's */
    uint64_t     overhead_emulated;

    /*
     * The driver's half; what blocks runs in the thread pool, or when the
     * driver is made.
     */

    /* Why it can't be used here, beside what every VMM needs; NULL: there is
     * nothing more. */
    int (*check)(const vmm_trial *t, error **err);
    /* Does a guest run with KVM here?  Blocks for some seconds at most.
     * NULL: where there is /dev/kvm it does. */
    bool (*probe_kvm)(const vmm_trial *t);
    /* argv, as strings each ended by a zero; -1 if they don't fit. */
    int (*args)(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
        uint32_t *len);

    /*
     * The keeper's half.  Its descriptors are those of vm.h; one machine per
     * process, so that what is to be remembered may be static.
     */

    /* Still root and in the jail's new root, which is the current directory
     * and will be read-only: what the VMM has to see beside its programs,
     * the devices, VM_KERNEL and VM_INITRAMFS.  NULL: nothing. */
    int (*jail)(const vm_order *order, error **err);
    /* Before the VMM starts: makes VM_FD_MONITOR, which it inherits, if it
     * needs that.  NULL: nothing. */
    int (*open)(const vm_order *order, error **err);
    /* The VMM has been started.  Tells it what it isn't told by arguments,
     * from now on by events; returns a descriptor for the keeper's epoll set,
     * or -1: error set.  The keeper is no longer root.  One that goes on gets
     * what is in VM_FD_KEPT and VM_FD_KEPT_STATE. */
    int (*begin)(const vm_order *order, error **err);
    /* The descriptor can be read, or is broken. */
    vmm_news (*event)(error **err);
    /* Stops the machine and writes it to VM_FD_MEMORY and VM_FD_STATE, from
     * their beginning; event() says when it is there.  -1: it can't be. */
    int (*save)(void);
    /* It goes on after that. */
    void (*resume)(void);
    /* Its network may send and receive so many bytes a second; 0: as it can.
     * Comes at any time after begin().  NULL: it has no limits of its own. */
    void (*rate)(uint64_t bytes);
    /* A connection to the agent's port in the guest, being made; -1: errno.
     * NULL: TCP over the TAP. */
    int (*connect)(void);
    /* It can be read: 1: it is made; 0: not yet; -1: it won't be.  NULL: the
     * kernel says so by itself. */
    int (*connected)(int fd);
    /* A process of the keeper's that is not the VMM has ended: what the
     * machine ends for, if it was one that it needs.  NULL: there is none. */
    const char *(*ended)(pid_t pid, int status);
};

/* vm_process.c: starts the VMM, whose console is read from *console. */
pid_t vm_process_start(const vmm *kind, vm_order *order, int *console,
    error **err);

/* vm_save.c, for the keeper's loop: the machine is to sleep, and ends; it is to
 * stop, and has to run for that. */
int vm_save_open(const vmm *kind, const vm_order *order, int epoll);
void vm_save_sleep(void);
void vm_save_stop(void);
bool vm_save_sleeping(void);
/* false: the VMM will say nothing more. */
bool vm_save_news(vmm_news news);
/* false: not one of its pointers. */
bool vm_save_event(void *ptr);

/* vm_rate.c: before the jail; then with the keeper's loop. */
int vm_rate_open(const vmm *kind, const vm_order *order, error **err);
void vm_rate_watch(int epoll);
/* false: not its pointer. */
bool vm_rate_event(void *ptr);

extern const vmm  vmm_qemu;
extern const vmm  vmm_qemu_vhost_user;
extern const vmm  vmm_qemu_vhost;
extern const vmm  vmm_firecracker;

/* NULL: there is none of this name; of this driver and channel (NULL: its
 * first one). */
const vmm *vmm_find(const char *name);
const vmm *vmm_of(const char *driver, const char *channel);

#endif
