/* sources: sandboxd/fc_api.c sandboxd/fc_answer.c */
/* libs: -ljansson */

/* What Firecracker is told, against the fields of its API, and what is
 * understood of its answers. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/fc_api.h"
#include "t/driver/fc_schema.h"
#include "t/unit/tap.h"

static fc_plan    plan;
static fc_answer  a;


static fc_machine
machine(void)
{
    fc_machine  m = {
        .cpus = 2,
        .memory = 160ull << 20,
        .kernel = "/kernel",
        .initrd = "/initramfs",
        .line = "console=ttyS0 quiet",
        .drives = {
            { .id = "boot", .path = "/boot", .read_only = true },
            { .id = "disk", .path = "/disk", .rate = { 1 << 20, 500 },
              .async = true },
        },
        .drive_count = 2,
        .vsock = "/s/vsock",
    };

    return m;
}


/* The body of the request, or NULL if there is none. */
static json_t *
body_of(const char *target)
{
    unsigned  i;

    for (i = 0; i < plan.count; i++) {
        if (strcmp(plan.r[i].target, target) == 0) {
            return json_loads(plan.r[i].body, 0, NULL);
        }
    }

    return NULL;
}


static long long
number(json_t *o, const char *path)
{
    char    name[64];
    size_t  n;

    while ((n = strcspn(path, ".")) > 0) {
        snprintf(name, sizeof(name), "%.*s", (int) n, path);
        o = json_object_get(o, name);
        path += n + (path[n] == '.');
    }

    return json_is_integer(o) ? json_integer_value(o) : -1;
}


static void
fits(const char *what)
{
    int          wrong;
    json_t      *body;
    unsigned     i;
    const char  *bad, *field;

    for (i = 0, wrong = 0; i < plan.count; i++) {
        body = json_loads(plan.r[i].body, 0, NULL);
        bad = fc_schema_check(plan.r[i].method, plan.r[i].target, body,
                              &field);
        if (bad != NULL) {
            printf("# %s %s: %s %s\n", plan.r[i].method, plan.r[i].target,
                   field, bad);
            wrong++;
        }
        json_decref(body);
    }

    ok(plan.count > 0 && wrong == 0, "%s: as the API wants it", what);
}


static void
requests(void)
{
    char        *text;
    size_t       len;
    json_t      *body;
    fc_machine   m;

    m = machine();
    fc_plan_boot(&plan, &m);
    fits("a start");
    ok(strcmp(plan.r[plan.count - 1].target, "/actions") == 0,
       "it starts with the last one");
    body = body_of("/machine-config");
    ok(number(body, "vcpu_count") == 2 && number(body, "mem_size_mib") == 160,
       "its size");
    json_decref(body);
    body = body_of("/drives/disk");
    ok(number(body, "rate_limiter.bandwidth.size") == 1 << 20
       && number(body, "rate_limiter.bandwidth.refill_time") == 1000
       && number(body, "rate_limiter.ops.size") == 500
       && strcmp(json_string_value(json_object_get(body, "cache_type")),
                 "Writeback") == 0
       && strcmp(json_string_value(json_object_get(body, "io_engine")),
                 "Async") == 0, "a disk with limits");
    json_decref(body);
    body = body_of("/drives/boot");
    ok(json_is_true(json_object_get(body, "is_read_only"))
       && json_object_get(body, "rate_limiter") == NULL, "one without");
    json_decref(body);
    ok(body_of("/network-interfaces/eth0") == NULL
       && body_of("/balloon") == NULL, "no network, no balloon");

    text = fc_request_text(&plan.r[1], &len);
    ok(strncmp(text, "PUT /machine-config HTTP/1.1\r\n", 30) == 0
       && len == strlen(text)
       && strstr(text, "\r\n\r\n{\"") != NULL, "a request's text");
    free(text);
    fc_plan_free(&plan);

    m.tap = "tap0";
    m.mac = "02:00:00:00:00:01";
    m.balloon = true;
    fc_plan_boot(&plan, &m);
    fits("with a network and a balloon");
    body = body_of("/network-interfaces/eth0");
    ok(json_object_get(body, "tx_rate_limiter") == NULL
       && json_object_get(body, "rx_rate_limiter") == NULL, "as it can");
    json_decref(body);
    fc_plan_free(&plan);

    fc_plan_disk(&plan, "disk", &(fc_limit) { 1 << 20, 0 });
    fits("another limit of a disk");
    body = body_of("/drives/disk");
    ok(number(body, "rate_limiter.bandwidth.size") == 1 << 20
       && number(body, "rate_limiter.bandwidth.refill_time") == 1000
       && number(body, "rate_limiter.ops.size") == 0, "of bytes alone");
    json_decref(body);
    fc_plan_free(&plan);

    fc_plan_rate(&plan, 5000);
    fits("a limit");
    body = body_of("/network-interfaces/eth0");
    ok(number(body, "tx_rate_limiter.bandwidth.size") == 5000
       && number(body, "tx_rate_limiter.bandwidth.refill_time") == 1000
       && number(body, "rx_rate_limiter.bandwidth.size") == 5000
       && number(body, "rx_rate_limiter.bandwidth.refill_time") == 1000
       && strcmp(plan.r[0].method, "PATCH") == 0, "of both ways");
    json_decref(body);
    fc_plan_free(&plan);
    fc_plan_rate(&plan, 0);
    fits("none any more");
    body = body_of("/network-interfaces/eth0");
    ok(number(body, "tx_rate_limiter.bandwidth.size") == 0
       && number(body, "rx_rate_limiter.bandwidth.refill_time") == 0,
       "which takes it away");
    json_decref(body);
    fc_plan_free(&plan);

    fc_plan_load(&plan, "/state", "/memory");
    fits("a wake");
    fc_plan_free(&plan);
    fc_plan_save(&plan, "/state", "/memory", 1000);
    fits("a sleep");
    ok(plan.count == 2 && plan.r[1].timeout_ms == 1000, "which takes its time");
    fc_plan_free(&plan);
    fc_plan_resume(&plan);
    fits("none after all");
    fc_plan_free(&plan);
}


