/* Operations of workers; see op.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_get.h"
#include "sandboxd/idempotency.h"
#include "sandboxd/op.h"
#include "sandboxd/options.h"

#define LABEL_TEXT_MAX   253
#define CURSOR_MAX        20
#define PROOF_TEXT_MAX   128


typedef struct {
    const char  *name;
    op_kind      kind;
    int        (*parse)(op *dst, json_t *frame, error **err);
} op_entry;


static int
parse_seq(json_t *frame, const char *name, uint64_t *dst, error **err)
{
    int         got;
    json_int_t  n;

    n = 0;
    got = json_get_integer(frame, name, 0, INT64_MAX, &n, err);
    *dst = (uint64_t) n;

    return got;
}


static int
parse_sandbox(op *dst, json_t *frame, error **err)
{
    const char  *id;

    if (json_required(json_get_string(frame, "sandbox", QUALIFIED_MAX, &id,
                                      err), "sandbox", err)
        < 0)
    {
        return -1;
    }

    return name_check(id, dst->sandbox, err);
}


static int
parse_caller(op *dst, json_t *frame, error **err)
{
    json_t      *caller, *limits;
    op_caller   *c;
    json_int_t   sandboxes, starts;

    c = &dst->caller;
    c->tenant = "";
    c->key = "";
    caller = NULL;
    limits = NULL;
    sandboxes = 0;
    starts = 0;

    if (json_get_object(frame, "caller", &caller, err) < 0) {
        return -1;
    }

    if (caller == NULL) {
        c->create = true;
        return 0;
    }

    if (json_get_string(caller, "tenant", TENANT_MAX, &c->tenant, err) < 0
        || json_get_string(caller, "key", OP_KEY_NAME_MAX, &c->key, err) < 0
        || json_get_bool(caller, "create", &c->create, err) < 0
        || json_get_object(caller, "limits", &limits, err) < 0
        || json_get_integer(limits, "sandboxes", 0, OP_LIMIT_MAX, &sandboxes,
                            err) < 0
        || json_get_integer(limits, "startsPerMinute", 0, OP_LIMIT_MAX,
                            &starts, err) < 0
        || (c->tenant[0] && tenant_check(c->tenant, err) < 0))
    {
        return -1;
    }

    c->sandboxes = (unsigned) sandboxes;
    c->starts = (unsigned) starts;

    return 0;
}


static bool
is_hex(const char *text, size_t len)
{
    return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}


static int
parse_hello(op *dst, json_t *frame, error **err)
{
    json_int_t  version, pid;

    pid = 0;

    if (json_required(json_get_integer(frame, "version", 0, INT32_MAX,
                                       &version, err), "version", err) < 0
        || json_get_integer(frame, "pid", 0, INT32_MAX, &pid, err) < 0
        || json_required(json_get_string(frame, "nonce", FRAME_NONCE_LEN,
                                         &dst->nonce, err), "nonce", err) < 0
        || json_required(json_get_string(frame, "zone", OP_ZONE_LEN,
                                         &dst->zone, err), "zone", err) < 0
        || json_required(json_get_string(frame, "proof", PROOF_TEXT_MAX,
                                         &dst->proof, err), "proof", err) < 0
        || parse_seq(frame, "seq", &dst->seq, err) < 0)
    {
        return -1;
    }

    if (!is_hex(dst->nonce, FRAME_NONCE_LEN)
        || !is_hex(dst->zone, OP_ZONE_LEN))
    {
        return error_set(err, 400, "invalid_request",
                         "nonce and zone must be hexadecimal");
    }

    dst->version = (int) version;
    dst->pid = (long) pid;

    return 0;
}


static int
parse_sync(op *dst, json_t *frame, error **err)
{
    if (json_get_bool(frame, "full", &dst->full, err) < 0) {
        return -1;
    }

    return parse_seq(frame, "from", &dst->seq, err) < 0 ? -1 : 0;
}


static int
parse_resolve(op *dst, json_t *frame, error **err)
{
    int  got;

    got = json_get_string(frame, "label", LABEL_TEXT_MAX, &dst->label, err);

    return got < 0 ? -1 : got > 0 ? 0 : parse_sandbox(dst, frame, err);
}


static int
parse_create(op *dst, json_t *frame, error **err)
{
    if (json_get_object(frame, "options", &dst->options, err) < 0
        || json_get_string(frame, "idempotency", IDEMPOTENCY_KEY_MAX,
                           &dst->idempotency, err) < 0)
    {
        return -1;
    }

    return parse_caller(dst, frame, err);
}


static int
parse_fork(op *dst, json_t *frame, error **err)
{
    return parse_sandbox(dst, frame, err) < 0 ? -1
           : parse_create(dst, frame, err);
}


static int
parse_states(op *dst, json_t *frame, error **err)
{
    size_t       i;
    json_t      *list, *value;
    const char  *name;
    unsigned     state;

    /* In the order of sandbox_state. */
    static const char *const  names[] = { "created", "starting", "running",
                                          "sleeping", "asleep", "destroying",
                                          "unreachable", NULL };

    list = json_object_get(frame, "states");

    json_array_foreach(list, i, value) {
        name = json_string_value(value);

        for (state = 0; names[state] != NULL; state++) {
            if (name != NULL && strcmp(name, names[state]) == 0) {
                dst->states |= 1u << state;
                break;
            }
        }

        if (names[state] == NULL) {
            return error_set_field(err, 400, "invalid_request", "state", 0,
                                   "state must be created, starting, running, "
                                   "sleeping, asleep, destroying or "
                                   "unreachable");
        }
    }

    return 0;
}


