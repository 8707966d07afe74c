/* Firecracker's API, strictly; see fc_stub.h and fc_schema.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "t/driver/fc_schema.h"
#include "t/driver/fc_stub.h"

#define CONNS  8

typedef struct {
    int     fd;
    char    text[65536];
    size_t  len;
} conn;

static conn           conns[CONNS];
static guest_machine  machine;
static char           vmm_id[65];
static bool           configured, kernel, started, paused, saved;
static char           fault_text[512];


static const char *
wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static const char *
wrong(const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(fault_text, sizeof(fault_text), fmt, args);
    va_end(args);

    return fault_text;
}


static const char *
text_of(json_t *body, const char *name)
{
    const char  *text;

    text = json_string_value(json_object_get(body, name));

    return text != NULL ? text : "";
}


static const char *
opens(const char *what, const char *path, int how)
{
    int  fd;

    fd = open(path, how | O_CLOEXEC);
    if (fd == -1) {
        return wrong("%s: cannot open %s: %s", what, path, strerror(errno));
    }
    close(fd);

    return NULL;
}


static const char *
boot_source(json_t *body)
{
    const char  *bad;

    bad = opens("Kernel", text_of(body, "kernel_image_path"), O_RDONLY);
    if (bad == NULL) {
        bad = opens("Initrd", text_of(body, "initrd_path"), O_RDONLY);
    }

    snprintf(machine.line, sizeof(machine.line), "%s",
             text_of(body, "boot_args"));
    snprintf(machine.initrd, sizeof(machine.initrd), "%s",
             text_of(body, "initrd_path"));
    kernel = bad == NULL;

    return bad;
}


static long long
bucket(json_t *limiter, const char *name)
{
    json_int_t   size, refill;

    return json_unpack(limiter, "{s:{s:I, s:I}}", name, "size", &size,
                       "refill_time", &refill) != 0 ? 0
           : size == 0 || refill == 0 ? 0 : size * 1000 / refill;
}


/* Said on the console, so that it is seen; 0: no limit. */
static const char *
drive_limit(const char *target, json_t *body)
{
    json_t  *limiter;

    if (strcmp(target + sizeof("/drives/") - 1, text_of(body, "drive_id")) != 0)
    {
        return "The id from the path does not match the id from the body!";
    }

    limiter = json_object_get(body, "rate_limiter");
    printf("played: %s %lld %lld\n", target, bucket(limiter, "bandwidth"),
           bucket(limiter, "ops"));
    fflush(stdout);

    return NULL;
}


static const char *
drive(const char *target, json_t *body)
{
    const char  *id, *path;

    id = text_of(body, "drive_id");
    path = text_of(body, "path_on_host");

    if (strcmp(target + sizeof("/drives/") - 1, id) != 0) {
        return "The id from the path does not match the id from the body!";
    }

    if (json_object_get(body, "is_read_only") == NULL
        || machine.drive_count == 3)
    {
        return "Invalid block device";
    }

    snprintf(machine.drives[machine.drive_count++],
             sizeof(machine.drives[0]), "%s", path);

    if (json_object_get(body, "rate_limiter") != NULL) {
        (void) drive_limit(target, body);
    }

    return opens("Drive", path,
                 json_is_true(json_object_get(body, "is_read_only"))
                 ? O_RDONLY : O_RDWR);
}


/* The link is there and is this user's, or it couldn't be opened. */
static const char *
network(const char *target, json_t *body)
{
    int           fd;
    struct ifreq  ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

    if (strcmp(target + sizeof("/network-interfaces/") - 1,
               text_of(body, "iface_id")) != 0)
    {
        return "The id from the path does not match the id from the body!";
    }

    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s",
             text_of(body, "host_dev_name"));
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd == -1 || ioctl(fd, TUNSETIFF, &ifr) != 0) {
        return wrong("Open tap device failed: %s", strerror(errno));
    }

    return NULL;
}


/* The same, of both ways. */
static const char *
network_rate(const char *target, json_t *body)
{
    if (strcmp(target + sizeof("/network-interfaces/") - 1,
               text_of(body, "iface_id")) != 0)
    {
        return "The id from the path does not match the id from the body!";
    }

    printf("played: rate %lld %lld\n",
           bucket(json_object_get(body, "rx_rate_limiter"), "bandwidth"),
           bucket(json_object_get(body, "tx_rate_limiter"), "bandwidth"));
    fflush(stdout);

    return NULL;
}


