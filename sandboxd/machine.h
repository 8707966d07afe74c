/*
 * The driver of virtual machines: what is different about its boxes (box.h).
 * Each machine has a keeper (vm.h), which is the process that the lifecycle
 * knows; what runs it is a VMM (vmm.h).
 *
 *   machine.c         the driver object
 *   machine_channel.c  how its agent is reached
 *   machine_size.c    how large a machine is
 *   machine_launch.c  start: directory, lock, disk, group, the keeper
 *   machine_kept.c    whose memory it was that sleep has kept
 *   machine_start.c   start: the order of its steps, the boot object
 *   machine_pool.c    machines that are nobody's yet
 *   machine_copy.c    a copy of a machine's files
 *   machine_clone.c   a sandbox from another one
 *   machine_template.c  starts that don't boot
 *   machine_rate.c    how fast its network may be
 *   machine_stop.c    the end of a machine and of its files; what it uses
 */

#ifndef SANDBOXD_MACHINE_H
#define SANDBOXD_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "sandboxd/box.h"
#include "sandboxd/vmm.h"

#define MACHINE_MEMORY_MIN  (96ull << 20)   /* Debian's kernel starts with it */
#define MACHINE_MEMORY      (512ull << 20)
#define MACHINE_DISK        (10ull << 30)   /* sparse */
#define MACHINE_DISK_MIN    (64ull << 20)

#define MACHINE_COPIES_MAX  2               /* at once */

/* Of the machine that a template is made of: no record has it. */
#define MACHINE_TEMPLATE_SLOT  0xffffffffu

/* What those are called that are nobody's, as no sandbox can be. */
#define MACHINE_TEMPLATE  "TEMPLATE"
#define MACHINE_PREPARED  "PREPARED"

#define MACHINE_WARM_MS   30000             /* for a first command */
#define MACHINE_AGAIN_MS  15000             /* for an agent that goes on to take
                                               its name, at least */
#define MACHINE_CODE_MS   90000             /* for interpreters; the agent has
                                             * a lower bound */

/* Users without a name: of the VMM and of its keeper.  What one of them breaks
 * out of, the other doesn't share, nor another sandbox's. */
#define MACHINE_UID_VMM     0x7f000000u
#define MACHINE_UID_KEEPER  0x7f400000u
#define MACHINE_UID_AID     0x7f800000u     /* of a program beside the VMM */
#define MACHINE_UID_MASK    0x003fffffu

typedef struct machine_build  machine_build;

typedef struct {
    box_driver   base;              /* first */
    const vmm   *vmm;
    bool         memory;            /* sleep keeps it */
    const char  *program;
    const char  *aid;               /* the program beside it; NULL: none */
    char        *kernel;
    char        *initramfs;
    bool         kvm;
    bool         acpi;              /* its kernel finds devices with it */
    unsigned     cpus;              /* of the host */
    unsigned     copies;            /* that are being made */
    unsigned     starting;          /* not those of templates */
    char        *templates;         /* their directory */
    uint64_t     initramfs_hash;    /* of what is in it: the agent, modules */
    machine_build  *build;          /* of a template; NULL: none */
} machine_driver;

typedef struct {
    box            base;                    /* first */
    int            owner;   /* of one that was prepared: to tell its keeper; */
    unsigned       image;   /* and what it is */
    driver_limits  limits;
    char           key[33];
    char           word[VM_END_MAX];
} machine_box;

/* What a start needs from the host; the work fills it. */
typedef struct {
    /* in */
    const machine_driver  *m;
    uint32_t               slot;
    unsigned               image;
    driver_limits          limits;
    char                   key[33];
    char                  *boot;    /* the boot object */
    uint64_t               timeout_ms;      /* of the start; 0: none */

    uint64_t               kind;    /* of template that fits, if one may */
    bool                   templated;       /* it goes on from that; */
    bool                   booted;          /* or could have */
    bool                   forget;  /* what was kept is of no use */
    bool                   unused;  /* it is nobody's yet */
    bool                   first;   /* as in the driver_spec */

    /* out; the descriptors are the caller's, whether it failed or not */
    bool                   again;   /* it goes on with a memory, */
    bool                   own;     /* which its own sleep has kept */
    bool                   unfit;   /* that was kept, but of another machine */
    uint32_t               cid;     /* it is reached at; 0: at none */
    int                    lock;
    int                    log;
    int                    pidfd;
    int                    owner;   /* of one that is nobody's: to tell it */
    pid_t                  pid;     /* 0: there is no keeper */
    uint64_t               start_time;
    bool                   owned;   /* the lock is ours and nobody runs */
} machine_launch;

/* machine_launch.c: err is set if it failed. */
void machine_launch_init(machine_launch *l);
void machine_launch_work(machine_launch *l, error **err);
/* What the machine would say last if its memory was kept now. */
int machine_launch_word(const machine_launch *l, char word[VM_END_MAX]);

