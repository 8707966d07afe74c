/*
 * What the drivers of sandboxes on this host have in common: one "box" per
 * sandbox that is starting, running or ending, found by its slot, and the
 * operations on it.  A driver's structures begin with those of this file, and
 * it says in its box_ops what is different about its boxes.  Everything runs on
 * the event loop's thread, except what is named *_work and the members of
 * box_ops that say so.
 *
 *   box.c          the table of boxes, adoption, the end of the driver
 *   box_end.c      a box's end: exit status, cleaning up, who is told
 *   box_dir.c      directories, locks, paths
 *   box_start.c    start: what a thread is at, the deadline, the first answer
 *   box_stop.c     stop, sleep and destroy
 *   box_kills.c    what of it the kernel has ended for want of memory
 *   box_sweep.c    what an earlier sandboxd has left
 */

#ifndef SANDBOXD_BOX_H
#define SANDBOXD_BOX_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/error.h"
#include "sandboxd/agent_log.h"
#include "sandboxd/agent_probe.h"
#include "sandboxd/agent_socket.h"
#include "sandboxd/cgroup.h"
#include "sandboxd/driver.h"
#include "sandboxd/slot_lock.h"

#define BOX_BUCKETS   4096
#define BOX_PATH      4200
#define BOX_WHY_MAX   264

typedef struct box_driver  box_driver;
typedef struct box         box;
typedef struct box_start   box_start;
typedef struct box_stop    box_stop;
typedef struct box_kills   box_kills;

/* A start from the beginning. */
typedef void (*box_fresh)(driver *d, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);

typedef enum {
    BOX_STARTING,
    BOX_PREPARED,           /* it runs and waits for whose it is */
    BOX_RUNNING,
    BOX_STOPPING,           /* it has been told to end */
    BOX_CLEANING            /* its process is gone, or never was */
} box_state;

typedef struct {
    uint32_t  *slots;
    size_t     count, size;
} box_slots;

/* Members may be NULL where nothing is different. */
typedef struct {
    size_t       box_size;      /* 0: there is nothing but the box */
    size_t       stop_size;

    /* What is not zero in a new one. */
    void (*box_init)(box *b);

    /* The end of a run, in the thread pool, before its socket, its group and
     * its line in the lock file are removed. */
    void (*clean)(box *b);
    /* What the kernel has ended of a run of the slot's, of which the files and
     * the group are still there; anywhere.  And what to wait for, to look
     * again (see cgroup_kills_watch()); NULL: the agent's log is enough. */
    bool (*kills)(box_driver *bd, uint32_t slot, driver_kills *kills);
    int (*kills_watch)(box *b, bool *urgent);
    /* What its structure holds beside the box. */
    void (*box_free)(box *b);

    /* Takes back what has been done for a start, but for its process; true:
     * the rest comes back by itself, through box_start_worked() or a driver's
     * own box_clean(). */
    bool (*start_abort)(box_start *s);
    /* What a start that is late was at; NULL: what box_start.c knows. */
    const char *(*start_where)(const box_start *s);
    /* Its agent has answered: true if there is more to do, before
     * box_start_done(). */
    bool (*start_answered)(box_start *s);
    /* Its box has ended without an error that was known before: true if it
     * has begun anew. */
    bool (*start_again)(box_start *s, const char *why);
    /* A start's or a stop's end: frees what its structure holds.  Handles of
     * its own are closed with box_start_closed() or box_stop_closed(), after
     * they were counted in `closing`. */
    void (*start_end)(box_start *s);
    void (*stop_end)(box_stop *s);

    /* Nothing runs: deletes all that is the sandbox's; ends with
     * box_stop_finish(). */
    void (*destroy)(box_stop *s);

    /* A sweep, which may block: looks for more slots; an entry in the
     * directory of the boxes that is no slot; ends what else may run; deletes
     * a directory. */
    void (*sweep_find)(box_driver *bd, box_slots *found);
    void (*sweep_other)(box_driver *bd, const char *name);
    void (*sweep_kill)(box_driver *bd, uint32_t slot);
    void (*sweep_remove)(box_driver *bd, uint32_t slot);
    void (*sweep_end)(box_driver *bd);

    /* Before, and when nothing is with it any more. */
    void (*abandon)(box_driver *bd);
    void (*driver_free)(box_driver *bd);
} box_ops;

