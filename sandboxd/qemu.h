/*
 * The qemu driver's inside: sandboxes as virtual machines of QEMU's microvm
 * kind, each with a keeper (vm.h), which is the process that the lifecycle
 * knows.  One "box" per sandbox that is starting, running or ending; all runs
 * on the event loop's thread, but what is named *_work.
 *
 *   qemu.c         the driver object, the table of boxes, adoption
 *   qemu_args.c    QEMU's arguments
 *   qemu_probe.c   does KVM run guests here?
 *   qemu_launch.c  start: directory, lock, disk, group, the keeper
 *   qemu_kept.c    whose memory it was that sleep has kept
 *   qemu_start.c   start: the order of its steps, the deadline
 *   qemu_box.c     a box's end: cleaning up, who is told
 *   qemu_stop.c    stop and destroy; what a sandbox uses
 *   qemu_sweep.c   what an earlier sandboxd has left
 */

#ifndef SANDBOXD_QEMU_H
#define SANDBOXD_QEMU_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/error.h"
#include "sandboxd/agent_log.h"
#include "sandboxd/agent_socket.h"
#include "sandboxd/cgroup.h"
#include "sandboxd/driver.h"
#include "sandboxd/slot_lock.h"
#include "sandboxd/vm.h"

#define QEMU_BUCKETS       1024
#define QEMU_PATH          4200
#define QEMU_MEMORY_MIN    (96ull << 20)    /* Debian's kernel starts with it */
#define QEMU_MEMORY        (512ull << 20)
#define QEMU_DISK          (10ull << 30)    /* sparse */
#define QEMU_DISK_MIN      (64ull << 20)

/* Users without a name: of the VMM and of its keeper.  What one of them breaks
 * out of, the other doesn't share, nor another sandbox's. */
#define QEMU_UID_VMM       0x7f000000u
#define QEMU_UID_KEEPER    0x7f400000u
#define QEMU_UID_MASK      0x003fffffu

#define QEMU_WHY_MAX       (VM_END_MAX + 64)

typedef struct qemu_driver  qemu_driver;
typedef struct qemu_box     qemu_box;
typedef struct qemu_start   qemu_start;
typedef struct qemu_stop    qemu_stop;

typedef enum {
    QEMU_STARTING,
    QEMU_RUNNING,
    QEMU_STOPPING,          /* it has been told to end */
    QEMU_CLEANING           /* the keeper is gone, or never was */
} qemu_state;

struct qemu_box {
    qemu_driver  *q;
    qemu_box     *next;     /* in its bucket */
    uint32_t      slot;
    qemu_state    state;
    bool          reported; /* the lifecycle knows of it: tell its end */
    bool          watched;  /* the handle below is open */
    bool          foreign;  /* somebody else's run: touch nothing of it */
    int           status;
    pid_t         pid;
    uint64_t      start_time;
    int           pidfd;
    int           lock;     /* holds flock() on its directory's lock file */
    char          why[QEMU_WHY_MAX];
    bool          kept;     /* its memory was, when it ended */
    agent_log    *log;
    qemu_start   *start;    /* what goes on */
    qemu_stop    *stop;
    uv_poll_t     exit;
    uv_work_t     work;
};

struct qemu_driver {
    driver         d;               /* first */
    driver_host    host;
    cgroup_host   *cg;
    char          *machines;        /* <state_dir>/machines */
    char          *sockets;         /* <run_dir>/s */
    char          *kernel;
    char          *initramfs;
    const char    *qemu;
    bool           kvm;
    unsigned       cpus;            /* of the host */
    char           boot_id[BOOT_ID_SIZE];
    unsigned       held;            /* operations that free() waits for */
    bool           freed;
    qemu_box      *boxes[QEMU_BUCKETS];
};

/* What a start needs from the host; the work fills it. */
typedef struct {
    /* in */
    const qemu_driver  *q;
    uint32_t            slot;
    unsigned            image;
    driver_limits       limits;
    char                key[33];
    char               *boot;       /* the boot object */

    /* out; the descriptors are the caller's, whether it failed or not */
    bool                again;      /* it goes on with its memory */
    int                 lock;
    int                 log;
    int                 pidfd;
    pid_t               pid;        /* 0: there is no keeper */
    uint64_t            start_time;
    bool                owned;      /* the lock is ours and nobody runs */
    error              *err;
} qemu_launch;

/* qemu.c */
qemu_box *qemu_box_find(qemu_driver *q, uint32_t slot);
qemu_box *qemu_box_add(qemu_driver *q, uint32_t slot);
/* Between the two, the driver isn't freed. */
void qemu_hold(qemu_driver *q);
void qemu_release(qemu_driver *q);
void qemu_socket_path(const qemu_driver *q, uint32_t slot, char *path,
    size_t size);
/* Of a sandbox's directory, or of a file in it. */
void qemu_path(const qemu_driver *q, uint32_t slot, const char *name,
    char *path, size_t size);

/* qemu_probe.c: blocks for some seconds at most. */
bool qemu_probe_kvm(const qemu_driver *q);

/* qemu_launch.c */
void qemu_launch_work(qemu_launch *l);

/* qemu_kept.c: what a machine says last when its memory was kept, which tells
 * which machine it was, and what its agent's key; and the memory's file if
 * the last word of the directory is that of such a machine (-1: it isn't).
 * What is opened is gone: no machine goes on twice. */
#define QEMU_KEPT  "asleep "

void qemu_kept_word(const qemu_launch *l, const char *args, size_t len,
    const char *image, char word[VM_END_MAX]);
int qemu_kept_open(int dir, const char *word, char former[33]);

/* qemu_start.c */
void qemu_start_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data);
/* The box is gone before the agent has answered. */
void qemu_start_ended(qemu_start *s, const char *why);

/* qemu_box.c */
/* pidfd is the box's from here on. */
int qemu_box_watch(qemu_box *box, pid_t pid, uint64_t start_time, int pidfd);
void qemu_box_signal(qemu_box *box, int signo);
/* Removes the group and the socket, unlocks; then tells whom it concerns and
 * forgets the box. */
void qemu_box_clean(qemu_box *box);

/* qemu_stop.c */
void qemu_sleep_run(driver *d, uint32_t slot, uint64_t timeout_ms,
    driver_slept cb, void *data);
void qemu_stop_run(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data);
void qemu_destroy_run(driver *d, uint32_t slot, driver_done cb, void *data);
/* The box is gone. */
void qemu_stop_ended(qemu_stop *s, bool kept);
void qemu_stats_run(driver *d, uint32_t slot, driver_measured cb, void *data);
/* Removes a sandbox's directory; nothing in it was written to by a guest as
 * files.  -1: error set. */
int qemu_dir_remove(const qemu_driver *q, uint32_t slot, error **err);

/* qemu_sweep.c */
void qemu_sweep_run(driver *d, bool (*keep)(void *data, uint32_t slot,
    bool *running), void *data);

#endif
