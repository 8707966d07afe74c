/* `sandboxd doctor`; see doctor.h. */

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <sqlite3.h>
#include <uv.h>

#include "sandboxd/advisories.h"
#include "sandboxd/doctor.h"

#define SAY_MS      5000
#define PLACES_MAX  4
#define STATE_DIR   "/var/lib/sandboxd"

/* A program, and the driver or channel that needs it ("": none in
 * particular). */
typedef struct {
    const char  *name;
    const char  *driver;
    const char  *argument;
    const char  *places[PLACES_MAX + 1];    /* the first may be told */
} tool;

static tool  tools[] = {
    { "nginx", "", "-v", { NULL, "/usr/sbin/nginx", "/usr/local/sbin/nginx",
      "/usr/local/nginx/sbin/nginx" } },
    { "crun", "oci", "--version", { NULL, "/usr/bin/crun",
      "/usr/local/bin/crun", "/usr/sbin/crun", "/usr/local/sbin/crun" } },
    { "qemu", "qemu", "--version", { NULL, "/usr/bin/qemu-system-x86_64",
      "/usr/local/bin/qemu-system-x86_64" } },
    { "firecracker", "firecracker", "--version", { NULL,
      "/usr/bin/firecracker", "/usr/local/bin/firecracker" } },
    { "jailer", "firecracker", "--version", { NULL, "/usr/bin/jailer",
      "/usr/local/bin/jailer" } },
    { "vhost-device-vsock", "vhost-user-vsock", "--version", { NULL,
      "/usr/bin/vhost-device-vsock", "/usr/local/bin/vhost-device-vsock" } },
};

#define TOOLS  (sizeof(tools) / sizeof(tools[0]))

typedef struct {
    bool         json;
    const char  *drivers;           /* "oci,qemu"; NULL: what is there */
    const char  *channel;           /* of QEMU's machines; NULL: any */
    const char  *state_dir;
    json_t      *report;
    json_t      *programs, *advisories, *problems;
} doctor;


static void
usage(FILE *f)
{
    fputs(
"Usage: sandboxd doctor [OPTION]...\n"
"\n"
"Says what this host has for sandboxes, in which versions, and what is known\n"
"against them.  The status is 1 if there is a problem.\n"
"\n"
"  --driver NAME[,NAME]  these have to work: oci, qemu, firecracker (default:\n"
"                        what is installed is looked at)\n"
"  --qemu-channel NAME   so has this: tap, vhost-user-vsock or vhost-vsock\n"
"  --state-dir DIR       sandboxd's, for the disks in it (default:\n"
"                        " STATE_DIR ")\n"
"  --json                as a JSON object\n"
"  --nginx PATH, --crun PATH, --qemu PATH, --firecracker PATH,\n"
"  --jailer PATH, --vhost-device-vsock PATH\n"
"                        not those in the usual places\n"
"  --help                print this\n", f);
}


static int
parse(doctor *d, int argc, char **argv)
{
    int  c;

    static const struct option  options[] = {
        { "nginx", required_argument, NULL, 0 },        /* as in tools[] */
        { "crun", required_argument, NULL, 1 },
        { "qemu", required_argument, NULL, 2 },
        { "firecracker", required_argument, NULL, 3 },
        { "jailer", required_argument, NULL, 4 },
        { "vhost-device-vsock", required_argument, NULL, 5 },
        { "qemu-channel", required_argument, NULL, 'c' },
        { "driver", required_argument, NULL, 'd' },
        { "state-dir", required_argument, NULL, 's' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'd':
            d->drivers = optarg;
            break;
        case 'c':
            if (strcmp(optarg, "tap") != 0
                && strcmp(optarg, "vhost-user-vsock") != 0
                && strcmp(optarg, "vhost-vsock") != 0)
            {
                usage(stderr);
                return 2;
            }
            d->channel = optarg;
            break;
        case 's':
            d->state_dir = optarg;
            break;
        case 'j':
            d->json = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        case '?':
            usage(stderr);
            return 2;
        default:
            tools[c].places[0] = optarg;
        }
    }

    if (optind != argc) {
        usage(stderr);
        return 2;
    }

    return -1;
}


/* Is it in the list that was told, or the channel? */
static bool
wanted(const doctor *d, const char *driver)
{
    size_t       len;
    const char  *p;

    len = strlen(driver);

    if (len != 0 && d->channel != NULL && strcmp(d->channel, driver) == 0) {
        return true;
    }

    for (p = d->drivers; p != NULL && len != 0; ) {
        if (strncmp(p, driver, len) == 0 && (p[len] == ',' || p[len] == '\0'))
        {
            return true;
        }

        p = strchr(p, ',');
        p = p != NULL ? p + 1 : NULL;
    }

    return false;
}


static void
problem(doctor *d, const char *what, const char *detail)
{
    char  text[512];

    snprintf(text, sizeof(text), "%s: %s", what, detail);
    json_array_append_new(d->problems, json_string(text));
}


static void
program_add(doctor *d, const char *name, const char *told, const char *path)
{
    json_t  *o;

    o = json_pack("{s:s, s:s?, s:s?}", "name", name, "version", told, "path",
                  path);
    json_array_append_new(d->programs, o);
}


static void
advise(doctor *d, const tool *t, const version *v, const char *told)
{
    const advisory  *a;

    for (a = advisory_next(NULL, t->name, v); a != NULL;
         a = advisory_next(a, t->name, v))
    {
        json_array_append_new(d->advisories,
            json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s}", "id", a->id,
                      "program", t->name, "version", told, "what", a->what,
                      "concerns", a->concerns, "why", a->why, "source",
                      a->source));

        if (a->concerns) {
            problem(d, a->id, a->what);
        }
    }
}


