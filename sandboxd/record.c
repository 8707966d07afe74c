/* Records as JSON; see record.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "sandboxd/domain.h"
#include "sandboxd/record.h"
#include "sandboxd/tenant.h"


static const char *const  shown_options[] = {
    "sleepAfter", "ttl", "keepAlive", "ephemeral", "activity",
    "containerTimeouts", "createTimeoutMs", "timeoutMs", "exposedPorts",
    "limits"
};


const char *
state_name(sandbox_state state)
{
    static const char *const  names[] = { "created", "starting", "running",
                                          "sleeping", "asleep",
                                          "destroying", "unreachable" };

    return names[state];
}


static void
record_limits(json_t *record, json_t *value)
{
    if (value != NULL) {
        json_object_set_new(record, "limits", value);
    }
}


/* Where one that others run is: the kind, and while it runs the address; a
 * socket has the name of its slot.  What is registered by now may not be known
 * to the workers yet: then it can't be reached. */
static void
record_endpoint(json_t *record, const sandbox *sb)
{
    bool         there;
    json_t      *where;
    const char  *kind;

    where = json_object_get(json_object_get(sb->spec, "external"), "endpoint");
    there = sb->shown.state == STATE_RUNNING
            && sb->run.where_epoch == sb->shown.epoch;

    if (there) {
        where = sb->run.where;

    } else if (sb->shown.state == STATE_RUNNING) {
        json_object_set_new(record, "state", json_string(
                            state_name(STATE_UNREACHABLE)));
        json_object_set_new(record, "key", json_string(""));
    }

    kind = json_string_value(json_object_get(where, "kind"));

    if (!there || kind == NULL) {
        where = json_pack("{s:s}", "kind", kind ? kind : "unix");

    } else {
        where = json_copy(where);
        json_object_del(where, "name");
    }

    json_object_set_new(record, "endpoint", where);
}


/* Of one of ours that workers reach by themselves: what was told of an earlier
 * run is at its socket, where it is nobody any more.  Longer names are not
 * taken with an address: the keeper leads to those. */
static void
record_where(json_t *record, const sandbox *sb)
{
    if (strlen(sb->id) > ENDPOINT_ID_MAX) {
        return;
    }

    json_object_set_new(record, "endpoint",
                        sb->shown.state == STATE_RUNNING
                        && sb->run.where_epoch == sb->shown.epoch
                        ? json_incref(sb->run.where)
                        : json_pack("{s:s}", "kind", "unix"));
}


json_t *
record_item(const item *it)
{
    json_t           *record;
    const sandbox    *sb;
    const domain     *d;
    const tenant     *owner;
    const exposure   *ex;
    const tombstone  *t;

    record = json_object();

    switch (it->kind) {

    case ITEM_SANDBOX:
        sb = (const sandbox *) it;
        json_object_set_new(record, "kind", json_string("sandbox"));
        json_object_set_new(record, "slot", json_integer(sb->slot));
        json_object_set_new(record, "id", json_string(sb->id));
        json_object_set_new(record, "state",
                            json_string(state_name(sb->shown.state)));
        json_object_set_new(record, "epoch", json_integer(sb->shown.epoch));
        json_object_set_new(record, "key", json_string(
                            sb->shown.state == STATE_RUNNING ? sb->shown.key
                                                             : ""));

        if (spec_external(sb->spec)) {
            record_endpoint(record, sb);

        } else if (sb->run.where != NULL) {
            record_where(record, sb);
        }

        record_limits(record, json_incref(json_object_get(sb->spec,
                                                          "limits")));
        break;

    case ITEM_EXPOSURE:
        ex = (const exposure *) it;
        json_object_set_new(record, "kind", json_string("exposure"));
        json_object_set_new(record, "slot", json_integer(ex->owner->slot));
        json_object_set_new(record, "label", json_string(ex->label));
        json_object_set_new(record, "port", json_integer(ex->port));
        json_object_set_new(record, "access",
                            json_string(access_name(ex->shown.access)));
        json_object_set_new(record, "gen", json_integer(ex->shown.gen));
        json_object_set_new(record, "host",
                            json_string(ex->shown.host_public ? "public"
                                                              : "local"));

        if (ex->shown.wake_off) {
            json_object_set_new(record, "wake", json_string("off"));
        }

        record_limits(record, limits_json(&ex->shown.limits));
        break;

    case ITEM_TENANT:
        owner = (const tenant *) it;
        json_object_set_new(record, "kind", json_string("tenant"));
        json_object_set_new(record, "name", json_string(owner->name));
        json_object_set_new(record, "prefix", json_string(owner->prefix));
        break;

    case ITEM_DOMAIN:
        d = (const domain *) it;
        json_object_set_new(record, "kind", json_string("domain"));
        json_object_set_new(record, "label", json_string(d->name));

        if (d->shown != NULL) {
            json_object_set_new(record, "prefix",
                                json_string(d->shown->prefix));
        }

        break;

    case ITEM_TOMBSTONE:
        t = (const tombstone *) it;
        json_object_set_new(record, "kind",
                            json_string(t->name[0] == '.' ? "domain"
                                        : t->exposure ? "exposure"
                                                      : "sandbox"));
        json_object_set_new(record, "slot", json_integer(t->slot));
        json_object_set_new(record, t->exposure ? "label" : "id",
                            json_string(t->name));
        json_object_set_new(record, "gone", json_true());
        break;
    }

    json_object_set_new(record, "seq",
                        json_integer((json_int_t) it->node.seq));

    return record;
}