static int
parse_list(op *dst, json_t *frame, error **err)
{
    int          got;
    char        *end;
    json_int_t   limit;
    const char  *cursor;

    limit = 100;

    if (json_get_integer(frame, "limit", 1, OP_LIST_MAX, &limit, err) < 0
        || json_get_bool(frame, "all", &dst->everybody, err) < 0
        || json_get_object(frame, "labels", &dst->labels, err) < 0
        || parse_states(dst, frame, err) < 0
        || parse_caller(dst, frame, err) < 0)
    {
        return -1;
    }

    dst->limit = (unsigned) limit;

    got = json_get_string(frame, "cursor", CURSOR_MAX, &cursor, err);
    if (got <= 0) {
        return got;
    }

    errno = 0;
    dst->cursor = strtoull(cursor, &end, 10);

    if (cursor[0] < '0' || cursor[0] > '9' || *end != '\0' || errno != 0) {
        return error_set_field(err, 400, "invalid_request", "cursor", 0,
                               "cursor is none that a list has given");
    }

    return 0;
}


static int
parse_tenant(op *dst, json_t *frame, error **err)
{
    if (json_required(json_get_string(frame, "name", TENANT_MAX,
                                      &dst->caller.tenant, err), "name", err)
        < 0)
    {
        return -1;
    }

    return tenant_check(dst->caller.tenant, err);
}


static int
parse_domain(op *dst, json_t *frame, error **err)
{
    const char  *name;

    if (json_required(json_get_string(frame, "name", HOST_MAX, &name, err),
                      "name", err) < 0
        || domain_check(name, err) < 0)
    {
        return -1;
    }

    dst->domain[0] = '.';
    strcpy(dst->domain + 1, name);

    return 0;
}


static int
parse_domains(op *dst, json_t *frame, error **err)
{
    dst->everybody = true;

    if (json_get_bool(frame, "all", &dst->everybody, err) < 0) {
        return -1;
    }

    return parse_caller(dst, frame, err);
}


static int
parse_domain_put(op *dst, json_t *frame, error **err)
{
    dst->caller.tenant = "";

    if (json_get_bool(frame, "all", &dst->everybody, err) < 0
        || json_get_string(frame, "tenant", TENANT_MAX, &dst->caller.tenant,
                           err) < 0
        || (dst->caller.tenant[0]
            && tenant_check(dst->caller.tenant, err) < 0))
    {
        return -1;
    }

    return parse_domain(dst, frame, err);
}


static int
parse_start(op *dst, json_t *frame, error **err)
{
    json_int_t   port, tried;
    const char  *trigger;

    trigger = "control";
    port = 0;
    tried = 0;
    dst->wake = true;

    if (parse_caller(dst, frame, err) < 0
        || json_get_bool(frame, "create", &dst->create, err) < 0
        || json_get_integer(frame, "port", 1, PORT_MAX, &port, err) < 0
        || json_get_bool(frame, "wake", &dst->wake, err) < 0
        || json_get_integer(frame, "tried", 0, UINT32_MAX, &tried, err) < 0
        || json_get_string(frame, "trigger", 16, &trigger, err) < 0)
    {
        return -1;
    }

    dst->port = (unsigned) port;
    dst->tried = (uint32_t) tried;
    dst->preview = strcmp(trigger, "preview") == 0;

    if (!dst->preview && strcmp(trigger, "control") != 0) {
        return error_set_field(err, 400, "invalid_request", "trigger", 0,
                               "trigger must be \"control\" or \"preview\"");
    }

    return parse_sandbox(dst, frame, err);
}


static int
parse_expose(op *dst, json_t *frame, error **err)
{
    if (json_required(json_get_object(frame, "options", &dst->options, err),
                      "options", err)
        < 0
        || json_get_bool(frame, "patch", &dst->patch, err) < 0
        || json_get_bool(frame, "admin", &dst->admin, err) < 0)
    {
        return -1;
    }

    return parse_sandbox(dst, frame, err);
}


static int
parse_unexpose(op *dst, json_t *frame, error **err)
{
    if (options_port(&dst->port, frame, err) < 0) {
        return -1;
    }

    return parse_sandbox(dst, frame, err);
}


static int
parse_events(op *dst, json_t *frame, error **err)
{
    int  got;

    got = parse_seq(frame, "since", &dst->seq, err);
    dst->since = got > 0;

    return got < 0 ? -1 : 0;
}


static int
parse_nothing(op *dst, json_t *frame, error **err)
{
    return 0;
}


static int
parse_ack(op *dst, json_t *frame, error **err)
{
    if (json_get_bool(frame, "all", &dst->all, err) < 0) {
        return -1;
    }

    return json_required(parse_seq(frame, "seq", &dst->seq, err), "seq", err)
           < 0 ? -1 : 0;
}


