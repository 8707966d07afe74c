/*
 * Firecracker and its jailer as t/firecracker.t has them: one static program,
 * which of both by its name.  It takes what they take and refuses what they
 * refuse; where they start a machine, it starts the machine's agent, as the
 * jail's user and in the jail, behind the same socket.
 *
 *   fc_jailer.c  the jailer
 *   fc_vmm.c     the API
 *   fc_guest.c   what is behind InstanceStart
 *   fc_vsock.c   the way to its agent
 *
 * The first disk is the boot object, the second an archive (cpio, newc) with
 * programs for the guest; on the third /workspace is kept.  In the archive a
 * file /fault has words that make it fail: "snapshot", "load", "mute"; or a
 * word for what becomes of the first request to go on after a load: "cut", its
 * connection is before it is there; "lost", its answer is with the connection;
 * "silent", without it.
 */

#ifndef T_DRIVER_FC_STUB_H
#define T_DRIVER_FC_STUB_H

#include <stdbool.h>
#include <stddef.h>

#define STUB_VERSION  "1.16.2"

/* fc_jailer.c */
int jailer_main(int argc, char **argv);

/* fc_guest.c; the paths are those of the API. */
typedef struct {
    char  line[4096];               /* the kernel's command line */
    char  initrd[256];
    char  drives[3][256];
    int   drive_count;
    char  vsock[256];
} guest_machine;

/* NULL, or why not. */
const char *guest_start(const guest_machine *m);
void guest_pause(bool on);
const char *guest_save(const guest_machine *m, const char *state,
    const char *memory);
const char *guest_load(guest_machine *m, const char *state,
    const char *memory);
/* Never returns once the guest has ended. */
void guest_look(void);
/* A word in the guest's file of faults. */
bool guest_fault(const char *word);

/* fc_vsock.c */
#define GUEST_AGENT  "/guest/agent.sock"

extern unsigned  guest_port;        /* that the agent would listen on */

/* NULL, or why not. */
const char *guest_vsock(const char *path);
/* A connection to the agent, or -1. */
int guest_dial(void);
/* A pause without a snapshot leaves its sockets dead, as with 1.16.1. */
void guest_dead(void);

#endif
