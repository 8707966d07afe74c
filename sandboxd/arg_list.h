/*
 * A program's arguments as strings behind one another, each ended by a zero,
 * as a keeper is told them (vm.h).  Pure.
 */

#ifndef SANDBOXD_ARG_LIST_H
#define SANDBOXD_ARG_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char      *p;
    size_t     size, len;
    uint32_t   argc;
    bool       full;            /* one didn't fit: it is of no use */
} arg_list;

void arg_add(arg_list *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
