/*
 * The agent as the init of a virtual machine: what the kernel leaves to PID 1.
 * Nothing of it is done, and nothing is powered off, unless it was asked for
 * with --init and the process is PID 1.
 */

#ifndef AGENT_INIT_H
#define AGENT_INIT_H

#include "agent/vm_config.h"
#include "common/buffer.h"

#define INIT_NOFILE       524288
#define INIT_NOFILE_SOFT  1024

/* Where the machine's disks are, by their serial numbers, or in the order of
 * the variable SANDBOX_DISKS: "boot", the boot object; "root", the image;
 * "disk", what is over it. */
#define INIT_DISKS        "/dev/sandbox"

/* Before anything is read: mounts, the console, modules, the root, loopback.
 * What can't be done is logged; the machine goes on as far as it gets.  -1:
 * there is a disk for the root, but the root is not what it should be. */
int init_early(void);

/* With the boot object: hostname ("" if not told), clock, entropy, network,
 * /etc/hosts, /etc/resolv.conf. */
void init_apply(const vm_config *c, const char *hostname);

/* When the machine goes on, after a time that it knows nothing of: clock and
 * entropy; if it is another one now, whose name is hostname, all that tells it
 * from others, too.  -1: there was no new entropy. */
int init_again(const vm_config *c, const char *hostname);

/* Ends all processes, makes the disks safe and powers off.  power is "off",
 * "reboot", "exit" (for a PID namespace) or NULL: off where there is ACPI, else
 * reboot, which is how a VMM without ACPI is told.  Returns only for "exit". */
void init_end(const char *power);

/* In init_modules.c: those of the first file system, in the order of their
 * names; of: only what something needs that not every machine has, NULL: all
 * else. */
void init_modules(const char *of);
/* Before the root is another one: the kernel has those that are for later
 * loaded by this program. */
void init_modules_later(void);
/* And that is what it is started for; -1: it isn't, else its exit status. */
int init_modules_asked(char **argv);
/* /dev/fuse is there, for everybody, and what is behind it when it is opened. */
void init_fuse(void);

/* In init_root.c. */
void init_disks(void);
/* 1: entered; 0: there is no such disk; -1: logged. */
int init_root(void);
/* How many processes and threads there may be beside those of now; 0: any. */
void init_processes(unsigned more);

/* In init_net.c. */
void init_loopback(void);
void init_network(const vm_config *c);
void init_names(const vm_config *c, const char *hostname);
/* Replaces a file of the system's. */
void init_replace(const char *path, const buffer *b);

#endif