static int
parse_matched(op *dst, json_t *frame, error **err)
{
    if (json_get_string(frame, "match", OP_MATCH_MAX, &dst->match, err) < 0) {
        return -1;
    }

    return parse_sandbox(dst, frame, err);
}


static int
parse_update(op *dst, json_t *frame, error **err)
{
    if (json_required(json_get_object(frame, "options", &dst->options, err),
                      "options", err) < 0)
    {
        return -1;
    }

    return parse_matched(dst, frame, err);
}


static int
parse_env(op *dst, json_t *frame, error **err)
{
    if (json_get_object(frame, "env", &dst->options, err) < 0) {
        return -1;
    }

    return parse_matched(dst, frame, err);
}


/* Without options: what is registered. */
static int
parse_external(op *dst, json_t *frame, error **err)
{
    if (json_get_object(frame, "options", &dst->options, err) < 0
        || parse_caller(dst, frame, err) < 0)
    {
        return -1;
    }

    return parse_matched(dst, frame, err);
}


static int
parse_wake(op *dst, json_t *frame, error **err)
{
    return parse_caller(dst, frame, err) < 0 ? -1
           : parse_sandbox(dst, frame, err);
}


static int
parse_idle(op *dst, json_t *frame, error **err)
{
    if (json_required(json_get_array(frame, "slots", OP_SLOTS_MAX, &dst->slots,
                                     err), "slots", err) < 0)
    {
        return -1;
    }

    return json_required(parse_seq(frame, "ref", &dst->seq, err), "ref", err)
           < 0 ? -1 : 0;
}


static const op_entry  op_entries[] = {
    { "hello", OP_HELLO, parse_hello },
    { "sync", OP_SYNC, parse_sync },
    { "resolve", OP_RESOLVE, parse_resolve },
    { "create", OP_CREATE, parse_create },
    { "fork", OP_FORK, parse_fork },
    { "get", OP_GET, parse_sandbox },
    { "list", OP_LIST, parse_list },
    { "start", OP_START, parse_start },
    { "destroy", OP_DESTROY, parse_matched },
    { "expose", OP_EXPOSE, parse_expose },
    { "unexpose", OP_UNEXPOSE, parse_unexpose },
    { "ports", OP_PORTS, parse_sandbox },
    { "pool_stats", OP_POOL_STATS, parse_nothing },
    { "pool_prime", OP_POOL_PRIME, parse_nothing },
    { "pool_shutdown", OP_POOL_SHUTDOWN, parse_nothing },
    { "stats", OP_STATS, parse_sandbox },
    { "events", OP_EVENTS, parse_events },
    { "health", OP_HEALTH, parse_nothing },
    { "metrics", OP_METRICS, parse_nothing },
    { "tenant", OP_TENANT, parse_tenant },
    { "domains", OP_DOMAINS, parse_domains },
    { "domain_put", OP_DOMAIN_PUT, parse_domain_put },
    { "domain_delete", OP_DOMAIN_DELETE, parse_domain },
    { "ack", OP_ACK, parse_ack },
    { "idle", OP_IDLE, parse_idle },
    { "update", OP_UPDATE, parse_update },
    { "env", OP_ENV, parse_env },
    { "sleep", OP_SLEEP, parse_sandbox },
    { "wake", OP_WAKE, parse_wake },
    { "external", OP_EXTERNAL, parse_external },
    { NULL, OP_HELLO, NULL }
};


op_result
op_parse(op *dst, json_t *frame, error **err)
{
    json_t          *name, *id;
    const op_entry  *entry;

    memset(dst, 0, sizeof(*dst));

    name = json_object_get(frame, "op");
    if (!json_is_string(name)) {
        return OP_BROKEN;
    }

    for (entry = op_entries; entry->name != NULL; entry++) {
        if (strcmp(entry->name, json_string_value(name)) == 0) {
            break;
        }
    }

    id = json_object_get(frame, "id");

    if (json_is_integer(id) && json_integer_value(id) > 0) {
        dst->id = json_integer_value(id);

    } else if (entry->name == NULL
               || (entry->kind != OP_ACK && entry->kind != OP_IDLE))
    {
        return OP_BROKEN;
    }

    if (entry->name == NULL) {
        error_set_field(err, 400, "unknown_op", "op", 0,
                        "there is no operation \"%.32s\"",
                        json_string_value(name));
        return OP_BAD;
    }

    dst->kind = entry->kind;

    if (entry->parse(dst, frame, err) == 0) {
        return OP_OK;
    }

    return entry->kind == OP_ACK || entry->kind == OP_IDLE
           || entry->kind == OP_HELLO ? OP_BROKEN : OP_BAD;
}


json_t *
op_read(const char *text, size_t len)
{
    json_t  *frame;

    /* A NUL in a string is a wrong value (json_get_string() says so), not a
     * broken frame: users may send one. */
    frame = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                       NULL);

    if (!json_is_object(frame)) {
        json_decref(frame);
        return NULL;
    }

    return frame;
}
