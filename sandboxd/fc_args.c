/* The jailer's arguments; see fc.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/arg_list.h"
#include "sandboxd/fc.h"
#include "sandboxd/fc_api.h"

#define TOLD  5                         /* strings */


void
fc_jailer_path(const char *program, char *path, size_t size)
{
    const char  *slash;

    slash = strrchr(program, '/');
    snprintf(path, size, "%.*sjailer", slash != NULL
             ? (int) (slash + 1 - program) : 0, program);
}


int
fc_args(const vmm_machine *m, char *dst, size_t size, uint32_t *argc,
    uint32_t *len)
{
    arg_list     l;
    const char  *id;

    memset(&l, 0, sizeof(l));
    l.p = dst;
    l.size = size;
    id = strrchr(m->name, '/');

    arg_add(&l, FC_JAILER);
    arg_add(&l, "--id");
    arg_add(&l, "%s", id != NULL ? id + 1 : "machine");
    arg_add(&l, "--exec-file");
    arg_add(&l, FC_PROGRAM);
    arg_add(&l, "--uid");
    arg_add(&l, "%u", (unsigned) m->uid);
    arg_add(&l, "--gid");
    arg_add(&l, "%u", (unsigned) m->uid);
    arg_add(&l, "--chroot-base-dir");
    arg_add(&l, FC_JAILS);
    arg_add(&l, "--");
    arg_add(&l, "--api-sock");
    arg_add(&l, FC_IN_API);
    *argc = l.argc;

    arg_add(&l, "%s", m->program);
    arg_add(&l, "%u", m->cpus > FC_CPUS_MAX ? FC_CPUS_MAX : m->cpus);
    arg_add(&l, "%llu", (unsigned long long) m->memory);

    /* They are no part of what a machine is. */
    if (m->name[0] != '\0') {
        arg_add(&l, "%llu", (unsigned long long) m->disk_rate);
        arg_add(&l, "%llu", (unsigned long long) m->disk_ops);
    }

    *len = (uint32_t) l.len;

    return l.full ? -1 : 0;
}


int
fc_args_told(const vm_order *order, fc_told *told)
{
    uint32_t     i;
    const char  *p, *end, *text[TOLD];

    p = (const char *) (order + 1);
    end = p + order->args_len;

    for (i = 0; i < order->argc + TOLD; i++) {
        if (p >= end || memchr(p, '\0', (size_t) (end - p)) == NULL) {
            return -1;
        }

        if (i == 2) {
            told->id = p;
        }

        if (i >= order->argc) {
            text[i - order->argc] = p;
        }

        p += strlen(p) + 1;
    }

    told->program = text[0];
    told->cpus = (unsigned) strtoul(text[1], NULL, 10);
    told->memory = strtoull(text[2], NULL, 10);
    told->disk_rate = strtoull(text[3], NULL, 10);
    told->disk_ops = strtoull(text[4], NULL, 10);

    return 0;
}