struct box_driver {
    driver          d;              /* first */
    const box_ops  *ops;
    driver_host     host;
    cgroup_host    *cg;
    const char     *kind;           /* the name of the boxes' directory, */
    mode_t          mode;           /* and its mode */
    char           *dirs;           /* <state_dir>/<kind> */
    char           *sockets;        /* <run_dir>/s */
    char            boot_id[BOOT_ID_SIZE];
                                    /* pids mean nothing in another boot */
    unsigned        held;           /* operations that free() waits for */
    bool            freed;
    box            *boxes[BOX_BUCKETS];
};

struct box {
    box_driver  *bd;
    const box_ops  *ops;    /* lives longer than the driver */
    box         *next;      /* in its bucket */
    uint32_t     slot;
    box_state    state;
    bool         reported;  /* the lifecycle knows of it: tell its end */
    bool         child;     /* its status may come a moment later */
    bool         watched;   /* the handles below are open */
    bool         foreign;   /* somebody else's run: touch nothing of it */
    bool         unused;    /* it was prepared, and is nobody's yet */
    bool         kept;      /* its memory was, when it ended */
    int          retries;
    int          status;    /* a wait status; -1: not known */
    char         why[BOX_WHY_MAX];  /* what clean() found out about its end */
    pid_t        pid;       /* 0: there was no process */
    uint64_t     start_time;
    int          pidfd;
    int          lock;      /* holds flock() on its directory's lock file */
    agent_log   *log;       /* what its agent says; NULL: not known */
    box_kills   *kills;     /* NULL: they aren't looked for */
    driver_kills  killed;   /* at its end */
    box_start   *start;     /* what goes on */
    box_stop    *stop;
    uv_poll_t    exit;
    uv_timer_t   retry;
    uv_work_t    work;
    unsigned     closing;
};

struct box_start {
    box_driver      *bd;
    box             *box;       /* NULL: there is none, or it has ended */
    uint32_t         slot;
    driver_started   cb;
    void            *data;
    error           *err;       /* the reason, once there is one */
    error           *work_err;  /* for what is in the thread pool */
    char             key[40];
    bool             working;   /* in the thread pool */
    bool             weak;      /* err may follow from the agent's end */
    bool             forgot;    /* as in the driver_handle */
    uint64_t         deadline;  /* 0: none */
    agent_probe     *probe;
    void           (*work_run)(box_start *s);
    void           (*work_done)(box_start *s);
    uv_work_t        work;
    uv_timer_t       timer;
    unsigned         closing;
};

struct box_stop {
    box_driver   *bd;
    box          *box;
    uint32_t      slot;
    bool          destroy;
    bool          kept;         /* its memory was */
    driver_done   cb;           /* NULL once it has run */
    driver_slept  slept;        /* instead of cb */
    void         *data;
    error        *err;
    void        (*work_run)(box_stop *s);
    void        (*work_done)(box_stop *s);
    uv_work_t     work;
    uv_timer_t    timer;
    unsigned      closing;
};

/* box.c */
/* Fills in what is common of a zeroed driver, and makes its directories; the
 * caller frees it with box_driver_destroy() if it can't be used. */
int box_driver_init(box_driver *bd, const driver_host *host,
    const box_ops *ops, const char *kind, mode_t mode, error **err);
void box_driver_destroy(box_driver *bd);
/* The same directories always have the same groups. */
void box_driver_groups(box_driver *bd);
/* What would make every start fail: directories that can't be written. */
int box_driver_health(box_driver *bd, error **err);
/* Between the two, the driver isn't freed. */
void box_hold(box_driver *bd);
void box_release(box_driver *bd);
box *box_find(box_driver *bd, uint32_t slot);
box *box_add(box_driver *bd, uint32_t slot);

/* box_dir.c */
void box_slot_name(uint32_t slot, char name[9]);
void box_socket_path(const box_driver *bd, uint32_t slot, char *path,
    size_t size);
/* Of a box's directory, or of a file in it. */
void box_path(const box_driver *bd, uint32_t slot, const char *name,
    char *path, size_t size);
/* Makes a directory of ours, with this mode whatever the umask is. */
int box_dir_make(const char *path, mode_t mode, error **err);
/* Opens a box's directory, which is made if there is none; fails if the slot
 * has one of another kind. */
