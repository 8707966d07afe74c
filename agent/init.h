/*
 * The agent as the init of a virtual machine: what the kernel leaves to PID 1.
 * Nothing of it is done, and nothing is powered off, unless it was asked for
 * with --init and the process is PID 1.
 */

#ifndef AGENT_INIT_H
#define AGENT_INIT_H

#include "agent/vm_config.h"

#define INIT_NOFILE       524288
#define INIT_NOFILE_SOFT  1024

/* Before anything is read: mounts, the console, modules, loopback.  What can't
 * be done is logged; the machine goes on as far as it gets. */
void init_early(void);

/* With the boot object: hostname ("" if not told), clock, entropy, network,
 * /etc/hosts, /etc/resolv.conf. */
void init_apply(const vm_config *c, const char *hostname);

/* Ends all processes, makes the disks safe and powers off.  power is "off",
 * "reboot", "exit" (for a PID namespace) or NULL: off where there is ACPI, else
 * reboot, which is how a VMM without ACPI is told.  Returns only for "exit". */
void init_end(const char *power);

/* In init_net.c. */
void init_loopback(void);
void init_network(const vm_config *c);
void init_names(const vm_config *c, const char *hostname);

#endif