/* That what is checked against finds anything. */
static void
schema(void)
{
    size_t       i;
    json_t      *body;
    const char  *bad, *field;

    static const struct {
        const char  *method, *target, *body, *bad, *field;
    } wrong[] = {
        { "PUT", "/vsock", "{\"guest_cid\":3}", "missing", "uds_path" },
        { "PUT", "/vsock", "{\"guest_cid\":2,\"uds_path\":\"\"}", "range",
          "guest_cid" },
        { "PUT", "/vsock", "{\"guest_cid\":3,\"uds_path\":\"\",\"x\":1}",
          "unknown", "PUT /vsock" },
        { "PUT", "/vm", "{\"state\":\"Paused\"}", "no target", "/vm" },
        { "PATCH", "/vm", "{\"state\":\"Asleep\"}", "none of", "state" },
        { "PATCH", "/vm", "[]", "no object", "" },
        { "PUT", "/drives/a", "{\"drive_id\":1}", "no string", "drive_id" },
        { "PUT", "/entropy", "{\"rate_limiter\":{\"ops\":{\"size\":1}}}",
          "missing", "refill_time" },
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        body = json_loads(wrong[i].body, 0, NULL);
        field = "";
        bad = fc_schema_check(wrong[i].method, wrong[i].target, body, &field);
        ok(bad != NULL && strstr(bad, wrong[i].bad) != NULL
           && strcmp(field, wrong[i].field) == 0, "%s is found in %s",
           wrong[i].bad, wrong[i].body);
        json_decref(body);
    }
}


static int
look(const char *text)
{
    a.len = strlen(text);
    memcpy(a.text, text, a.len);

    return fc_answer_look(&a);
}


static void
answers(void)
{
    size_t  i, len;
    char    fault[FC_FAULT_MAX];

    static const char  done[] = "HTTP/1.1 204 \r\nServer: Firecracker API\r\n"
                                "Connection: keep-alive\r\n\r\n";
    static const char  refused[] =
        "HTTP/1.1 400 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
        "Content-Type: application/json\r\nContent-Length: 34\r\n\r\n"
        "{\"fault_message\":\"no\\nsuch\\u0007\"}";
    static const char *const  bad[] = {
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.0 204 \r\n\r\n",
        "HTTP/1.1 2o4 \r\n\r\n",
        "HTTP/1.1 2044\r\n\r\n",
        "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 65537\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
        "HTTP/1.1 204 \r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nab",
        "HTTP/1.1 204 \r\n\r\nHTTP/1.1 204 \r\n\r\n",
        "\r\n\r\n",
    };

    ok(look(done) == 1 && a.status == 204 && a.body_len == 0, "done");
    ok(look(refused) == 1 && a.status == 400, "refused");
    fc_answer_fault(&a, fault);
    ok(strcmp(fault, "no such?") == 0, "why, on one line: %s", fault);

    for (i = 0, len = 0; i < sizeof(refused) - 1; i++) {
        memcpy(a.text, refused, i);
        a.len = i;
        len += fc_answer_look(&a) == 0;
    }
    ok(len == sizeof(refused) - 1, "however it arrives");

    ok(look("HTTP/1.1 400 \r\nContent-Length: 3\r\n\r\n[1]") == 1,
       "no object");
    fc_answer_fault(&a, fault);
    ok(strcmp(fault, "no reason given") == 0, "gives no reason");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(look(bad[i]) == -1, "no answer: %zu", i);
    }

    memset(a.text, 'a', sizeof(a.text));
    a.len = FC_HEAD_MAX + 1;
    ok(fc_answer_look(&a) == -1, "a head without an end");
}


int
main(void)
{
    requests();
    schema();
    answers();

    return done_testing();
}
