/*
 * What /dev/kvm is worth.  Where a machine is a virtual one itself, it may
 * open and yet run no guest; so a guest of two instructions is run, which
 * needs no kernel and takes milliseconds.
 */

#ifndef SANDBOXD_KVM_PROBE_H
#define SANDBOXD_KVM_PROBE_H

typedef enum {
    KVM_ABSENT,             /* no /dev/kvm */
    KVM_CLOSED,             /* it can't be opened, or is another interface */
    KVM_NO_GUESTS,          /* it opens, but what a guest does isn't run */
    KVM_WORKS
} kvm_state;

/* detail is a sentence. */
kvm_state kvm_probe(char detail[160]);

#endif
