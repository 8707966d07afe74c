/*
 * What the command line says of virtual machines, and their driver takes.
 */

#ifndef SANDBOXD_MACHINE_CONFIG_H
#define SANDBOXD_MACHINE_CONFIG_H

/* Whether their memory is kept when they sleep. */
typedef enum {
    MACHINE_KEEP_POSSIBLE,          /* where the channel allows it */
    MACHINE_KEEP_ON,
    MACHINE_KEEP_OFF
} machine_keep;

#endif