/* machine_kept.c: what a machine says last when its memory was kept, which
 * tells which machine it was, and what its agent's key; and the memory's files
 * if the last word of the directory is that of such a machine (-1: it isn't).
 * No machine goes on twice: who makes use of it has to make that word invalid,
 * and to put the mark of this boot behind it before. */
#define MACHINE_KEPT  "asleep "

void machine_kept_word(const machine_launch *l, const char *args, size_t len,
    const char *image, char word[VM_END_MAX]);
int machine_kept_open(int dir, const char *word, const char *boot_id,
    char former[33], int *state);
/* Is there one at all, whosever it is? */
bool machine_kept_any(int dir);
void machine_kept_mark(const char *boot_id, char mark[VM_WOKEN_MAX]);
/* For a VMM that opens by names: what was found is called VMM_KEPT from here
 * on, else it is removed. */
void machine_kept_rename(int dir, bool found);
/* What was called so for a keeper that has not come to it is what it was. */
void machine_kept_back(int dir);
/* Are they words of the same machine, whatever its key was? */
bool machine_kept_same(const char *a, const char *b);
/* Of machines that could go on from the same template: with the same word, disk
 * and initramfs. */
uint64_t machine_kept_kind(const char *word, uint64_t disk,
    uint64_t initramfs);
/* Of the file, not of what it is called; a path to begin with. */
uint64_t machine_identity(uint64_t hash, const char *path);
/* Of what is in the file. */
int machine_file_hash(const char *path, uint64_t *hash, error **err);

/* machine_template.c: makes the directory, removes what is too much. */
int machine_templates_open(machine_driver *m, error **err);
/* The memory of a template, whose disk is the machine's then; -1: it boots. */
int machine_template_find(machine_launch *l, int dir, const char *word,
    char former[33], int *state);
/* A machine couldn't go on from it. */
void machine_template_drop(const machine_launch *l);
/* A start has come to a good end: makes the template that it had missed. */
void machine_template_want(const machine_launch *l);
void machine_template_abandon(box_driver *bd);

/* machine_channel.c: the VMM of this driver that this host's options mean;
 * NULL: that can't be had, error set. */
const vmm *machine_channel_choose(const driver_host *host, const char *name,
    error **err);
/* A cid of the host's that nobody has, for as long as the descriptor is open;
 * -1: error set.  It is noted in the directory, and found there. */
int machine_cid_take(uint32_t slot, int dir, uint32_t *cid, error **err);
uint32_t machine_cid_noted(int dir);

/* machine_size.c: the limits of a machine, those of the spec or of the driver;
 * fails where one of the spec can't be had. */
int machine_limits(const machine_driver *m, const driver_spec *spec,
    driver_limits *l, error **err);
/* How many processors a guest has for what its sandbox may use; a machine
 * without KVM starts the faster the fewer they are. */
unsigned machine_cpus(double cpu, bool kvm, unsigned host);

/* machine_copy.c: makes the directory `to` from that of a machine, which runs
 * or must not be started meanwhile; nothing if there is none.  *memory: the
 * machine goes on from it.  floor: bytes of disk that stay free.  -1: error
 * set, and there may be a part of it. */
int machine_copy(const char *from, bool running, const char *to,
    uint64_t floor, bool *memory, error **err);
int machine_dir_remove(const char *path, error **err);
struct sockaddr_un;
void machine_socket_address(int dir, const char *name, struct sockaddr_un *at);

/* machine_clone.c: member of the driver. */
void machine_clone_run(driver *d, uint32_t from, uint32_t to, driver_slept cb,
    void *data);

/* machine_start.c */
void machine_start_run(driver *d, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);
bool machine_start_again(box_start *base, const char *why);
uint64_t machine_again_ms(const machine_launch *l);
void machine_start_end(box_start *base);

/* machine_pool.c: members of the driver; the first command in a machine; a
 * key of nobody's. */
void machine_prepare_run(driver *d, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data);
bool machine_prepared(driver *d, const driver_spec *spec);
bool machine_start_answered(box_start *base);
void machine_agent_warm(box_driver *bd, uint32_t slot, const char *key,
    void (*cb)(void *data, int status, json_t *result), void *data);
/* Its interpreters: of a machine that will be copied, all that can be had
 * before cb; else they are only begun. */
void machine_agent_code(box_driver *bd, uint32_t slot, const char *key,
    bool copies, void (*cb)(void *data, int status, json_t *result),
    void *data);
void machine_key_make(char key[33]);

/* machine_rate.c: member of the driver. */
void machine_rate_run(driver *d, uint32_t slot, uint64_t rate);

/* machine_stop.c: members of box_ops and of the driver. */
void machine_clean(box *b);
bool machine_kills(box_driver *bd, uint32_t slot, driver_kills *kills);
void machine_destroy(box_stop *base);
void machine_sweep_remove(box_driver *bd, uint32_t slot);
void machine_stats_run(driver *d, uint32_t slot, driver_measured cb,
    void *data);

#endif
