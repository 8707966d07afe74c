/*
 * The keeper of a virtual machine: a process of ours for each, the first of a
 * pid namespace, in which it starts the VMM and with which that ends, however
 * either does.  It outlives sandboxd.  In a network namespace that holds
 * nothing but the machine's TAP, it carries bytes between the agent's socket,
 * which sandboxd has made, and the agent's port in the guest, which nobody
 * else can reach.  Everything that it has made goes with it.
 *
 *   vm_main.c     its loop: signals, the VMM's end, when the agent is ready
 *   vm_process.c  the VMM as a process
 *   vm_jail.c     what VMM and keeper see of the host's files
 *   vm_net.c      the TAP and its addresses
 *   vm_ram.c      the guest's memory as a file, where its VMM has it so
 *   vm_again.c    a machine that goes on with its memory
 *   vm_owner.c    a machine that was started before anybody asked for it
 *   vm_forward.c  connections to the agent
 *   vm_vsock.c    how they are made where they don't go over the TAP
 *   vm_console.c  what the guest says on its console
 *   vm_save.c     keeping the machine in files: sleep, and copies
 *   vm_rate.c     how fast its network may be
 *   vm_ask.c      what the agent is asked for by the keeper itself
 *
 * What it is told comes through descriptors, as below, of which the order is
 * read to its end: it comes when the process is in its groups.
 */

#ifndef SANDBOXD_VM_H
#define SANDBOXD_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/* argv[0]; sandboxd starts itself anew under this name. */
#define VM_NAME           "sandboxd-vm"

/* Descriptors at its start. */
#define VM_FD_CONSOLE     1         /* a file: what the guest said last */
#define VM_FD_LOG         2         /* lines for sandboxd's log */
#define VM_FD_LISTEN      3         /* the agent's socket */
#define VM_FD_ORDER       4         /* once it is read: VM_KILLS */
#define VM_FD_END         5         /* a file: why it has ended */
#define VM_FD_BOOT        6         /* the boot object, for the VMM */
#define VM_FD_ROOT        7         /* the image, for the VMM */
#define VM_FD_DISK        8         /* the disk, for the VMM */
#define VM_FD_MEMORY      9         /* files: what sleep keeps, as its VMM */
#define VM_FD_STATE       10        /* makes use of them */
#define VM_FD_KEPT        11        /* what it goes on from, or null; may be */
#define VM_FD_KEPT_STATE  12        /* the same files */
#define VM_FD_CONTROL     13        /* listens: who wants a copy */
#define VM_FD_VSOCK       14        /* for the VMM: /dev/vhost-vsock; or what
                                       its open() puts there */
#define VM_FD_OWNER       15        /* says whose it is, one that is nobody's */
#define VM_FDS            16
#define VM_FD_TAP         16        /* for the VMM, made here */
#define VM_FD_MONITOR     17        /* the same, if it has one: its end */
#define VM_FD_LAST        VM_FD_MONITOR

#define VM_PATH_MAX       4096
#define VM_ARGS_MAX       128
#define VM_TEXT_MAX       32768     /* of the VMM's arguments */
#define VM_BOOT_MAX       (1024 * 1024)
#define VM_END_MAX        200
#define VM_WHY_MAX        256
#define VM_WOKEN_MAX      64

#define VM_TAP            "tap0"
#define VM_HOST_ADDRESS   "10.0.0.1"
#define VM_GUEST_ADDRESS  "10.0.0.2"
#define VM_PREFIX         30
#define VM_HOST_MAC       "02:73:62:78:00:01"
#define VM_GUEST_MAC      "02:73:62:78:00:02"
#define VM_GUEST_PORT     5000
#define VM_GUEST_DEVICE   "eth0"

/* Paths as VMM and keeper see them. */
#define VM_KERNEL         "/vm/kernel"
#define VM_INITRAMFS      "/vm/initramfs"
#define VM_RAM            "/vm/ram/memory"

/* What the agent says when it listens. */
#define VM_READY          "info: init: ready"

/* The status of a keeper whose machine's memory has been kept. */
#define VM_ASLEEP         71

/* argc strings, each ended by a zero, follow: the VMM's arguments; then, for a
 * machine that goes on, the boot object for its agent, whose key is the former
 * one. */