/* What the API calls the state. */
const char *
record_state(const sandbox *sb)
{
    return state_name(sb->now.state);
}


json_t *
record_time(int64_t ms)
{
    time_t     seconds;
    struct tm  tm;

    if (ms == 0) {
        return json_null();
    }

    seconds = (time_t) (ms / 1000);
    gmtime_r(&seconds, &tm);

    return json_sprintf("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                        tm.tm_hour, tm.tm_min, tm.tm_sec, (int) (ms % 1000));
}


static json_t *
text_or_null(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}


static void
record_default(json_t *record, json_t *resources, const char *name,
    uint64_t value, bool enforced)
{
    if (value == 0 || json_object_get(resources, name) != NULL) {
        return;
    }

    if (enforced) {
        json_object_set_new(resources, name,
                            json_integer((json_int_t) value));

    } else {
        json_array_append_new(json_object_get(record, "unenforced"),
                              json_string(name));
    }
}


static void
record_resources(json_t *record, const sandbox *sb, const driver *d,
    const driver_limits *defaults)
{
    json_t  *asked, *resources;

    resources = json_object();
    asked = json_object_get(sb->spec, "resources");

    if (asked != NULL) {
        json_object_update(resources, asked);
    }

    json_object_set_new(record, "resources", resources);
    json_object_set_new(record, "unenforced", json_array());

    /* A disk is what its spec says, since it stays what it was made as. */
    record_default(record, resources, "memory", defaults->memory,
                   d->enforces_memory);
    record_default(record, resources, "pids", defaults->pids,
                   d->enforces_pids);

    if (defaults->cpu > 0 && json_object_get(resources, "cpu") == NULL) {
        if (d->enforces_cpu) {
            json_object_set_new(resources, "cpu", json_real(defaults->cpu));

        } else {
            json_array_append_new(json_object_get(record, "unenforced"),
                                  json_string("cpu"));
        }
    }
}


/* Nobody here knows of those that others run. */
static json_t *
record_kills(const sandbox *sb)
{
    const sandbox_kills  *k;

    k = sb->kills;

    if (spec_external(sb->spec)) {
        return json_null();
    }

    return json_pack("{s:I, s:o, s:o}", "kills",
                     (json_int_t) (k != NULL ? k->total : 0), "at",
                     record_time(k != NULL ? k->at : 0), "process",
                     text_or_null(k != NULL ? k->process : ""));
}


json_t *
record_sandbox(const sandbox *sb, const driver *d,
    const driver_limits *defaults)
{
    size_t       i;
    json_t      *record, *names, *options, *value;
    const char  *name;

    record = json_object();

    json_object_set_new(record, "id", json_string(name_id(sb->id)));

    if (sb->tenant->name[0] != '\0') {
        json_object_set_new(record, "tenant", json_string(sb->tenant->name));
    }

    json_object_set_new(record, "state", json_string(record_state(sb)));
    json_object_set_new(record, "image", json_string(spec_image(sb->spec)));
    json_object_set_new(record, "epoch", json_integer(
                        sb->started_at != 0 || sb->now.state == STATE_STARTING
                        ? sb->now.epoch : 0));
    json_object_set_new(record, "createdAt", record_time(sb->created_at));
    json_object_set_new(record, "startedAt", record_time(sb->started_at));
    json_object_set_new(record, "expiresAt", record_time(spec_ttl(sb->spec)
                        ? sb->created_at + (int64_t) spec_ttl(sb->spec) : 0));
    json_object_set_new(record, "reason", text_or_null(sb->reason));
    json_object_set_new(record, "oom", record_kills(sb));

    value = json_object_get(sb->spec, "labels");
    json_object_set_new(record, "labels",
                        value ? json_incref(value) : json_object());

    names = json_array();
    json_object_foreach(json_object_get(sb->spec, "env"), name, value) {
        json_array_append_new(names, json_string(name));
    }

    json_object_set_new(record, "env", names);

    if (spec_external(sb->spec)) {
        json_object_set_new(record, "image", json_null());
        json_object_set_new(record, "resources", json_object());
        json_object_set_new(record, "unenforced", json_array());
        json_object_set_new(record, "network", json_null());

    } else {
        record_resources(record, sb, d, defaults);
        value = json_object_get(sb->spec, "network");
        json_object_set_new(record, "network", value != NULL
                            ? json_incref(value)
                            : json_pack("{s:s}", "outbound", "none"));
    }

    options = json_object();

    for (i = 0; i < sizeof(shown_options) / sizeof(shown_options[0]); i++) {
        value = json_object_get(sb->spec, shown_options[i]);
        if (value != NULL) {
            json_object_set(options, shown_options[i], value);
        }
    }

    json_object_set_new(record, "options", options);

    json_object_set_new(record, "driver",
                        json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:s*, s:s*}",
                                  "name", d->name,
                                  "kernelIsolation", d->kernel_isolation,
                                  "memorySnapshot", d->memory_snapshot,
                                  "start", d->check == NULL,
                                  "sleep", d->check == NULL,
                                  "fork", d->clone != NULL,
                                  "accel", d->accel,
                                  "channel", d->channel));

    return record;
}


