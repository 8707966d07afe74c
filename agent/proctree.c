/* The tree of processes; see proctree.h. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proctree.h"
#include "common/small_file.h"


/* State, parent and process group; 0 if there is no such process. */

static char
proctree_stat(pid_t pid, int *parent, int *group)
{
    char  path[64], text[512], state, *p;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);

    if (small_file_text(path, text, sizeof(text)) <= 0) {
        return 0;
    }

    /* The name in parentheses may hold anything, more of them too. */
    p = strrchr(text, ')');
    if (p == NULL || sscanf(p + 1, " %c %d %d", &state, parent, group) != 3) {
        return 0;
    }

    return state;
}


char
proctree_state(pid_t pid, pid_t *pgrp)
{
    int   parent, group;
    char  state;

    state = proctree_stat(pid, &parent, &group);

    if (state != 0 && pgrp != NULL) {
        *pgrp = group;
    }

    return state;
}


pid_t
proctree_parent(pid_t pid)
{
    int  parent, group;

    return proctree_stat(pid, &parent, &group) != 0 ? parent : 0;
}


int
proctree_catches(pid_t pid, int sig)
{
    char                path[64], text[4096], *p;
    unsigned long long  caught;

    snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);

    if (small_file_text(path, text, sizeof(text)) <= 0) {
        return 0;
    }

    p = strstr(text, "\nSigCgt:");
    if (p == NULL || sscanf(p + 8, " %llx", &caught) != 1) {
        return 0;
    }

    return (int) (caught >> (sig - 1) & 1);
}


size_t
proctree_children(pid_t pid, pid_t *out, size_t n, size_t max)
{
    DIR            *dir;
    long            child;
    char            path[96], *p, *end;
    static char     text[PROCTREE_MAX * 8];
    struct dirent  *e;

    snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);

    dir = opendir(path);
    if (dir == NULL) {
        return n;
    }

    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.') {
            continue;
        }

        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children",
                 (int) pid, e->d_name);

        if (small_file_text(path, text, sizeof(text)) <= 0) {
            continue;
        }

        for (p = text; n < max; p = end) {
            child = strtol(p, &end, 10);
            if (end == p) {
                break;
            }
            out[n++] = (pid_t) child;
        }
    }

    closedir(dir);

    return n;
}


static int
proctree_among(pid_t pid, const pid_t *list, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (list[i] == pid) {
            return 1;
        }
    }

    return 0;
}


size_t
proctree_below(pid_t *out, size_t from, size_t n, size_t max,
    const pid_t *spare, size_t spared)
{
    size_t  i, k, start;

    for (i = from; i < n; i++) {
        start = n;
        n = proctree_children(out[i], out, n, max);

        for (k = start; k < n; ) {
            if (proctree_among(out[k], spare, spared)) {
                out[k] = out[--n];
            } else {
                k++;
            }
        }
    }

    return n;
}


int
proctree_env_has(pid_t pid, const char *entry)
{
    char         path[64], *p;
    size_t       len;
    ssize_t      n;
    static char  text[256 * 1024];

    snprintf(path, sizeof(path), "/proc/%d/environ", (int) pid);

    n = small_file_text(path, text, sizeof(text));
    if (n <= 0) {
        return 0;
    }

    len = strlen(entry);

    for (p = text; p < text + n; p += strlen(p) + 1) {
        if (strncmp(p, entry, len) == 0 && p[len] == '\0') {
            return 1;
        }
    }

    return 0;
}
