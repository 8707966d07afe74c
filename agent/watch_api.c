/* /api/watch and /api/watch/check: what is asked for. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/params.h"
#include "agent/path.h"
#include "agent/session.h"
#include "agent/watch.h"

#define WATCH_BODY_LIMIT  (256 * 1024)
#define WATCH_EVENTS      (WATCH_CREATE | WATCH_MODIFY | WATCH_DELETE        \
                           | WATCH_MOVE_FROM | WATCH_MOVE_TO)

static const char  *watch_default_exclude[] = {
    ".git", "node_modules", ".DS_Store"
};


static int
watch_invalid(error **err, const char *field, const char *what)
{
    return error_set_field(err, 400, "VALIDATION_FAILED", field, 0, "%s %s",
                           field, what);
}


/* Below the session's directory if one is named that is there, else below the
 * workspace. */

static int
watch_path(const json_t *o, watch_request *q, error **err)
{
    char          full[PATH_ROOM];
    session      *s;
    const char   *path, *id, *base, *why;
    size_t        len;
    json_t       *v;

    v = json_object_get(o, "path");

    if (!json_is_string(v) || json_string_length(v) == 0) {
        return error_set(err, 400, "VALIDATION_FAILED",
                         "path is required and must be a non-empty string");
    }

    path = json_string_value(v);
    len = json_string_length(v);
    why = path_problem(path, len);

    if (why != NULL) {
        return error_set_field(err, 400, "VALIDATION_FAILED", "path", 0,
                               "%s", why);
    }

    id = NULL;
    if (params_string(o, "sessionId", &id, NULL, err) != 0) {
        return -1;
    }

    s = id != NULL && strcmp(id, SESSION_NONE) != 0 ? session_find(id) : NULL;
    base = s != NULL && session_pwd(s)[0] == '/' ? session_pwd(s) : agent.cwd;

    if (path_join(full, sizeof(full), base, path) != 0) {
        return watch_invalid(err, "path", "is too long");
    }

    q->path = malloc(strlen(full) + 2);
    if (q->path == NULL
        || path_normalize(q->path, strlen(full) + 2, full) != 0)
    {
        abort();
    }

    return 0;
}


static int
watch_events(const json_t *o, watch_request *q, error **err)
{
    size_t        i;
    json_t       *v, *list;
    const char   *name;

    q->events = WATCH_EVENTS;
    list = json_object_get(o, "events");

    if (list == NULL || json_is_null(list)) {
        return 0;
    }

    if (!json_is_array(list) || json_array_size(list) == 0) {
        return watch_invalid(err, "events",
                             "must be an array of at least one name");
    }

    q->events = 0;

    json_array_foreach(list, i, v) {
        name = json_is_string(v) ? json_string_value(v) : "";

        if (strcmp(name, "create") == 0) {
            q->events |= WATCH_CREATE;
        } else if (strcmp(name, "modify") == 0) {
            q->events |= WATCH_MODIFY;
        } else if (strcmp(name, "delete") == 0) {
            q->events |= WATCH_DELETE;
        } else if (strcmp(name, "move_from") == 0) {
            q->events |= WATCH_MOVE_FROM;
        } else if (strcmp(name, "move_to") == 0) {
            q->events |= WATCH_MOVE_TO;
        } else if (strcmp(name, "attrib") == 0) {
            q->events |= WATCH_ATTRIB;
        } else {
            return watch_invalid(err, "events", "must be of create, modify, "
                                 "delete, move_from, move_to, attrib");
        }
    }

    return 0;
}


