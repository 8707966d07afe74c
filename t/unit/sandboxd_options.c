/* sources: sandboxd/options_create.c sandboxd/options_image.c sandboxd/options_update.c sandboxd/options_expose.c sandboxd/options_part.c sandboxd/options_resources.c sandboxd/limits.c sandboxd/spec.c sandboxd/names.c common/json_get.c common/error.c sandboxd/net_policy.c */
/* libs: -ljansson -lcrypto */

/* What a creation and an exposure may say. */

#include <string.h>

#include "sandboxd/options.h"
#include "t/unit/tap.h"


static const char *const  images[] = { "base", "host" };

static options_host  here = {
    .default_image = "base", .images = images, .image_count = 2,
    .runtimes = { { .name = "oci", .enforces_cpu = true, .enforces_memory = true,
                    .enforces_pids = true } },
    .runtime_count = 1
};


static json_t *
json_text(const char *text)
{
    json_t  *value;

    value = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (value == NULL) {
        fprintf(stderr, "no JSON: %s\n", text);
    }

    return value;
}


/* The field that is found wrong; "" for none. */
static const char *
create_field(const char *text, int *status, char *spec, size_t size)
{
    int              rc;
    char            *dump;
    error           *err;
    json_t          *in;
    static char      field[64];
    create_options   options;

    err = NULL;
    in = json_text(text);
    rc = create_options_parse(&options, in, &here, &err);
    json_decref(in);

    *status = rc == 0 ? 0 : err->status;
    snprintf(field, sizeof(field), "%s", rc == 0 ? "" : err->field);
    error_free(err);

    if (rc == 0) {
        dump = json_dumps(options.spec, JSON_COMPACT | JSON_SORT_KEYS);
        snprintf(spec, size, "%s", dump);
        free(dump);
        create_options_free(&options);
    }

    return field;
}


typedef struct {
    const char  *in;
    const char  *expected;      /* the spec, or the wrong field */
    int          status;        /* 0: fine */
} create_case;