json_t *
record_exposure(const exposure *ex)
{
    json_t          *record, *names;
    const exposure  *host;

    record = json_object();

    json_object_set_new(record, "port", json_integer(ex->port));
    json_object_set_new(record, "label", json_string(ex->label));
    json_object_set_new(record, "access",
                        json_string(access_name(ex->now.access)));
    json_object_set_new(record, "slot", json_integer(ex->owner->slot));
    json_object_set_new(record, "gen", json_integer(ex->now.gen));
    json_object_set_new(record, "token", text_or_null(ex->token));
    json_object_set_new(record, "name", text_or_null(ex->name));
    json_object_set_new(record, "host",
                        json_string(ex->now.host_public ? "public"
                                                        : "local"));
    json_object_set_new(record, "wake",
                        json_string(ex->now.wake_off ? "off" : "on"));
    json_object_set_new(record, "wakesPerMinute",
                        json_integer(ex->now.wakes));

    names = json_array();

    for (host = ex->hosts; host != NULL; host = host->next) {
        json_array_append_new(names, json_string(host->label));
    }

    json_object_set_new(record, "hostnames", names);
    record_limits(record, limits_json(&ex->now.limits));
    json_object_set_new(record, "createdAt", record_time(ex->created_at));

    return record;
}


/* Of what is shown: nothing else may change it, a restart of sandboxd least of
 * all. */
int
record_etag(json_t *record, char etag[RECORD_ETAG_LEN + 1])
{
    int             rc;
    char           *text;
    size_t          i;
    unsigned        len;
    unsigned char   md[EVP_MAX_MD_SIZE];

    text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
    if (text == NULL) {
        return -1;
    }

    rc = EVP_Digest(text, strlen(text), md, &len, EVP_sha256(), NULL);
    free(text);

    if (rc != 1) {
        return -1;
    }

    etag[0] = '"';

    for (i = 0; i < (RECORD_ETAG_LEN - 2) / 2; i++) {
        snprintf(etag + 1 + 2 * i, 3, "%02x", md[i]);
    }

    strcpy(etag + RECORD_ETAG_LEN - 1, "\"");

    return 0;
}
