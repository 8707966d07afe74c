/*
 * Shared by the files of cgroup.c, cgroup_*.c; the contract is cgroup.h.
 */

#ifndef SANDBOXD_CGROUP_PART_H
#define SANDBOXD_CGROUP_PART_H

#include "sandboxd/cgroup.h"
#include "sandboxd/cgroup_layout.h"

typedef struct {
    bool      v2;
    unsigned  controllers;
    char      base[CGROUP_PATH_MAX * 2 + 64];
} cgroup_base;

struct cgroup_host {
    cgroup_base  h[CGROUP_HIERARCHIES_MAX];
    unsigned     count;
    unsigned     enforced;
};

#define CGROUP_FILE_MAX  (sizeof(((cgroup_base *) 0)->base) + 64)

/* The text of a file of the kernel's, for the caller to free; or NULL. */
char *cgroup_file_read(const char *path);

/* The number behind a word at the beginning of a line of a group's file; -1. */
int64_t cgroup_word(const char *dir, const char *name, const char *word);

/* The group of a slot; path has room for CGROUP_FILE_MAX bytes. */
void cgroup_slot_dir(const cgroup_base *h, uint32_t slot, char *path);

#endif