static const create_case  create_cases[] = {
    { "{}", "{\"env\":{},\"image\":\"base\"}", 0 },
    { "{\"id\":null,\"env\":null,\"resources\":null}",
      "{\"env\":{},\"image\":\"base\"}", 0 },
    { "{\"image\":\"host\"}", "{\"env\":{},\"image\":\"host\"}", 0 },
    { "{\"image\":\"other\"}", "image", 400 },
    { "{\"image\":7}", "image", 400 },
    { "{\"env\":{\"A\":\"1\",\"_b2\":\"\"}}",
      "{\"env\":{\"A\":\"1\",\"_b2\":\"\"},\"image\":\"base\"}", 0 },
    { "{\"env\":{\"1A\":\"x\"}}", "env", 400 },
    { "{\"env\":{\"A=B\":\"x\"}}", "env", 400 },
    { "{\"env\":{\"\":\"x\"}}", "env", 400 },
    { "{\"env\":{\"A\":1}}", "env.A", 400 },
    { "{\"env\":{\"A\":\"x\\u0000y\"}}", "env.A", 400 },
    { "{\"env\":[]}", "env", 400 },
    { "{\"labels\":{\"a/b.c-d_e\":\"x\"}}",
      "{\"env\":{},\"image\":\"base\",\"labels\":{\"a/b.c-d_e\":\"x\"}}", 0 },
    { "{\"labels\":{\"a b\":\"x\"}}", "labels", 400 },
    { "{\"labels\":{\"a\":true}}", "labels.a", 400 },
    { "{\"resources\":{\"cpu\":0.5,\"memory\":\"512M\",\"pids\":64}}",
      "{\"env\":{},\"image\":\"base\",\"resources\":{\"cpu\":0.5,"
      "\"memory\":536870912,\"pids\":64}}", 0 },
    { "{\"resources\":{\"memory\":\"1GiB\"}}",
      "{\"env\":{},\"image\":\"base\",\"resources\":{\"memory\":1073741824}}",
      0 },
    { "{\"resources\":{\"cpu\":2}}",
      "{\"env\":{},\"image\":\"base\",\"resources\":{\"cpu\":2.0}}", 0 },
    { "{\"resources\":{\"cpu\":0}}", "resources.cpu", 400 },
    { "{\"resources\":{\"cpu\":1025}}", "resources.cpu", 400 },
    { "{\"resources\":{\"cpu\":\"1\"}}", "resources.cpu", 400 },
    { "{\"resources\":{\"memory\":1048576}}", "resources.memory", 400 },
    { "{\"resources\":{\"memory\":\"99999T\"}}", "resources.memory", 400 },
    { "{\"resources\":{\"memory\":\"9999999999999999T\"}}",
      "resources.memory", 400 },
    { "{\"resources\":{\"memory\":\"-5M\"}}", "resources.memory", 400 },
    { "{\"resources\":{\"memory\":\"512Mx\"}}", "resources.memory", 400 },
    { "{\"resources\":{\"memory\":\"512M\\u0000\"}}", "resources.memory",
      400 },
    { "{\"resources\":{\"disk\":\"1G\"}}", "resources.disk", 422 },
    { "{\"resources\":{\"disk\":1}}", "resources.disk", 400 },
    { "{\"resources\":{\"pids\":15}}", "resources.pids", 400 },
    { "{\"resources\":{\"gpu\":1}}", "resources", 400 },
    { "{\"network\":{}}",
      "{\"env\":{},\"image\":\"base\",\"network\":{\"outbound\":\"none\"}}",
      0 },
    { "{\"network\":{\"outbound\":\"on\"}}", "network.outbound", 422 },
    { "{\"network\":{\"outbound\":\"all\"}}", "network.outbound", 400 },
    { "{\"network\":{\"inbound\":\"none\"}}", "network", 400 },
    { "{\"network\":\"none\"}", "network", 400 },
    { "{\"sleepAfter\":\"10m\",\"ttl\":60,\"keepAlive\":true}",
      "{\"env\":{},\"image\":\"base\",\"keepAlive\":true,\"sleepAfter\":600,"
      "\"ttl\":60}", 0 },
    { "{\"keepAlive\":false}", "{\"env\":{},\"image\":\"base\"}", 0 },
    { "{\"keepAlive\":1}", "keepAlive", 400 },
    { "{\"sleepAfter\":0}", "sleepAfter", 400 },
    { "{\"sleepAfter\":\"31d\"}", "sleepAfter", 400 },
    { "{\"sleepAfter\":\"10m\\u0000\"}", "sleepAfter", 400 },
    { "{\"sleepAfter\":1.5}", "sleepAfter", 400 },
    { "{\"containerTimeouts\":{\"portReadyTimeoutMS\":10000}}",
      "{\"containerTimeouts\":{\"portReadyTimeoutMS\":10000},\"env\":{},"
      "\"image\":\"base\"}", 0 },
    { "{\"containerTimeouts\":{\"portReadyTimeoutMS\":9999}}",
      "containerTimeouts.portReadyTimeoutMS", 400 },
    { "{\"createTimeoutMs\":999}", "createTimeoutMs", 400 },
    { "{\"exposedPorts\":[8000,9000]}",
      "{\"env\":{},\"exposedPorts\":[8000,9000],\"image\":\"base\"}", 0 },
    { "{\"exposedPorts\":[3000]}", "exposedPorts[0]", 400 },
    { "{\"exposedPorts\":[\"8000\"]}", "exposedPorts", 400 },
    { "{\"limits\":{\"requestsPerSecond\":10,\"bandwidthOut\":\"1M\"}}",
      "{\"env\":{},\"image\":\"base\",\"limits\":{\"bandwidthOut\":1048576,"
      "\"burst\":10,\"requestsPerSecond\":10}}", 0 },
    { "{\"limits\":{\"requestsPerSecond\":1,\"burst\":0,\"connections\":2,"
      "\"bandwidthIn\":4096,\"bodySize\":1}}",
      "{\"env\":{},\"image\":\"base\",\"limits\":{\"bandwidthIn\":4096,"
      "\"bodySize\":1,\"burst\":0,\"connections\":2,"
      "\"requestsPerSecond\":1}}", 0 },
    { "{\"limits\":{}}", "{\"env\":{},\"image\":\"base\"}", 0 },
    { "{\"limits\":{\"connections\":null}}",
      "{\"env\":{},\"image\":\"base\"}", 0 },
    { "{\"limits\":{\"requests\":1}}", "limits.requests", 400 },
    { "{\"limits\":{\"requestsPerSecond\":0}}", "limits.requestsPerSecond", 400 },
    { "{\"limits\":{\"requestsPerSecond\":1.5}}", "limits.requestsPerSecond", 400 },
    { "{\"limits\":{\"burst\":1}}", "limits.burst", 400 },
    { "{\"limits\":{\"bandwidthOut\":4095}}", "limits.bandwidthOut", 400 },
    { "{\"limits\":{\"bandwidthIn\":\"4G\"}}", "limits.bandwidthIn", 400 },
    { "{\"limits\":{\"bodySize\":-1}}", "limits.bodySize", 400 },
    { "{\"limits\":[]}", "limits", 400 },
    { "{\"mounts\":[]}", "{\"env\":{},\"image\":\"base\"}", 0 },
    { "{\"mounts\":[{}]}", "mounts", 501 },
    { "{\"id\":\"UP\"}", "id", 400 },
    { "{\"id\":\"UP\",\"normalizeId\":true}",
      "{\"env\":{},\"image\":\"base\"}", 0 },
    { "{\"id\":\"a\\u0000b\"}", "id", 400 },
    { "{\"whatever\":{\"x\":[1,2]}}", "{\"env\":{},\"image\":\"base\"}", 0 },
    { "[]", "options", 400 },
    { NULL, NULL, 0 }
};