int box_dir_open(const box_driver *bd, uint32_t slot, error **err);
/* Locks it: the descriptor is in *lock then, whether it fails or not.  *owned:
 * nobody runs in it. */
int box_lock_take(const box_driver *bd, int dir, int *lock, bool *owned,
    error **err);
/* A member of the driver. */
bool box_disk(driver *d, uint32_t slot, uint64_t *size);
/* What the file is called that bounds the writable layer: its size. */
void box_disk_stats(const box_driver *bd, uint32_t slot, driver_stats *stats);
/* From errno: what there is no room for isn't a fault. */
int box_failed(error **err, const char *what);

/* box_end.c */
/* pidfd is the box's from here on. */
int box_watch(box *b, pid_t pid, uint64_t start_time, int pidfd);
void box_signal(box *b, int signo);
/* Removes the group and the socket, unlocks; then tells whom it concerns and
 * forgets the box. */
void box_clean(box *b);

/* box_kills.c */
/* Its agent's log (-1: there is none), and the kernel. */
void box_listen(box *b, int log);
/* Soon, whether there is a sign of any or not. */
void box_kills_look(box *b);
void box_kills_end(box *b);
/* Blocks: at the end of a run; true: there were some. */
bool box_kills_take(box_driver *bd, uint32_t slot, driver_kills *kills);
void box_kills_tell(box_driver *bd, uint32_t slot, const driver_kills *kills);

/* box_start.c */
/* s is zeroed and may be the beginning of a larger one; it is freed with the
 * start's end.  Holds the driver. */
void box_start_init(box_start *s, box_driver *bd, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);
/* Makes the slot's box; false: it has one. */
bool box_start_box(box_start *s);
/* From here on there is something to be ended in time; again after a box has
 * taken the place of another. */
void box_start_deadline(box_start *s);
/* In the thread pool, unless there is an error already; then done(), in any
 * case later than now, if there still is a box and no error (work_err becomes
 * one): else the start is taken back. */
void box_start_work(box_start *s, void (*run)(box_start *s),
    void (*done)(box_start *s));
/* Its process; false: it is being ended. */
bool box_start_process(box_start *s, pid_t pid, uint64_t start_time,
    int pidfd);
/* Takes back what has been done so far. */
void box_start_abort(box_start *s);
/* The agent has all that it needs: its first answer ends the start. */
void box_start_probe(box_start *s);
/* The end: it runs; or it is nobody's yet, and waits for whose it is. */
void box_start_done(box_start *s, bool unused);
/* One that was prepared, but for something else: ends it, and deletes its
 * files, then starts the slot by fresh(). */
void box_replace(box *b, bool files, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data, box_fresh fresh);
/* The box is gone before the agent has answered. */
void box_start_ended(box_start *s, int status, const char *why);
void box_start_closed(uv_handle_t *handle);

/* box_stop.c */
/* Members of the driver. */
void box_stop_run(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data);
/* SIGUSR1 asks the process to keep what it can and to end. */
void box_sleep_run(driver *d, uint32_t slot, uint64_t timeout_ms,
    driver_slept cb, void *data);
void box_destroy_run(driver *d, uint32_t slot, driver_done cb, void *data);
/* One that nobody waits for, and of no box. */
box_stop *box_stop_create(box_driver *bd, uint32_t slot, driver_done cb,
    void *data);
/* In the thread pool; then done(), or, if that is NULL, the end. */
void box_stop_work(box_stop *s, void (*run)(box_stop *s),
    void (*done)(box_stop *s));
/* The box is gone. */
void box_stop_ended(box_stop *s, bool kept);
/* Tells who waits, before the end; once. */
void box_stop_tell(box_stop *s);
void box_stop_finish(box_stop *s);
void box_stop_closed(uv_handle_t *handle);

/* box.c, box_sweep.c: members of the driver. */
bool box_adopt(driver *d, uint32_t slot, const driver_handle *handle);
void box_sweep_run(driver *d, driver_slot_use use, void *data);
void box_free_run(driver *d);

/* box_sweep.c */
void box_slot_add(void *list, uint32_t slot);
bool box_slot_parse(const char *name, uint32_t *slot);
/* Kills it if it still is that process, and waits for its end; not before that
 * many ms, in which it may end by itself. */
void box_kill_wait(const box_driver *bd, pid_t pid, uint64_t start_time,
    int patience);

#endif
