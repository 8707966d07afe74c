/* The OCI runtime configuration of a sandbox; see oci_config.h. */

#include <stdio.h>
#include <string.h>

#include "sandboxd/oci_config.h"

#define MIB          1048576ULL
#define NPROC_MAX    4096
#define PTYS_MAX     "256"

/* What root inside may do to its own files, users and processes.  None of it
 * reaches beyond the user namespace. */
static const char *const  capabilities[] = {
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP",
    "CAP_SETUID", "CAP_SYS_CHROOT"
};

static const char *const  namespaces[] = {
    "user", "pid", "mount", "network", "uts", "ipc", "cgroup"
};

/* Facts about the host or other sandboxes (the files behind their disks, what
 * they read and write), and ways to disturb them. */
static const char *const  masked[] = {
    "/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/diskstats",
    "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/key-users",
    "/proc/latency_stats", "/proc/partitions", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/sys/devices/virtual/block",
    "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs"
};

static const char *const  readonly[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
};


static json_t *
strings(const char *const *names, size_t n)
{
    size_t   i;
    json_t  *array;

    array = json_array();

    for (i = 0; i < n; i++) {
        json_array_append_new(array, json_string(names[i]));
    }

    return array;
}

#define STRINGS(a)  strings(a, sizeof(a) / sizeof(a[0]))


/* options is one string with commas, as in fstab. */
static void
add_mount(json_t *mounts, const char *target, const char *type,
    const char *source, const char *options)
{
    size_t   len;
    json_t  *list;

    list = json_array();

    for ( ;; ) {
        len = strcspn(options, ",");
        json_array_append_new(list, json_stringn(options, len));

        if (options[len] == '\0') {
            break;
        }

        options += len + 1;
    }

    json_array_append_new(mounts,
        json_pack("{s:s, s:s, s:s, s:o}", "destination", target,
                  "type", type, "source", source, "options", list));
}


/* /tmp is memory: half of a limited sandbox's, at most 1 GiB. */
static uint64_t
tmp_size(uint64_t memory)
{
    uint64_t  size;

    size = memory == 0 || memory / 2 > 1024 * MIB ? 1024 * MIB : memory / 2;

    return size < 16 * MIB ? 16 * MIB : size;
}


static json_t *
mounts_build(const oci_config *c)
{
    char     options[128];
    json_t  *m;

    m = json_array();

    add_mount(m, "/proc", "proc", "proc", "nosuid,noexec,nodev");
    add_mount(m, "/dev", "tmpfs", "tmpfs",
              "nosuid,noexec,mode=755,size=64k");

    /* Group 5 owns terminals, where there is one.  The kernel has some 3000 of
     * them for all sandboxes together. */
    add_mount(m, "/dev/pts", "devpts", "devpts",
              c->ids > 5 ? "nosuid,noexec,newinstance,ptmxmode=0666,"
                           "mode=0620,max=" PTYS_MAX ",gid=5"
                         : "nosuid,noexec,newinstance,ptmxmode=0666,"
                           "mode=0620,max=" PTYS_MAX);

    snprintf(options, sizeof(options), "nosuid,nodev,mode=1777,size=%llum",
             (unsigned long long) (tmp_size(c->memory) / 4 / MIB));
    add_mount(m, "/dev/shm", "tmpfs", "tmpfs", options);

    add_mount(m, "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro");

    snprintf(options, sizeof(options), "nosuid,nodev,mode=1777,size=%llum",
             (unsigned long long) (tmp_size(c->memory) / MIB));
    add_mount(m, "/tmp", "tmpfs", "tmpfs", options);

    add_mount(m, "/run", "tmpfs", "tmpfs", "nosuid,nodev,mode=755,size=64m");
    add_mount(m, "/run/.sbx/agent", "bind", "/agent",
              "bind,ro,nosuid,nodev,private");

    return m;
}


/* Root by itself: where an ordinary user's subordinate ids come from another
 * range than its own id, no entry may span the two. */
static json_t *
id_map(uint32_t ids)
{
    json_t  *map;

    map = json_pack("[{s:i, s:i, s:i}]", "containerID", 0, "hostID", 0,
                    "size", 1);

    if (ids > 1) {
        json_array_append_new(map,
            json_pack("{s:i, s:i, s:I}", "containerID", 1, "hostID", 1,
                      "size", (json_int_t) ids - 1));
    }

    return map;
}


static json_t *
linux_build(const oci_config *c)
{
    size_t   i;
    json_t  *l, *list;

    list = json_array();

    for (i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
        json_array_append_new(list, json_pack("{s:s}", "type",
                                              namespaces[i]));
    }

    l = json_pack("{s:o, s:o, s:o, s:s, s:o, s:o}",
                  "namespaces", list,
                  "uidMappings", id_map(c->ids),
                  "gidMappings", id_map(c->ids),
                  "rootfsPropagation", "private",
                  "maskedPaths", STRINGS(masked),
                  "readonlyPaths", STRINGS(readonly));

    return l;
}


static void
add_rlimit(json_t *limits, const char *type, uint64_t soft, uint64_t hard)
{
    json_array_append_new(limits,
        json_pack("{s:s, s:I, s:I}", "type", type, "soft", (json_int_t) soft,
                  "hard", (json_int_t) hard));
}


static json_t *
process_build(const oci_config *c)
{
    json_t  *p, *limits, *caps;

    limits = json_array();
    add_rlimit(limits, "RLIMIT_NOFILE", c->nofile < 1024 ? c->nofile : 1024,
               c->nofile);

    if (c->limit_nproc) {
        add_rlimit(limits, "RLIMIT_NPROC", NPROC_MAX, NPROC_MAX);
    }

    caps = json_object();
    json_object_set_new(caps, "bounding", STRINGS(capabilities));
    json_object_set_new(caps, "effective", STRINGS(capabilities));
    json_object_set_new(caps, "permitted", STRINGS(capabilities));

    /* Without HOME, crun would look for it in the guest's /etc/passwd, which
     * may be a pipe that nobody writes to. */
    p = json_pack("{s:b, s:{s:i, s:i}, s:[s, s, s, s, s], s:[s, s], s:s, s:b,"
                  " s:o, s:o}",
                  "terminal", 0,
                  "user", "uid", 0, "gid", 0,
                  "args", "/run/.sbx/agent", "--listen-fd", "3",
                          "--boot-fd", "4",
                  "env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                         "/usr/bin:/sbin:/bin", "HOME=/root",
                  "cwd", "/",
                  "noNewPrivileges", 1,
                  "capabilities", caps,
                  "rlimits", limits);

    return p;
}


char *
oci_config_build(const oci_config *c)
{
    char    *text;
    json_t  *root;

    root = json_pack("{s:s, s:s, s:{s:s, s:b}, s:o, s:o, s:o, s:{s:s}}",
                     "ociVersion", "1.0.0",
                     "hostname", c->hostname,
                     "root", "path", "rootfs", "readonly", 0,
                     "process", process_build(c),
                     "mounts", mounts_build(c),
                     "linux", linux_build(c),
                     "annotations",
                     "run.oci.seccomp_bpf_data", c->seccomp);

    if (root == NULL) {
        return NULL;
    }

    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);

    return text;
}