static void
test_create(void)
{
    int                 status;
    char                spec[1024];
    const char         *field;
    const create_case  *c;

    for (c = create_cases; c->in != NULL; c++) {
        spec[0] = '\0';
        field = create_field(c->in, &status, spec, sizeof(spec));

        ok(status == c->status
           && strcmp(status == 0 ? spec : field, c->expected) == 0,
           "%s: %d %s", c->in, status, status == 0 ? spec : field);
    }
}


static void
test_bounds(void)
{
    int       i, status;
    char      name[32], spec[64], *text;
    json_t   *in, *env, *labels;

    in = json_object();
    env = json_object();
    labels = json_object();
    json_object_set_new(in, "env", env);
    json_object_set_new(in, "labels", labels);

    for (i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "N%d", i);
        json_object_set_new(env, name, json_string("v"));
    }

    text = json_dumps(in, 0);
    create_field(text, &status, spec, sizeof(spec));
    ok(status == 0, "256 variables");
    free(text);

    json_object_set_new(env, "ONE_MORE", json_string("v"));
    text = json_dumps(in, 0);
    ok(strcmp(create_field(text, &status, spec, sizeof(spec)), "env") == 0,
       "257 are too many");
    free(text);

    json_object_clear(env);
    text = malloc(70000);
    memset(text, 'x', 65537);
    text[33000] = '\0';
    json_object_set_new(env, "A", json_string(text));
    json_object_set_new(env, "B", json_string(text));
    free(text);
    text = json_dumps(in, 0);
    ok(strcmp(create_field(text, &status, spec, sizeof(spec)), "env") == 0,
       "more than 64 KiB in all");
    free(text);

    json_object_clear(env);
    for (i = 0; i < 33; i++) {
        snprintf(name, sizeof(name), "l%d", i);
        json_object_set_new(labels, name, json_string("v"));
    }

    text = json_dumps(in, 0);
    ok(strcmp(create_field(text, &status, spec, sizeof(spec)), "labels")
       == 0, "33 labels");
    free(text);
    json_decref(in);
}