typedef struct {
    char      vmm[16];
    uint32_t  argc;
    uint32_t  args_len;
    uint32_t  boot_len;                 /* 0: it begins */
    uint64_t  file_max;                 /* bytes of a file of the VMM's */
    uint64_t  memory;                   /* bytes, of the guest */
    uint64_t  disk_floor;               /* bytes that it leaves free, kept */
    uint64_t  again_ms;                 /* until the agent of one that goes on
                                           has answered */
    uid_t     vmm_uid;
    uid_t     own_uid;
    uid_t     aid_uid;                  /* of a program beside the VMM */
    uint32_t  cid;                      /* of VM_FD_VSOCK; 0: it has none */
    bool      kvm;                      /* the VMM needs /dev/kvm */
    bool      unused;                   /* it is nobody's yet */
    char      key[33];
    char      former[33];               /* the agent's, if it goes on */
    char      asleep[VM_END_MAX];       /* the last word of one that sleeps */
    char      woken[VM_WOKEN_MAX];      /* it goes on from its own last sleep: a
                                           mark behind that word until then */
    char      dir[VM_PATH_MAX];         /* the machine's: lock, disk, ... */
    char      jail[VM_PATH_MAX];        /* an empty directory in it */
    char      image[VM_PATH_MAX];       /* what VM_FD_ROOT is of */
    char      kernel[VM_PATH_MAX];
    char      initramfs[VM_PATH_MAX];
} vm_order;

/* What is said over a connection to the control socket (SOCK_SEQPACKET), by the
 * keeper: one of these, in answer to the connection.  From VM_CONTROL_SAVED on
 * the machine stands still and is in its files, until the connection ends, for
 * VM_CONTROL_S seconds at most. */
#define VM_CONTROL_S      60

typedef enum {
    VM_CONTROL_SAVED = 1,
    VM_CONTROL_FAILED,                  /* it can't be kept */
    VM_CONTROL_BUSY,                    /* it starts or ends, or somebody else
                                           makes a copy */
    VM_CONTROL_FULL                     /* there is no room for it */
} vm_control_type;

typedef struct {
    uint32_t  type;
    char      word[VM_END_MAX];         /* what it would say if it slept now */
} vm_control;

/* Said once over the socket VM_FD_OWNER (SOCK_SEQPACKET) to the keeper of a
 * machine that is nobody's, which ends when the socket does before that.  The
 * agent is told by others. */
typedef struct {
    char  key[33];
    char  asleep[VM_END_MAX];
} vm_owner;

/* Never returns. */
void vm_main(void) __attribute__((noreturn));

/* vm_main.c: under the number that the VMM is told. */
void vm_fd_place(int fd, int want);
/* The last thing that a keeper does.  Without a reason, what it should have
 * gone on from stays if it was not used. */
void vm_end(int status, const char *why) __attribute__((noreturn));
/* Asks the agent for the end. */
void vm_stop(void);
/* The agent is reached, and nobody has asked for the end. */
bool vm_running(void);

/* vm_process.c: of this process, a limit, and its user for good. */
void vm_limit(int what, uint64_t value);
void vm_become(uid_t uid);

/* vm_jail.c: from here on nothing else of the host can be opened.  more() adds
 * what a VMM needs; NULL: nothing. */
int vm_jail(const vm_order *order,
    int (*more)(const vm_order *order, error **err), error **err);
/* For more(): a file of the host's in the new root, which is the current
 * directory; -1: errno. */
int vm_jail_file(const char *source, const char *target, uint64_t attributes);

/* vm_net.c: returns the TAP. */
int vm_net(error **err);

/* vm_rate.c: a socket in the machine's directory, for datagrams: bytes a second
 * each way, a uint64_t; 0: no limit. */
#define VM_RATE           "rate"

/* vm_vsock.c: a connection to the agent's port through a socket at which a VMM
 * wants to hear a line with it, and answers with one; and whether it has. */
int vm_hybrid_connect(const char *path);
int vm_hybrid_connected(int fd);
/* The same by the kernel, which says by itself when it is made. */
int vm_vsock_connect(uint32_t cid);
/* vm_ram.c: the file is VM_RAM for the VMM; to be made in the jail, filled from
 * VM_FD_KEPT, and written to VM_FD_MEMORY. */
int vm_ram_make(const vm_order *order, error **err);
int vm_ram_load(error **err);
int vm_ram_save(error **err);
/* What vm_ram_save() writes at most; UINT64_MAX: there is no such file. */
uint64_t vm_ram_used(void);

/* vm_again.c: the machine goes on from vm_again_go() on; its agent is told what
 * the order has for it, and vm_ready_now() called. */