static int
watch_patterns(const json_t *o, const char *field, watch_request *q,
    int (*add)(watch_rules *rules, const char *text, size_t len), error **err)
{
    size_t        i, len;
    json_t       *v, *list;
    const char   *text, *why;

    list = json_object_get(o, field);

    if (list == NULL || json_is_null(list)) {
        return 0;
    }

    if (!json_is_array(list)) {
        return watch_invalid(err, field, "must be an array of strings");
    }

    if (json_array_size(list) > WATCH_PATTERNS_MAX) {
        return error_set_field(err, 400, "VALIDATION_FAILED", field,
                               WATCH_PATTERNS_MAX,
                               "%s: at most %d patterns", field,
                               WATCH_PATTERNS_MAX);
    }

    json_array_foreach(list, i, v) {
        if (!json_is_string(v)) {
            return watch_invalid(err, field, "must be an array of strings");
        }

        text = json_string_value(v);
        len = json_string_length(v);
        why = watch_pattern_problem(text, len);

        if (why != NULL) {
            return error_set_field(err, 400, "VALIDATION_FAILED", field, 0,
                                   "%s: pattern %zu %s", field, i + 1, why);
        }

        add(&q->rules, text, len);
    }

    return 0;
}


static int
watch_rules_of(const json_t *o, watch_request *q, error **err)
{
    size_t   i;
    json_t  *list;

    if (watch_patterns(o, "include", q, watch_rules_include, err) != 0
        || watch_patterns(o, "exclude", q, watch_rules_exclude, err) != 0)
    {
        return -1;
    }

    if (q->rules.included > 0 && q->rules.excluded > 0) {
        return error_set_field(err, 400, "VALIDATION_FAILED", "exclude", 0,
                               "include and exclude can't be used together");
    }

    list = json_object_get(o, "exclude");

    if (list == NULL || json_is_null(list)) {
        for (i = 0; i < sizeof(watch_default_exclude) / sizeof(char *); i++) {
            watch_rules_exclude(&q->rules, watch_default_exclude[i],
                                strlen(watch_default_exclude[i]));
        }
    }

    return 0;
}


/* What makes two requests the same. */

static void
watch_key(const json_t *o, watch_request *q)
{
    char    *text;
    json_t  *key;

    key = json_pack("[b, i, O?, O?]", q->recursive, (int) q->events,
                    json_object_get(o, "include"),
                    json_object_get(o, "exclude"));
    text = key != NULL ? json_dumps(key, JSON_COMPACT) : NULL;
    json_decref(key);

    if (text == NULL || asprintf(&q->key, "%s%s", text, q->path) < 0) {
        abort();
    }

    free(text);
}


static int
watch_parse(const json_t *o, watch_request *q, int check, error **err)
{
    json_t  *v;

    if (watch_path(o, q, err) != 0 || watch_events(o, q, err) != 0
        || watch_rules_of(o, q, err) != 0)
    {
        return -1;
    }

    q->recursive = true;
    v = json_object_get(o, "recursive");

    if (json_is_boolean(v)) {
        q->recursive = json_is_true(v);
    } else if (v != NULL && !json_is_null(v)) {
        return watch_invalid(err, "recursive", "must be a boolean");
    }

    watch_key(o, q);

    if (!check) {
        return 0;
    }

    if (params_string(o, "since", &q->since, NULL, err) != 0) {
        return -1;
    }

    if (q->since != NULL && !watch_version_valid(q->since)) {
        return watch_invalid(err, "since", "must be a version that a check "
                             "has answered");
    }

    return 0;
}


static void
watch_handle(http_request *r, const char *body, size_t len, int check)
{
    json_t         *o;
    error          *err;
    watch_request   q;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    memset(&q, 0, sizeof(q));

    if (watch_parse(o, &q, check, &err) != 0) {
        watch_request_free(&q);
        api_error(r, err);

    } else if (check) {
        watch_check(r, &q);

    } else {
        watch_stream(r, &q);
    }

    json_decref(o);
}


static void
watch_stream_body(http_request *r, char *body, size_t len)
{
    watch_handle(r, body, len, 0);
}


static void
watch_check_body(http_request *r, char *body, size_t len)
{
    watch_handle(r, body, len, 1);
}


static void
watch_post(http_request *r)
{
    http_read_body(r, WATCH_BODY_LIMIT, watch_stream_body);
}


static void
watch_check_post(http_request *r)
{
    http_read_body(r, WATCH_BODY_LIMIT, watch_check_body);
}


void
watch_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/watch", watch_post);
    router_add(t, METHOD_POST, "/api/watch/check", watch_check_post);
}
