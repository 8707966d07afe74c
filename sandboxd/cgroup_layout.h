/*
 * Where the cgroup hierarchies of this host are: all controllers in version 1
 * hierarchies, all in version 2, or some here and some there (hybrid).  Pure:
 * works on the texts of /proc/self/mountinfo and /proc/self/cgroup.
 */

#ifndef SANDBOXD_CGROUP_LAYOUT_H
#define SANDBOXD_CGROUP_LAYOUT_H

#include <stdbool.h>

#define CGROUP_CPU     1
#define CGROUP_MEMORY  2
#define CGROUP_PIDS    4

#define CGROUP_PATH_MAX         256
#define CGROUP_HIERARCHIES_MAX  4

typedef struct {
    bool      v2;
    unsigned  controllers;              /* CGROUP_*; 0 for v2: ask the files */
    char      mount[CGROUP_PATH_MAX];   /* its mount point */
    char      own[CGROUP_PATH_MAX];     /* the caller's group below it, as
                                           "" or "/a/b"; "" too if it lies
                                           outside of what is mounted */
} cgroup_hierarchy;

typedef struct {
    cgroup_hierarchy  h[CGROUP_HIERARCHIES_MAX];
    unsigned          count;
} cgroup_layout;

/* Version 1 hierarchies without any of the three controllers are left out, as
 * is what doesn't fit. */
void cgroup_layout_parse(cgroup_layout *layout, const char *mountinfo,
    const char *self);

#endif
