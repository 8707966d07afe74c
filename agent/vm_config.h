/*
 * What a virtual machine is told beside what every sandbox is: members of the
 * boot object that only an agent that is its init looks at.  Pure.
 */

#ifndef AGENT_VM_CONFIG_H
#define AGENT_VM_CONFIG_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define VM_DNS_MAX      3           /* as many as a resolver takes */
#define VM_ENTROPY_MAX  64
#define VM_PROCESSES_MAX  4194304

typedef struct {
    int64_t        time_ms;         /* since 1970; 0: not told */
    unsigned char  entropy[VM_ENTROPY_MAX];
    size_t         entropy_len;
    char           interface[16];   /* "": no network */
    uint32_t       address;         /* IPv4, in network order */
    uint32_t       netmask;
    uint32_t       gateway;         /* 0: none */
    unsigned       mtu;             /* 0: as it is */
    unsigned       processes;       /* at most; 0: any number */
    unsigned       ndns;
    char           dns[VM_DNS_MAX][46];
} vm_config;

/* -1: error set, naming the member. */
int vm_config_parse(vm_config *c, const json_t *boot, error **err);

#endif
