/*
 * `sandboxd doctor`: what this host has for sandboxes, in which versions, and
 * what is known against them.  Reads and tries; changes nothing.
 *
 *   doctor.c       the command line, the report, the judgement
 *   doctor_host.c  KVM, groups, networks
 *   doctor_disk.c  disks of sandboxes, and what there is room for
 */

#ifndef SANDBOXD_DOCTOR_H
#define SANDBOXD_DOCTOR_H

#include <jansson.h>

/* argv[0] is "doctor".  The process's status: 0, 1 if there is a problem, 2
 * if it was asked for something that it doesn't know. */
int doctor_main(int argc, char **argv);

/* Each an object with "state", a word, and "detail", a sentence: */
json_t *doctor_state(const char *state, const char *detail);
json_t *doctor_kvm(void);
json_t *doctor_cgroup(void);
json_t *doctor_network(void);
json_t *doctor_vsock(void);

/* Of sandboxd's state directory. */
json_t *doctor_disk(const char *state_dir);

#endif
