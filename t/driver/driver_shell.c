/*
 * Drives a driver by itself, without records and API: one command per line of
 * standard input, one answer or event per line of standard output, all JSON.
 *
 *   driver_shell STATE_DIR RUN_DIR AGENT DEV [NAME=DIR...]
 *
 *   {"op":"info"}    {"op":"health"}
 *   {"op":"start","slot":1,"id":"demo","key":"...","image":"host","env":{},
 *    "limits":{"memory":...},"defaults":{},"timeout":10000}
 *   {"op":"prepare","slot":1,"image":"host","timeout":10000}
 *   {"op":"stop","slot":1,"grace":1000}    {"op":"destroy","slot":1}
 *   {"op":"sleep","slot":1,"timeout":10000}
 *   {"op":"clone","slot":1,"to":2}
 *   {"op":"adopt","slot":1,"pid":4711,"start_time":12345}
 *   {"op":"sweep","keep":{"00000001":true}}    (true: it runs)
 *   {"op":"quit"}
 *
 * In the environment: DRIVER=qemu and DRIVER_KERNEL, that driver's directory,
 * and DRIVER_TEMPLATES, how many, DRIVER_ACCEL, DRIVER_VMM, its program.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <uv.h>

#include "common/log.h"
#include "sandboxd/driver.h"
#include "sandboxd/vm.h"

#define LINE_BYTES  262144

typedef struct {
    json_t    *command;
    uint64_t   began;
} call;

static driver     *d;
static uv_loop_t   loop;
static uv_pipe_t   input;
static char        line[LINE_BYTES];
static size_t      line_len;


static void
print(json_t *answer)
{
    char  *text;

    text = json_dumps(answer, JSON_COMPACT);
    printf("%s\n", text);
    fflush(stdout);

    free(text);
    json_decref(answer);
}


static uint64_t
number(json_t *o, const char *name)
{
    return (uint64_t) json_integer_value(json_object_get(o, name));
}


static call *
call_begin(json_t *command)
{
    call  *c;

    c = calloc(1, sizeof(call));
    if (c == NULL) {
        abort();
    }

    c->command = json_incref(command);
    c->began = uv_hrtime();

    return c;
}


static void
call_end(call *c, error *err, json_t *answer)
{
    json_object_set(answer, "op", json_object_get(c->command, "op"));
    json_object_set(answer, "slot", json_object_get(c->command, "slot"));
    json_object_set_new(answer, "us",
        json_integer((json_int_t) ((uv_hrtime() - c->began) / 1000)));
    json_object_set_new(answer, "ok", json_boolean(err == NULL));

    if (err != NULL) {
        json_object_set_new(answer, "code", json_string(err->code));
        json_object_set_new(answer, "message", json_string(err->message));
        error_free(err);
    }

    json_decref(c->command);
    free(c);
    print(answer);
}


static void
started(void *data, const driver_handle *handle, error *err)
{
    json_t  *answer;

    answer = json_object();

    if (err == NULL) {
        json_object_set_new(answer, "pid", json_integer(handle->pid));
        json_object_set_new(answer, "start_time",
                            json_integer((json_int_t) handle->start_time));
    }

    call_end(data, err, answer);
}


static void
done(void *data, error *err)
{
    call_end(data, err, json_object());
}


static void
slept(void *data, bool memory, error *err)
{
    call_end(data, err, json_pack("{s:b}", "memory", memory));
}


static void
exited(void *data, uint32_t slot, int status, const char *why)
{
    print(json_pack("{s:s, s:i, s:i, s:s?}", "event", "exited", "slot",
                    (int) slot, "status", status, "why", why));
}


static void
limits_get(json_t *o, driver_limits *l)
{
    memset(l, 0, sizeof(driver_limits));
    l->cpu = json_number_value(json_object_get(o, "cpu"));
    l->memory = number(o, "memory");
    l->disk = number(o, "disk");
    l->pids = (uint32_t) number(o, "pids");
}


static void
start(json_t *o, bool prepare)
{
    call         *c;
    json_t       *none;
    driver_spec   spec;

    none = json_object();
    memset(&spec, 0, sizeof(spec));

    spec.id = json_string_value(json_object_get(o, "id"));
    spec.slot = (uint32_t) number(o, "slot");
    spec.epoch = 1;
    spec.key = json_string_value(json_object_get(o, "key"));
    spec.image = json_string_value(json_object_get(o, "image"));
    spec.env = json_object_get(o, "env");

    /* It lives until the answer. */
    if (spec.env == NULL) {
        spec.env = none;
        json_object_set(o, "env", none);
    }

    limits_get(json_object_get(o, "limits"), &spec.limits);
    limits_get(json_object_get(o, "defaults"), &spec.defaults);

    c = call_begin(o);
    (prepare ? d->prepare : d->start)(d, &spec, number(o, "timeout"), started,
                                      c);
    json_decref(none);
}


/* Of those that are to stay: true if they run. */
static slot_use
use(void *data, uint32_t slot)
{
    char     name[16];
    json_t  *value;

    snprintf(name, sizeof(name), "%08" PRIx32, slot);
    value = json_object_get(data, name);

    return value == NULL ? SLOT_NOBODYS
           : json_is_true(value) ? SLOT_RUNS : SLOT_IDLE;
}


static void
info(void)
{
    print(json_pack("{s:s, s:s, s:b, s:b, s:b, s:b}", "op", "info",
                    "name", d->name, "cpu", d->enforces_cpu,
                    "memory", d->enforces_memory, "disk", d->enforces_disk,
                    "pids", d->enforces_pids));
}


