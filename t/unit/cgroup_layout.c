/* sources: sandboxd/cgroup_layout.c */

/* Hierarchies of cgroups, as real hosts show them. */

#include <string.h>

#include "sandboxd/cgroup_layout.h"
#include "t/unit/tap.h"

static const char  unified[] =
    "24 30 0:22 / /sys rw,nosuid - sysfs sysfs rw\n"
    "33 24 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
    "30 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";

static const char  version_1[] =
    "32 31 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup "
    "rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "35 31 0:32 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n"
    "36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";

static const char  container[] =
    "40 39 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup "
    "rw,memory\n"
    "41 39 0:31 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";


int
main(void)
{
    char           line[8192];
    cgroup_layout  l;

    cgroup_layout_parse(&l, unified, "0::/user.slice/session-1.scope\n");
    ok(l.count == 1 && l.h[0].v2, "version 2");
    ok(strcmp(l.h[0].mount, "/sys/fs/cgroup") == 0, "its mount point");
    ok(strcmp(l.h[0].own, "/user.slice/session-1.scope") == 0, "our group");

    cgroup_layout_parse(&l, unified, "0::/\n");
    ok(l.count == 1 && l.h[0].own[0] == '\0', "version 2, at the root");

    cgroup_layout_parse(&l, unified, "0::/../../elsewhere\n");
    ok(l.count == 1 && l.h[0].own[0] == '\0', "a group outside the namespace");

    cgroup_layout_parse(&l, version_1,
                        "5:pids:/a\n4:memory:/a/b\n3:cpu,cpuacct:/\n"
                        "2:blkio:/\n1:name=systemd:/x\n");
    ok(l.count == 3, "version 1: those with our controllers");
    ok(l.h[0].controllers == CGROUP_CPU && !l.h[0].v2, "cpu,cpuacct");
    ok(l.h[1].controllers == CGROUP_MEMORY
       && strcmp(l.h[1].own, "/a/b") == 0, "memory");
    ok(l.h[2].controllers == CGROUP_PIDS
       && strcmp(l.h[2].mount, "/sys/fs/cgroup/pids") == 0, "pids");

    snprintf(line, sizeof(line), "%s%s", version_1,
             "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    cgroup_layout_parse(&l, line, "5:pids:/\n4:memory:/\n3:cpu,cpuacct:/\n"
                        "0::/x\n");
    ok(l.count == 4 && l.h[3].v2 && strcmp(l.h[3].own, "/x") == 0, "hybrid");

    cgroup_layout_parse(&l, container, "4:memory:/docker/abc/job\n"
                        "5:pids:/docker/abc\n");
    ok(l.count == 2 && strcmp(l.h[0].own, "/job") == 0,
       "a container: below what is mounted");
    ok(l.h[1].own[0] == '\0', "a container: at its root");

    cgroup_layout_parse(&l, container, "4:memory:/docker/abcdef\n");
    ok(l.count == 1 && l.h[0].own[0] == '\0', "not a prefix by chance");

    cgroup_layout_parse(&l, "", "");
    ok(l.count == 0, "nothing");

    cgroup_layout_parse(&l, "33 24 0:28 / /x rw - cgroup2\n-\n - \n33 24 0:2 "
                        "/ - cgroup2 cgroup2 rw\n", "0::/\n0:\n:\n\n");
    ok(l.count == 0, "lines that are cut off");

    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    cgroup_layout_parse(&l, line, line);
    ok(l.count == 0, "a line without end");

    return done_testing();
}