static const char *
vsock(json_t *body)
{
    if (machine.vsock[0] != '\0') {
        return "there is one";
    }

    snprintf(machine.vsock, sizeof(machine.vsock), "%s",
             text_of(body, "uds_path"));

    return guest_vsock(machine.vsock);
}


static const char *
action(json_t *body)
{
    const char  *bad;

    if (strcmp(text_of(body, "action_type"), "InstanceStart") != 0) {
        return "not played";
    }

    bad = !kernel ? "Cannot start microvm without kernel configuration."
          : guest_start(&machine);
    started = bad == NULL;

    return bad;
}


static const char *
state(json_t *body)
{
    bool  pause;

    pause = strcmp(text_of(body, "state"), "Paused") == 0;
    guest_pause(pause);

    if (paused && !pause && !saved) {
        guest_dead();
    }
    paused = pause;

    return NULL;
}


static const char *
snapshot_create(json_t *body)
{
    const char  *bad;

    if (!paused) {
        return "Cannot save the microVM state: it is not paused";
    }

    if (strcmp(text_of(body, "snapshot_type"), "Diff") == 0) {
        return "not played";
    }

    bad = guest_save(&machine, text_of(body, "snapshot_path"),
                     text_of(body, "mem_file_path"));
    saved = bad == NULL;

    return bad;
}


/* A failure ends the process. */
static const char *
snapshot_load(json_t *body)
{
    const char  *bad;
    json_t      *backend;

    backend = json_object_get(body, "mem_backend");

    if (backend == NULL || json_object_get(body, "mem_file_path") != NULL) {
        return "one of mem_backend and mem_file_path, please";
    }

    bad = guest_load(&machine, text_of(body, "snapshot_path"),
                     text_of(backend, "backend_path"));
    started = bad == NULL;

    return bad;
}


/* What the API does, if it is its time; NULL, or why not. */
static const char *
put(const char *method, const char *target, json_t *body)
{
    bool         before, load, any;
    const char  *bad, *field;

    bad = fc_schema_check(method, target, body, &field);
    if (bad != NULL) {
        return wrong("An error occurred when deserializing the json body of a "
                     "request: %s %s", field, bad);
    }

    any = strcmp(target, "/logger") == 0;
    load = strcmp(target, "/snapshot/load") == 0;
    before = !any && strcmp(method, "PATCH") != 0
             && strcmp(target, "/snapshot/create") != 0;

    if (!any && before == started) {
        return started ? "The requested operation is not supported after "
                         "starting the microVM."
               : "The requested operation is not supported before starting "
                 "the microVM.";
    }

    if (load && configured) {
        return "Loading a microVM snapshot not allowed after configuring "
               "boot-specific resources.";
    }

    configured |= before;

    return strcmp(target, "/boot-source") == 0 ? boot_source(body)
           : strncmp(target, "/drives/", 8) == 0
             ? (strcmp(method, "PATCH") == 0 ? drive_limit : drive)(target,
                                                                    body)
           : strncmp(target, "/network", 8) == 0
             ? (strcmp(method, "PATCH") == 0 ? network_rate : network)(target,
                                                                       body)
           : strcmp(target, "/vsock") == 0 ? vsock(body)
           : strcmp(target, "/actions") == 0 ? action(body)
           : strcmp(target, "/vm") == 0 ? state(body)
           : strcmp(target, "/snapshot/create") == 0 ? snapshot_create(body)
           : load ? snapshot_load(body) : NULL;
}


static void
answer(conn *c, int status, json_t *body)
{
    char  *text, head[256];

    text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);

    if (text == NULL) {
        snprintf(head, sizeof(head), "HTTP/1.1 %d \r\nServer: Firecracker API"
                 "\r\nConnection: keep-alive\r\n\r\n", status);
    } else {
        snprintf(head, sizeof(head), "HTTP/1.1 %d \r\nServer: Firecracker API"
                 "\r\nConnection: keep-alive\r\nContent-Type: application/json"
                 "\r\nContent-Length: %zu\r\n\r\n", status, strlen(text));
    }

    (void) !send(c->fd, head, strlen(head), MSG_NOSIGNAL);
    if (text != NULL) {
        (void) !send(c->fd, text, strlen(text), MSG_NOSIGNAL);
    }
    free(text);
}


