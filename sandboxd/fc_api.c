/* Firecracker's API; see fc_api.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sandboxd/fc_api.h"

#define ANSWER_MS  5000             /* it takes milliseconds */
#define START_MS   10000
#define RATE_MS    1000


/* Takes the body. */
static void
plan_add(fc_plan *plan, const char *method, const char *target, json_t *body,
    unsigned timeout_ms)
{
    fc_request  *r;

    r = &plan->r[plan->count++];
    r->method = method;
    r->timeout_ms = timeout_ms;
    snprintf(r->target, sizeof(r->target), "%s", target);
    r->body = json_dumps(body, JSON_COMPACT);
    json_decref(body);

    if (r->body == NULL) {
        abort();
    }
}


static json_t *
rate_bucket(uint64_t n)
{
    return json_pack("{s:I, s:I}", "size", (json_int_t) n, "refill_time",
                     (json_int_t) RATE_MS);
}


static void
rate_add(json_t *body, const char *name, const fc_limit *rate)
{
    json_t  *limiter;

    if (rate->bytes == 0 && rate->ops == 0) {
        return;
    }

    limiter = json_object();

    if (rate->bytes != 0) {
        json_object_set_new(limiter, "bandwidth", rate_bucket(rate->bytes));
    }

    if (rate->ops != 0) {
        json_object_set_new(limiter, "ops", rate_bucket(rate->ops));
    }

    json_object_set_new(body, name, limiter);
}


/* None of them is the root device: that is the initramfs's to mount.  What is
 * written is on the disk when the guest was told so. */
static void
plan_drive(fc_plan *plan, const fc_drive *d)
{
    char     target[FC_PATH_MAX];
    json_t  *body;

    snprintf(target, sizeof(target), "/drives/%s", d->id);
    body = json_pack("{s:s, s:s, s:b, s:b, s:s, s:s}", "drive_id", d->id,
                     "path_on_host", d->path, "is_root_device", 0,
                     "is_read_only", d->read_only, "cache_type",
                     d->read_only ? "Unsafe" : "Writeback", "io_engine",
                     d->async ? "Async" : "Sync");
    rate_add(body, "rate_limiter", &d->rate);
    plan_add(plan, "PUT", target, body, ANSWER_MS);
}


static void
plan_network(fc_plan *plan, const fc_machine *m)
{
    json_t  *body;

    body = json_pack("{s:s, s:s, s:s}", "iface_id", "eth0", "host_dev_name",
                     m->tap, "guest_mac", m->mac);
    plan_add(plan, "PUT", "/network-interfaces/eth0", body, ANSWER_MS);
}


/* A bucket without room is none. */
static json_t *
bucket_anew(uint64_t n)
{
    return n != 0 ? rate_bucket(n)
           : json_pack("{s:i, s:i}", "size", 0, "refill_time", 0);
}


void
fc_plan_disk(fc_plan *plan, const char *id, const fc_limit *limit)
{
    char  target[FC_PATH_MAX];

    snprintf(target, sizeof(target), "/drives/%s", id);
    memset(plan, 0, sizeof(*plan));
    plan_add(plan, "PATCH", target,
             json_pack("{s:s, s:{s:o, s:o}}", "drive_id", id, "rate_limiter",
                       "bandwidth", bucket_anew(limit->bytes), "ops",
                       bucket_anew(limit->ops)), ANSWER_MS);
}


void
fc_plan_rate(fc_plan *plan, uint64_t bytes)
{
    json_t  *limiter;

    limiter = json_pack("{s:o}", "bandwidth", bucket_anew(bytes));
    memset(plan, 0, sizeof(*plan));
    plan_add(plan, "PATCH", "/network-interfaces/eth0",
             json_pack("{s:s, s:O, s:o}", "iface_id", "eth0",
                       "rx_rate_limiter", limiter, "tx_rate_limiter",
                       limiter), ANSWER_MS);
}


/* It writes to the console, where the guest's lines are, what it is asked for;
 * only what went wrong is of use there. */
static void
plan_logger(fc_plan *plan)
{
    plan_add(plan, "PUT", "/logger", json_pack("{s:s, s:b, s:b}", "level",
             "Warning", "show_level", 1, "show_log_origin", 0), ANSWER_MS);
}


void
fc_plan_boot(fc_plan *plan, const fc_machine *m)
{
    unsigned  i;

    memset(plan, 0, sizeof(*plan));
    plan_logger(plan);
    plan_add(plan, "PUT", "/machine-config",
             json_pack("{s:i, s:I, s:b}", "vcpu_count", (int) m->cpus,
                       "mem_size_mib", (json_int_t) (m->memory >> 20),
                       "smt", 0), ANSWER_MS);
    plan_add(plan, "PUT", "/boot-source",
             json_pack("{s:s, s:s, s:s}", "kernel_image_path", m->kernel,
                       "initrd_path", m->initrd, "boot_args", m->line),
             ANSWER_MS);

    for (i = 0; i < m->drive_count; i++) {
        plan_drive(plan, &m->drives[i]);
    }

    if (m->tap != NULL) {
        plan_network(plan, m);
    }

    plan_add(plan, "PUT", "/vsock",
             json_pack("{s:i, s:s}", "guest_cid", FC_CID, "uds_path",
                       m->vsock), ANSWER_MS);
    plan_add(plan, "PUT", "/entropy", json_object(), ANSWER_MS);

    if (m->balloon) {
        plan_add(plan, "PUT", "/balloon",
                 json_pack("{s:i, s:b, s:b}", "amount_mib", 0,
                           "deflate_on_oom", 1, "free_page_reporting", 1),
                 ANSWER_MS);
    }

    plan_add(plan, "PUT", "/actions",
             json_pack("{s:s}", "action_type", "InstanceStart"), START_MS);
}


void
fc_plan_load(fc_plan *plan, const char *state, const char *memory)
{
    memset(plan, 0, sizeof(*plan));
    plan_logger(plan);
    plan_add(plan, "PUT", "/snapshot/load",
             json_pack("{s:s, s:{s:s, s:s}, s:b}", "snapshot_path", state,
                       "mem_backend", "backend_type", "File", "backend_path",
                       memory, "resume_vm", 1), START_MS);
}


static void
plan_state(fc_plan *plan, const char *state)
{
    plan_add(plan, "PATCH", "/vm", json_pack("{s:s}", "state", state),
             ANSWER_MS);
}


void
fc_plan_save(fc_plan *plan, const char *state, const char *memory,
    unsigned timeout_ms)
{
    memset(plan, 0, sizeof(*plan));
    plan_state(plan, "Paused");
    plan_add(plan, "PUT", "/snapshot/create",
             json_pack("{s:s, s:s, s:s}", "snapshot_type", "Full",
                       "snapshot_path", state, "mem_file_path", memory),
             timeout_ms);
}


void
fc_plan_resume(fc_plan *plan)
{
    memset(plan, 0, sizeof(*plan));
    plan_state(plan, "Resumed");
}


void
fc_plan_free(fc_plan *plan)
{
    unsigned  i;

    for (i = 0; i < plan->count; i++) {
        free(plan->r[i].body);
    }

    memset(plan, 0, sizeof(*plan));
}


char *
fc_request_text(const fc_request *r, size_t *len)
{
    int    n;
    char  *text;

    n = asprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n"
                 "Accept: application/json\r\n"
                 "Content-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n%s", r->method, r->target,
                 strlen(r->body), r->body);
    if (n == -1) {
        abort();
    }

    *len = (size_t) n;

    return text;
}