void vm_again_open(const vm_order *order, int epoll);
void vm_again_go(void);
/* It isn't there yet. */
bool vm_again_waits(void);
void vm_again_look(void);
/* What was kept of the machine itself has not been used. */
bool vm_again_kept(void);
/* Before VM_FD_MEMORY and VM_FD_STATE are written to; a process that has
 * ended. */
void vm_again_settle(void);
void vm_again_reaped(pid_t pid, int status);
/* false: not one of its pointers. */
bool vm_again_event(void *ptr);
/* vm_main.c */
void vm_ready_now(void);
uint64_t vm_now_ms(void);

/* vm_owner.c */
void vm_owner_open(const vm_order *order, int epoll);
/* false: not one of its pointers. */
bool vm_owner_event(void *ptr);
/* vm_main.c and vm_save.c: whose it is. */
void vm_owned(const vm_owner *by);
void vm_save_owned(const vm_owner *by);

/* How the agent is connected to: by TCP where connect is NULL; else as a VMM's
 * table has it (vmm.h). */
typedef struct {
    int      (*connect)(void);
    int      (*connected)(int fd);
    unsigned   max;                     /* 0: no limit of its own */
} vm_way;

/* vm_forward.c: works in an epoll set of vm_main.c's, with pointers that it
 * tells apart from those of others. */
int vm_forward_open(int epoll, const vm_way *way, error **err);
/* The agent listens: let them in. */
void vm_forward_ready(void);
/* false: not one of its pointers. */
bool vm_forward_event(void *ptr, uint32_t events);
/* A connection to the agent, being made; -1: errno.  The event that is to be
 * waited for, and then: 1: it is made; 0: not yet; -1: it won't be. */
int vm_forward_connect(void);
uint32_t vm_forward_wait(void);
int vm_forward_connected(int fd);

/* vm_ask.c: one request, on a connection of its own.  1: answered with 200;
 * 0: not yet; -1: not at all. */
typedef struct {
    int      fd;                        /* -1: nothing is under way */
    bool     through;                   /* it is connected */
    char    *text;
    size_t   len, sent, got;
    char     answer[16];
} vm_ask;

int vm_ask_begin(vm_ask *a, const char *key, const char *method,
    const char *path, const char *body, size_t len);
/* The same, without a connection: that is vm_ask_retry()'s. */
int vm_ask_prepare(vm_ask *a, const char *key, const char *method,
    const char *path, const char *body, size_t len);
int vm_ask_event(vm_ask *a);
/* Anew, if nothing has been taken of it; false: it was, or it can't be now.
 * Also after a beginning that failed. */
bool vm_ask_retry(vm_ask *a);
/* After -1: was it the agent's answer to the request?  Else it may have been
 * cut off anywhere, or it had another key. */
bool vm_ask_refused(const vm_ask *a);
/* From its beginning, whatever has been taken of it, with a key of the same
 * length: vm_ask_retry() connects. */
void vm_ask_anew(vm_ask *a, const char *key);
void vm_ask_end(vm_ask *a);

/* vm_console.c: pure but for VM_FD_LOG and the file, which is text at any time,
 * of all runs of a machine, and never longer than VM_CONSOLE_MAX. */
#define VM_CONSOLE_MAX    65536

typedef struct {
    int     file;                       /* 0: nothing is kept */
    size_t  kept;                       /* bytes in it */
    char    line[512];
    size_t  len;
    bool    ready;                      /* VM_READY was said */
    char    last[VM_END_MAX];           /* the last line that says something */
    char    panic[VM_END_MAX];          /* "": the guest's kernel lives */
    char    killed[64];                 /* by it, for want of memory, the last
                                           time: "123 (node)"; "": nothing */
    unsigned  kills;                    /* how often, */
    int     kills_file;                 /* and a file that has it; 0: none */
} vm_console;

/* A file in a machine's directory: how many processes its kernel has ended in
 * this run for want of memory, the time of the last one in ms since 1970, and
 * what it was: "3 1700000000000 123 (node)\n". */
#define VM_KILLS          "kills"

/* The file is that of all runs, or a new one. */
void vm_console_open(vm_console *c, int file);
void vm_console_take(vm_console *c, const char *text, size_t len);
/* Why the machine has ended, with the VMM's status, in one line; "" if that was
 * in order.  Returns the keeper's status. */
int vm_console_end(const vm_console *c, int status, bool asked,
    char why[VM_WHY_MAX]);

#endif