static void
test_update(void)
{
    json_t          *spec, *patch;
    create_options   options;

    spec = json_text("{\"image\":\"host\",\"env\":{\"A\":\"1\"},"
                     "\"labels\":{\"x\":\"1\",\"y\":\"2\"},"
                     "\"sleepAfter\":60,\"exposedPorts\":[8000],"
                     "\"timeoutMs\":5}");
    patch = json_text("{\"labels\":{\"x\":null,\"z\":\"3\"},"
                      "\"sleepAfter\":null,\"keepAlive\":true}");

    ok(update_options_parse(&options, spec, patch, &here, NULL) == 0
       && json_object_size(json_object_get(options.spec, "labels")) == 2
       && json_object_get(json_object_get(options.spec, "labels"), "x")
          == NULL
       && json_object_get(options.spec, "sleepAfter") == NULL
       && json_is_true(json_object_get(options.spec, "keepAlive"))
       && json_array_size(json_object_get(options.spec, "exposedPorts")) == 1
       && json_integer_value(json_object_get(options.spec, "timeoutMs")) == 5
       && json_array_size(options.warnings) == 0,
       "a patch: members of objects one by one, null for the default");
    ok(json_object_size(json_object_get(spec, "labels")) == 2
       && json_object_get(json_object_get(spec, "labels"), "x") != NULL,
       "the old spec is as it was");
    json_decref(patch);
    create_options_free(&options);

    patch = json_object();
    ok(update_options_parse(&options, spec, patch, &here, NULL) == 0
       && json_equal(options.spec, spec), "an empty patch changes nothing");
    json_decref(patch);
    create_options_free(&options);

    patch = json_text("{\"image\":\"host\"}");
    ok(update_options_parse(&options, spec, patch, &here, NULL) == -1,
       "an image stays");
    json_decref(patch);

    patch = json_text("{\"env\":{\"1\":\"x\"}}");
    ok(update_options_parse(&options, spec, patch, &here, NULL) == -1,
       "a patch is checked like a creation");
    json_decref(patch);
    json_decref(spec);
}


/* The spec of a patch as text; "" if it is refused. */
static const char *
updated(const char *text, const char *patch, const options_host *host,
    error **err)
{
    int              rc;
    char            *dump;
    json_t          *spec, *in;
    static char      line[512];
    create_options   options;

    spec = json_text(text);
    in = json_text(patch);
    rc = update_options_parse(&options, spec, in, host, err);
    json_decref(spec);
    json_decref(in);

    if (rc != 0) {
        return "";
    }

    dump = json_dumps(options.spec, JSON_COMPACT | JSON_SORT_KEYS);
    snprintf(line, sizeof(line), "%s", dump);
    free(dump);
    create_options_free(&options);

    return line;
}


/* What an operator has taken away since is nothing that a patch is about. */
static void
test_update_less(void)
{
    error         *err;
    options_host   less;

    static const char  spec[] = "{\"env\":{},\"image\":\"gone\",\"network\":"
        "{\"outbound\":\"on\"},\"resources\":{\"cpu\":2.0,\"disk\":67108864},"
        "\"runtime\":\"gone\"}";

    less = here;
    less.default_image = NULL;
    less.image_count = 0;

    ok(strcmp(updated(spec, "{\"keepAlive\":true}", &less, NULL),
              "{\"env\":{},\"image\":\"gone\",\"keepAlive\":true,\"network\":"
              "{\"outbound\":\"on\"},\"resources\":{\"cpu\":2.0,\"disk\":"
              "67108864},\"runtime\":\"gone\"}") == 0,
       "a patch without its image, runtime, network and disks");
    ok(strcmp(updated(spec, "{\"network\":null,\"resources\":null}", &less,
                      NULL),
              "{\"env\":{},\"image\":\"gone\",\"runtime\":\"gone\"}") == 0,
       "... which can be taken back");

    err = NULL;
    ok(updated(spec, "{\"resources\":{\"cpu\":1}}", &less, &err)[0] == '\0'
       && strcmp(err->field, "runtime") == 0,
       "limits depend on the runtime");
    error_free(err);

    less.runtimes[0].name = "gone";
    ok(strcmp(updated(spec, "{\"network\":null,\"resources\":{\"cpu\":1}}",
                      &less, NULL),
              "{\"env\":{},\"image\":\"gone\",\"resources\":{\"cpu\":1.0,"
              "\"disk\":67108864},\"runtime\":\"gone\"}") == 0,
       "one limit, beside one that can't be enforced any more");
    ok(strcmp(updated(spec, "{\"network\":null,\"resources\":{\"disk\":null}}",
                      &less, NULL),
              "{\"env\":{},\"image\":\"gone\",\"resources\":{\"cpu\":2.0},"
              "\"runtime\":\"gone\"}") == 0, "... which can be taken back");

    err = NULL;
    ok(updated(spec, "{\"resources\":{\"disk\":\"64M\"}}", &less, &err)[0]
       == '\0' && strcmp(err->field, "resources.disk") == 0,
       "but not asked for again");
    error_free(err);
    err = NULL;
    ok(updated(spec, "{\"network\":{\"outbound\":\"on\"}}", &less, &err)[0]
       == '\0' && strcmp(err->field, "network.outbound") == 0,
       "nor is a network");
    error_free(err);
}