static void
health(void)
{
    error  *err;

    err = NULL;
    (void) d->health(d, &err);
    print(json_pack("{s:s, s:b, s:s}", "op", "health", "ok", err == NULL,
                    "message", err != NULL ? err->message : ""));
    error_free(err);
}


static void
command(char *text)
{
    json_t         *o;
    const char     *op;
    driver_handle   handle;

    o = json_loads(text, 0, NULL);
    op = json_string_value(json_object_get(o, "op"));

    if (op == NULL) {
        print(json_pack("{s:s}", "error", "not a command"));

    } else if (strcmp(op, "info") == 0) {
        info();

    } else if (strcmp(op, "health") == 0) {
        health();

    } else if (strcmp(op, "start") == 0) {
        start(o, false);

    } else if (strcmp(op, "prepare") == 0) {
        start(o, true);

    } else if (strcmp(op, "stop") == 0) {
        d->stop(d, (uint32_t) number(o, "slot"), number(o, "grace"), done,
                call_begin(o));

    } else if (strcmp(op, "sleep") == 0) {
        d->sleep(d, (uint32_t) number(o, "slot"), number(o, "timeout"), slept,
                 call_begin(o));

    } else if (strcmp(op, "clone") == 0) {
        d->clone(d, (uint32_t) number(o, "slot"), (uint32_t) number(o, "to"),
                 slept, call_begin(o));

    } else if (strcmp(op, "destroy") == 0) {
        d->destroy(d, (uint32_t) number(o, "slot"), done, call_begin(o));

    } else if (strcmp(op, "adopt") == 0) {
        handle.pid = (pid_t) number(o, "pid");
        handle.start_time = number(o, "start_time");
        print(json_pack("{s:s, s:O, s:b}", "op", op, "slot",
              json_object_get(o, "slot"), "ok",
              d->adopt(d, (uint32_t) number(o, "slot"), &handle)));

    } else if (strcmp(op, "sweep") == 0) {
        d->sweep(d, use, json_object_get(o, "keep"));
        print(json_pack("{s:s, s:b}", "op", op, "ok", 1));

    } else if (strcmp(op, "quit") == 0) {
        uv_close((uv_handle_t *) &input, NULL);
        d->free(d);
    }

    json_decref(o);
}


static void
input_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    buf->base = line + line_len;
    buf->len = sizeof(line) - 1 - line_len;
}


static void
input_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    char  *end, *next;

    if (n < 0) {
        uv_close((uv_handle_t *) stream, NULL);
        d->free(d);
        return;
    }

    line_len += (size_t) n;
    line[line_len] = '\0';

    for (next = line; (end = strchr(next, '\n')) != NULL; next = end + 1) {
        *end = '\0';
        command(next);

        if (uv_is_closing((uv_handle_t *) stream)) {
            return;
        }
    }

    line_len -= (size_t) (next - line);
    memmove(line, next, line_len);
}


int
main(int argc, char **argv)
{
    int           i;
    char         *eq;
    error        *err;
    unsigned      n;
    driver_host   host;
    const char   *names[16], *dirs[16];

    if (strcmp(argv[0], VM_NAME) == 0) {
        vm_main();
    }

    if (argc < 5) {
        fprintf(stderr, "usage: driver_shell STATE RUN AGENT DEV [N=DIR]\n");
        return 2;
    }

    n = 0;

    for (i = 5; i < argc && n < 16; i++) {
        eq = strchr(argv[i], '=');

        if (eq != NULL) {
            *eq = '\0';
            names[n] = argv[i];
            dirs[n++] = eq + 1;
        }
    }

    if (getenv("DRIVER_DEBUG") != NULL) {
        log_set_level(LOG_DEBUG);
    }

    /* As sandboxd does. */
    signal(SIGPIPE, SIG_IGN);

    uv_loop_init(&loop);

    memset(&host, 0, sizeof(host));
    host.loop = &loop;
    host.state_dir = argv[1];
    host.run_dir = argv[2];
    host.agent_path = argv[3];
    host.crun_path = "/usr/bin/crun";
    host.socket_gid = (gid_t) -1;
    host.dev = atoi(argv[4]) != 0;
    host.image_names = names;
    host.image_dirs = dirs;
    host.image_count = n;
    host.exited = exited;

    host.kernel_dir = getenv("DRIVER_KERNEL");
    host.accel = getenv("DRIVER_ACCEL") != NULL ? getenv("DRIVER_ACCEL")
                                                : "tcg";
    host.vmm_path = getenv("DRIVER_VMM");

    host.channel = getenv("DRIVER_CHANNEL");
    host.vsock_program = getenv("DRIVER_VSOCK_PROGRAM");

    if (getenv("DRIVER_TEMPLATES") != NULL) {
        host.templates = (unsigned) atoi(getenv("DRIVER_TEMPLATES"));
    }

    host.templates_without_node = getenv("DRIVER_TEMPLATE_NODE") != NULL
        && strcmp(getenv("DRIVER_TEMPLATE_NODE"), "off") == 0;

    err = NULL;
    d = getenv("DRIVER") != NULL
        ? driver_machine_create(&host, getenv("DRIVER"), &err)
        : driver_oci_create(&host, &err);

    if (d == NULL) {
        print(json_pack("{s:s, s:s}", "error", err->code,
                        "message", err->message));
        error_free(err);
        uv_loop_close(&loop);
        return 1;
    }

    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *) &input, input_alloc, input_read);

    uv_run(&loop, UV_RUN_DEFAULT);

    return uv_loop_close(&loop) == 0 ? 0 : 3;
}
