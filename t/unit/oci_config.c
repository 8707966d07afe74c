/* sources: sandboxd/oci_config.c */
/* libs: -ljansson */

/* The runtime configuration: what a sandbox must and must not get. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/oci_config.h"
#include "t/unit/tap.h"


static json_t *
build(oci_config *c)
{
    char    *text;
    json_t  *root;

    text = oci_config_build(c);
    root = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, NULL)
                        : NULL;
    free(text);

    return root;
}


static bool
has(json_t *array, const char *text)
{
    size_t   i;
    json_t  *value;

    json_array_foreach (array, i, value) {
        if (strcmp(json_string_value(value), text) == 0) {
            return true;
        }
    }

    return false;
}


static json_t *
by_name(json_t *array, const char *member, const char *name)
{
    size_t       i;
    json_t      *value;
    const char  *text;

    json_array_foreach (array, i, value) {
        text = json_string_value(json_object_get(value, member));

        if (text != NULL && strcmp(text, name) == 0) {
            return value;
        }
    }

    return NULL;
}


int
main(void)
{
    json_t      *root, *process, *l, *mounts, *map;
    oci_config   c;

    memset(&c, 0, sizeof(c));
    c.hostname = "demo";
    c.seccomp = "QUJD";
    c.ids = 65536;
    c.nofile = 524288;

    root = build(&c);
    process = json_object_get(root, "process");
    l = json_object_get(root, "linux");
    mounts = json_object_get(root, "mounts");

    ok(root != NULL, "is JSON");
    ok(json_is_true(json_object_get(process, "noNewPrivileges")),
       "no new privileges");
    ok(json_array_size(json_object_get(l, "namespaces")) == 7
       && by_name(json_object_get(l, "namespaces"), "type", "user") != NULL
       && by_name(json_object_get(l, "namespaces"), "type", "network")
          != NULL, "all namespaces");
    ok(json_object_get(l, "seccomp") == NULL
       && strcmp(json_string_value(json_object_get(json_object_get(root,
                 "annotations"), "run.oci.seccomp_bpf_data")), "QUJD") == 0,
       "the compiled filter and no other");
    ok(!has(json_object_get(json_object_get(process, "capabilities"),
                            "bounding"), "CAP_SYS_ADMIN")
       && json_object_get(json_object_get(process, "capabilities"),
                          "inheritable") == NULL
       && json_object_get(json_object_get(process, "capabilities"),
                          "ambient") == NULL, "few capabilities");
    ok(has(json_object_get(l, "maskedPaths"), "/proc/kcore")
       && has(json_object_get(l, "readonlyPaths"), "/proc/sys"),
       "hidden and read-only files");

    map = json_object_get(l, "uidMappings");
    ok(json_array_size(map) == 2
       && json_integer_value(json_object_get(json_array_get(map, 1), "size"))
          == 65535, "root and the other ids");
    ok(has(json_object_get(by_name(mounts, "destination", "/dev/pts"),
                           "options"), "gid=5"), "a group for terminals");
    ok(has(json_object_get(by_name(mounts, "destination", "/tmp"),
                           "options"), "size=1024m"), "/tmp is bounded");
    ok(has(json_object_get(by_name(mounts, "destination", "/sys"),
                           "options"), "ro")
       && has(json_object_get(by_name(mounts, "destination",
                              "/run/.sbx/agent"), "options"), "ro"),
       "/sys and the agent are read-only");
    ok(by_name(json_object_get(process, "rlimits"), "type", "RLIMIT_NPROC")
       == NULL, "processes are counted by their group");
    json_decref(root);

    c.ids = 1;
    c.memory = 64 * 1024 * 1024;
    c.nofile = 512;
    c.limit_nproc = true;
    root = build(&c);
    process = json_object_get(root, "process");
    l = json_object_get(root, "linux");
    mounts = json_object_get(root, "mounts");

    ok(json_array_size(json_object_get(l, "gidMappings")) == 1, "one id");
    ok(!has(json_object_get(by_name(mounts, "destination", "/dev/pts"),
                            "options"), "gid=5"),
       "without a group for terminals");
    ok(has(json_object_get(by_name(mounts, "destination", "/tmp"),
                           "options"), "size=32m"),
       "/tmp is half of the memory");
    ok(by_name(json_object_get(process, "rlimits"), "type", "RLIMIT_NPROC")
       != NULL, "processes are counted by user");
    ok(json_integer_value(json_object_get(by_name(json_object_get(process,
           "rlimits"), "type", "RLIMIT_NOFILE"), "soft")) == 512,
       "no more open files than there may be");
    json_decref(root);

    return done_testing();
}