static void
test_warnings(void)
{
    char             name[32];
    int              i;
    json_t          *in;
    create_options   options;

    in = json_text("{\"timeoutMs\":60,\"containerTimeouts\":{\"x\":1},"
                   "\"future\":1}");
    ok(create_options_parse(&options, in, &here, NULL) == 0
       && json_array_size(options.warnings) == 3, "three warnings");
    json_decref(in);
    create_options_free(&options);

    in = json_object();
    for (i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        json_object_set_new(in, name, json_null());
    }

    ok(create_options_parse(&options, in, &here, NULL) == 0
       && json_array_size(options.warnings) == 16, "no more than 16");
    json_decref(in);
    create_options_free(&options);

    ok(create_options_parse(&options, NULL, &here, NULL) == 0
       && json_array_size(options.warnings) == 0
       && options.id[0] == '\0', "no options at all");
    create_options_free(&options);
}


static void
test_spec(void)
{
    json_t         *spec;
    driver_limits   limits;

    spec = json_text("{\"image\":\"x\",\"resources\":{\"cpu\":0.5,"
                     "\"memory\":16777216,\"pids\":20}}");
    spec_limits(spec, &limits);
    ok(limits.cpu == 0.5 && limits.memory == 16777216 && limits.pids == 20
       && limits.disk == 0, "limits of a spec");
    ok(spec_start_timeout(spec) == START_TIMEOUT_MS
       && spec_queue_timeout(spec) == QUEUE_TIMEOUT_MS, "default times");
    json_decref(spec);

    spec = json_text("{\"createTimeoutMs\":5000,\"containerTimeouts\":"
                     "{\"portReadyTimeoutMS\":20000,"
                     "\"instanceGetTimeoutMS\":6000}}");
    ok(spec_start_timeout(spec) == 5000 && spec_queue_timeout(spec) == 6000,
       "times that were asked for");
    json_decref(spec);
}


static int
expose_status(const char *text, expose_options *o, size_t *warned)
{
    int      rc, status;
    error   *err;
    json_t  *in, *warnings;

    err = NULL;
    in = json_text(text);
    warnings = json_array();
    rc = expose_options_parse(o, in, warnings, &err);
    status = rc == 0 ? 0 : err->status;
    *warned = json_array_size(warnings);
    json_decref(in);
    json_decref(warnings);
    error_free(err);

    return status;
}


