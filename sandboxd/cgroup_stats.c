/* What a sandbox uses; see cgroup.h. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandboxd/cgroup_part.h"

/* Version 1 has a number instead of "no limit". */
#define V1_UNLIMITED  (1LL << 62)


/* A file that is one number; -1: it isn't there, or no limit. */
static int64_t
number_read(const char *dir, const char *name)
{
    char     path[CGROUP_FILE_MAX + 64], *text, *end;
    int64_t  n;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    text = cgroup_file_read(path);

    if (text == NULL) {
        return -1;
    }

    n = strtoll(text, &end, 10);

    if (end == text || n < 0 || n >= V1_UNLIMITED) {
        n = -1;
    }

    free(text);

    return n;
}


/* The number behind a word at the beginning of a line. */
static int64_t
word_number(const char *text, const char *word)
{
    size_t       len;
    const char  *p;

    len = strlen(word);

    for (p = text; p != NULL && *p != '\0'; p = strchr(p, '\n')) {
        p += *p == '\n';

        if (strncmp(p, word, len) == 0 && p[len] == ' ') {
            return strtoll(p + len + 1, NULL, 10);
        }
    }

    return -1;
}


int64_t
cgroup_word(const char *dir, const char *name, const char *word)
{
    char     path[CGROUP_FILE_MAX + 64], *text;
    int64_t  n;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    text = cgroup_file_read(path);
    n = word_number(text, word);
    free(text);

    return n;
}


static int64_t
times(int64_t n, int64_t factor)
{
    return n == -1 ? -1 : n * factor;
}


static void
v2_stats(const char *dir, driver_stats *stats)
{
    stats->cpu_ns = times(cgroup_word(dir, "cpu.stat", "usage_usec"), 1000);
    stats->throttled = cgroup_word(dir, "cpu.stat", "nr_throttled");
    stats->throttled_ns = times(cgroup_word(dir, "cpu.stat", "throttled_usec"),
                                1000);
    stats->memory = number_read(dir, "memory.current");
    stats->memory_peak = number_read(dir, "memory.peak");
    stats->memory_limit = number_read(dir, "memory.max");
    stats->oom_kills = cgroup_word(dir, "memory.events", "oom_kill");
    stats->pids = number_read(dir, "pids.current");
    stats->pids_limit = number_read(dir, "pids.max");
}


static void
v1_stats(const cgroup_base *h, const char *dir, driver_stats *stats)
{
    if (h->controllers & CGROUP_MEMORY) {
        stats->memory = number_read(dir, "memory.usage_in_bytes");
        stats->memory_peak = number_read(dir, "memory.max_usage_in_bytes");
        stats->memory_limit = number_read(dir, "memory.limit_in_bytes");
        stats->oom_kills = cgroup_word(dir, "memory.oom_control", "oom_kill");
    }

    if (h->controllers & CGROUP_PIDS) {
        stats->pids = number_read(dir, "pids.current");
        stats->pids_limit = number_read(dir, "pids.max");
    }

    if (h->controllers & CGROUP_CPU) {
        stats->throttled = cgroup_word(dir, "cpu.stat", "nr_throttled");
        stats->throttled_ns = cgroup_word(dir, "cpu.stat", "throttled_time");

        /* Where both are in one hierarchy, as is usual. */
        stats->cpu_ns = number_read(dir, "cpuacct.usage");
    }
}


/* Fields 14 to 17 of /proc/<pid>/stat, in ticks: its own time, and that of
 * the children it has waited for. */
static void
process_time(void *data, pid_t pid)
{
    int        i;
    char       path[64], *text, *p;
    int64_t   *ticks;

    ticks = data;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
    text = cgroup_file_read(path);
    p = text != NULL ? strrchr(text, ')') : NULL;

    for (i = 2; p != NULL && i < 14; i++) {
        p = strchr(p + 1, ' ');
    }

    for ( ; p != NULL && i < 18; i++) {
        *ticks += strtoll(p + 1, &p, 10);
    }

    free(text);
}


void
cgroup_stats(const cgroup_host *cg, uint32_t slot, driver_stats *stats)
{
    char         dir[CGROUP_FILE_MAX];
    int64_t      ticks;
    unsigned     i;
    cgroup_host  one;

    memset(&one, 0, sizeof(one));

    for (i = 0; i < cg->count; i++) {
        cgroup_slot_dir(&cg->h[i], slot, dir);

        if (access(dir, F_OK) == -1) {
            continue;
        }

        /* All hierarchies list the same processes. */
        one.h[0] = cg->h[i];
        one.count = 1;

        if (cg->h[i].v2) {
            v2_stats(dir, stats);
        } else {
            v1_stats(&cg->h[i], dir, stats);
        }
    }

    if (stats->cpu_ns == -1 && one.count > 0) {
        ticks = 0;
        cgroup_processes(&one, slot, process_time, &ticks);
        stats->cpu_ns = ticks * (1000000000 / sysconf(_SC_CLK_TCK));
    }
}