static void
look_at(doctor *d, const tool *t)
{
    int          i;
    char         text[PROGRAM_TEXT], told[64];
    version      v;
    const char  *path;

    static const version  least = FC_VERSION_MIN;

    path = t->places[0];

    for (i = 1; path == NULL && i <= PLACES_MAX && t->places[i] != NULL; i++) {
        if (access(t->places[i], X_OK) == 0) {
            path = t->places[i];
        }
    }

    if (path == NULL) {
        program_add(d, t->name, NULL, NULL);

        if (wanted(d, t->driver)) {
            problem(d, t->name, "not found");
        }
        return;
    }

    if (program_say(path, t->argument, text, SAY_MS) != 0
        || version_find(text, &v) != 0)
    {
        program_add(d, t->name, NULL, path);
        problem(d, path, "doesn't say its version");
        return;
    }

    snprintf(told, sizeof(told), "%u.%u.%u", v.n[0], v.n[1], v.n[2]);
    program_add(d, t->name, told, path);
    advise(d, t, &v, told);

    if (strcmp(t->driver, "firecracker") == 0
        && version_compare(&v, &least) < 0)
    {
        problem(d, t->name, "sandboxd takes none before " FC_VERSION);
    }
}


static void
look_at_host(doctor *d)
{
    bool         machines;
    json_t      *host, *part;
    const char  *state;

    host = json_object_get(d->report, "host");
    json_object_set_new(host, "kvm", doctor_kvm());
    json_object_set_new(host, "cgroup", doctor_cgroup());
    json_object_set_new(host, "network", doctor_network());
    json_object_set_new(host, "vsock", doctor_vsock());
    json_object_set_new(host, "disk", doctor_disk(d->state_dir));

    machines = wanted(d, "qemu") || wanted(d, "firecracker");
    part = json_object_get(host, "kvm");
    state = json_string_value(json_object_get(part, "state"));

    if (wanted(d, "firecracker") && strcmp(state, "works") != 0) {
        problem(d, "Firecracker needs KVM",
                json_string_value(json_object_get(part, "detail")));
    }

    part = json_object_get(host, "vsock");
    state = json_string_value(json_object_get(part, "state"));

    if (wanted(d, "vhost-vsock") && strcmp(state, "works") != 0) {
        problem(d, "the channel vhost-vsock",
                json_string_value(json_object_get(part, "detail")));
    }

    part = json_object_get(host, "network");
    state = json_string_value(json_object_get(part, "state"));

    if (machines && strcmp(state, "works") != 0) {
        problem(d, "virtual machines need networks",
                json_string_value(json_object_get(part, "detail")));
    }
}


static void
print(const doctor *d)
{
    size_t       i;
    json_t      *o;
    const char  *name, *told, *path;

    json_array_foreach(d->programs, i, o) {
        told = json_string_value(json_object_get(o, "version"));
        path = json_string_value(json_object_get(o, "path"));
        printf("%-18s %s%s%s\n",
               json_string_value(json_object_get(o, "name")),
               told != NULL ? told : path != NULL ? "unknown" : "not found",
               path != NULL ? "  " : "", path != NULL ? path : "");
    }

    json_object_foreach(json_object_get(d->report, "host"), name, o) {
        printf("%-18s %s (%s)\n", name,
               json_string_value(json_object_get(o, "state")),
               json_string_value(json_object_get(o, "detail")));
    }

    json_array_foreach(d->advisories, i, o) {
        printf("%s%s %s %s: %s; %s\n    %s\n", i == 0 ? "\n" : "",
               json_string_value(json_object_get(o, "id")),
               json_string_value(json_object_get(o, "program")),
               json_string_value(json_object_get(o, "version")),
               json_string_value(json_object_get(o, "what")),
               json_string_value(json_object_get(o, "why")),
               json_string_value(json_object_get(o, "source")));
    }

    json_array_foreach(d->problems, i, o) {
        printf("%sproblem: %s\n", i == 0 ? "\n" : "", json_string_value(o));
    }
}


static void
report_begin(doctor *d)
{
    struct utsname  os;

    d->programs = json_array();
    d->advisories = json_array();
    d->problems = json_array();
    d->report = json_pack("{s:o, s:{}, s:o, s:o}", "programs", d->programs,
                          "host", "advisories", d->advisories, "problems",
                          d->problems);

    program_add(d, "sandboxd", SANDBOX_VERSION, NULL);

    if (uname(&os) == 0) {
        program_add(d, "kernel", os.release, NULL);
    }

    program_add(d, "sqlite", sqlite3_libversion(), NULL);
    program_add(d, "libuv", uv_version_string(), NULL);
    program_add(d, "openssl", OpenSSL_version(OPENSSL_VERSION_STRING), NULL);
}


int
doctor_main(int argc, char **argv)
{
    int      rc;
    size_t   i;
    doctor   d;

    memset(&d, 0, sizeof(d));
    d.state_dir = STATE_DIR;
    rc = parse(&d, argc, argv);

    if (rc != -1) {
        return rc;
    }

    report_begin(&d);

    for (i = 0; i < TOOLS; i++) {
        look_at(&d, &tools[i]);
    }

    look_at_host(&d);
    rc = json_array_size(d.problems) != 0;

    if (d.json) {
        json_dumpf(d.report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print(&d);
    }

    json_decref(d.report);

    return rc;
}