static void
request(conn *c, char *head, char *data, size_t len)
{
    char         method[8] = "", target[128] = "";
    json_t      *body;
    const char  *bad;

    if (sscanf(head, "%7s %127s HTTP/1.1\r\n", method, target) != 2) {
        answer(c, 400, json_pack("{s:s}", "fault_message", "no request"));
        return;
    }

    if (strcmp(method, "GET") == 0) {
        answer(c, 200, json_pack("{s:s, s:s, s:s, s:s}", "app_name",
               "Firecracker", "id", vmm_id, "state", !started ? "Not started"
               : paused ? "Paused" : "Running", "vmm_version",
               STUB_VERSION));
        return;
    }

    body = json_loadb(data, len, 0, NULL);
    bad = put(method, target, body);
    json_decref(body);

    if (bad == NULL) {
        answer(c, 204, NULL);
        return;
    }

    printf("%s %s refused: %s\n", method, target, bad);
    fflush(stdout);
    answer(c, 400, json_pack("{s:s}", "fault_message", bad));

    if (strcmp(target, "/snapshot/load") == 0) {
        exit(1);
    }
}


static void
readable(conn *c)
{
    char     *end, *length;
    size_t    len, whole;
    ssize_t   n;

    n = recv(c->fd, c->text + c->len, sizeof(c->text) - 1 - c->len, 0);
    if (n <= 0) {
        close(c->fd);
        c->fd = -1;
        return;
    }

    c->len += (size_t) n;
    c->text[c->len] = '\0';
    end = strstr(c->text, "\r\n\r\n");
    if (end == NULL) {
        return;
    }

    length = strcasestr(c->text, "\r\ncontent-length:");
    len = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    whole = (size_t) (end + 4 - c->text) + len;

    if (c->len >= whole) {
        request(c, c->text, end + 4, len);
        c->len = 0;
    }
}


static int
listens(const char *path)
{
    int                 fd;
    struct sockaddr_un  un = { .sun_family = AF_UNIX };

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *) &un, sizeof(un)) != 0
        || listen(fd, 16) != 0)
    {
        printf("Failed to open the API socket at: %s: %s\n", path,
               strerror(errno));
        exit(1);
    }

    return fd;
}


static void
loop(int api)
{
    int            i;
    struct pollfd  p[CONNS + 1];

    for (i = 0; i < CONNS; i++) {
        conns[i].fd = -1;
    }

    for ( ;; ) {
        p[CONNS].fd = api;
        p[CONNS].events = POLLIN;
        for (i = 0; i < CONNS; i++) {
            p[i].fd = conns[i].fd;
            p[i].events = POLLIN;
            p[i].revents = 0;
        }

        if (poll(p, CONNS + 1, 5) < 0) {
            continue;
        }

        guest_look();

        for (i = 0; i < CONNS; i++) {
            if (p[i].fd != -1 && p[i].revents != 0) {
                readable(&conns[i]);
            }
        }

        for (i = 0; i < CONNS && (p[CONNS].revents & POLLIN); i++) {
            if (conns[i].fd == -1) {
                conns[i].fd = accept4(api, NULL, NULL, SOCK_CLOEXEC);
                conns[i].len = 0;
                break;
            }
        }
    }
}


int
main(int argc, char **argv)
{
    int          i;
    const char  *name, *api;

    name = strrchr(argv[0], '/');
    name = name != NULL ? name + 1 : argv[0];
    signal(SIGPIPE, SIG_IGN);

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s v" STUB_VERSION "\n", strcmp(name, "jailer") == 0
               ? "Jailer" : "Firecracker");
        return 0;
    }

    if (strcmp(name, "jailer") == 0) {
        return jailer_main(argc, argv);
    }

    api = "/run/firecracker.socket";

    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--api-sock") == 0) {
            api = argv[i + 1];
        } else if (strcmp(argv[i], "--id") == 0) {
            snprintf(vmm_id, sizeof(vmm_id), "%s", argv[i + 1]);
        } else if (strcmp(argv[i], "--start-time-us") != 0) {
            break;
        }
    }

    if (i != argc) {
        printf("Arguments parsing error: Found argument '%s' which wasn't "
               "expected\n", argv[i]);
        return 153;
    }

    printf("Running Firecracker v" STUB_VERSION "\n");
    fflush(stdout);
    loop(listens(api));
}