static void
test_expose(void)
{
    size_t          warned;
    expose_options  o;

    ok(expose_status("{\"port\":8000}", &o, &warned) == 0 && o.port == 8000
       && !o.has_access && !o.has_host && o.token[0] == '\0', "a port");
    ok(expose_status("{\"port\":8000,\"access\":\"public\",\"host\":"
                     "\"public\",\"name\":\"x\"}", &o, &warned) == 0
       && o.access == ACCESS_PUBLIC && o.host_public
       && strcmp(o.name, "x") == 0, "everything");
    ok(expose_status("{\"port\":8000,\"token\":\"abc_efgh\"}", &o, &warned)
       == 0 && warned == 1, "a token with an underscore");
    ok(expose_status("{\"port\":8000,\"hostname\":\"x\"}", &o, &warned) == 0
       && warned == 1, "an unknown member");
    ok(expose_status("{\"port\":8000,\"access\":\"private\",\"rotate\":true}",
                     &o, &warned) == 0
       && o.access == ACCESS_PRIVATE && o.rotate && warned == 0, "private");
    ok(expose_status("{\"port\":8000,\"access\":\"private\",\"token\":"
                     "\"abcdefgh\"}", &o, &warned) == 400,
       "a private exposure with a token");
    ok(expose_status("{\"port\":8000,\"token\":\"abcdefgh\",\"rotate\":true}",
                     &o, &warned) == 400, "a token, and another one");
    ok(expose_status("{\"port\":8000,\"limits\":{\"connections\":3}}", &o,
                     &warned) == 0
       && o.has_limits && o.limits.connections == 3 && warned == 0, "limits");
    ok(expose_status("{\"port\":8000,\"limits\":null}", &o, &warned) == 0
       && o.has_limits && o.limits.connections == 0, "no limits any more");
    ok(expose_status("{\"port\":8000,\"limits\":{\"rate\":3}}", &o, &warned)
       == 400, "a limit that there isn't");
    ok(expose_status("{\"port\":8000,\"rotate\":1}", &o, &warned) == 400,
       "rotate as a number");
    ok(expose_status("{\"port\":8000,\"access\":\"Public\"}", &o, &warned)
       == 400, "access in another case");
    ok(expose_status("{\"port\":8000,\"host\":\"x\"}", &o, &warned) == 400,
       "another host");
    ok(expose_status("{\"port\":8000,\"token\":\"abcdefgh\",\"access\":"
                     "\"public\"}", &o, &warned) == 400,
       "a public exposure with a token");
    ok(expose_status("{\"port\":\"8000\"}", &o, &warned) == 400
       && expose_status("{}", &o, &warned) == 400
       && expose_status("{\"port\":8000.0}", &o, &warned) == 400
       && expose_status("{\"port\":null}", &o, &warned) == 400
       && expose_status("{\"port\":18446744073709559}", &o, &warned) == 400,
       "no port");
    ok(expose_status("{\"port\":8000,\"name\":\"0123456789012345678901234567"
                     "8901234567890123456789012345678901234\"}", &o, &warned)
       == 400, "a name of 65 bytes");
    ok(expose_status("[8000]", &o, &warned) == 400, "an array");
}


/* A host with two drivers. */
static void
test_runtimes(void)
{
    int                          status;
    char                         spec[512];
    options_host                 one;
    static const char *const     names[] = { "dir", "file", "other" };
    static const unsigned        of[] = { 1, 2, 2 };

    one = here;
    here.images = names;
    here.image_runtimes = of;
    here.image_count = 3;
    here.default_image = "dir";
    here.runtimes[1].name = "qemu";
    here.runtimes[1].enforces_disk = true;
    here.runtime_count = 2;

    create_field("{}", &status, spec, sizeof(spec));
    ok(status == 0 && strstr(spec, "\"image\":\"dir\"") != NULL
       && strstr(spec, "runtime") == NULL, "the default runtime");

    create_field("{\"runtime\":\"qemu\",\"resources\":{\"disk\":\"64M\"}}",
                 &status, spec, sizeof(spec));
    ok(status == 0 && strstr(spec, "\"image\":\"file\"") != NULL
       && strstr(spec, "\"runtime\":\"qemu\"") != NULL,
       "another one, its first image and its limits");

    here.runtimes[1].disk_max = 100ull << 20;
    ok(create_field("{\"runtime\":\"qemu\",\"resources\":{\"disk\":"
                    "\"100M\"}}", &status, spec, sizeof(spec)) != NULL
       && status == 0
       && strcmp(create_field("{\"runtime\":\"qemu\",\"resources\":"
                              "{\"disk\":104857601}}", &status, spec,
                              sizeof(spec)), "resources.disk") == 0
       && status == 422, "no disk that its file system couldn't hold");

    create_field("{\"runtime\":\"qemu\",\"image\":\"other\"}", &status,
                 spec, sizeof(spec));
    ok(status == 0 && strstr(spec, "\"image\":\"other\"") != NULL,
       "another image of it");

    ok(strcmp(create_field("{\"resources\":{\"disk\":\"64M\"}}", &status,
                           spec, sizeof(spec)), "resources.disk") == 0
       && status == 422, "what one can, the other can't");
    ok(strcmp(create_field("{\"runtime\":\"qemu\",\"image\":\"dir\"}",
                           &status, spec, sizeof(spec)), "image") == 0
       && status == 422, "an image of the other");
    ok(strcmp(create_field("{\"runtime\":\"xen\"}", &status, spec,
                           sizeof(spec)), "runtime") == 0 && status == 422,
       "an unknown runtime");

    here = one;
}


int
main(void)
{
    test_create();
    test_bounds();
    test_update();
    test_update_less();
    test_warnings();
    test_spec();
    test_expose();

    test_runtimes();

    return done_testing();
}
