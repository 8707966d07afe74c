/* sources: ngx_sandbox_module/sandbox_openapi.c ngx_sandbox_module/sandbox_openapi_html.c ngx_sandbox_module/sandbox_route.c ngx_sandbox_module/sandbox_route_table.c ngx_sandbox_module/sandbox_route_path.c ngx_sandbox_module/sandbox_id.c */
/* libs: -ljansson */

/* The API's description says what the router does, no more and no less. */

#include <stdio.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_openapi.h"
#include "ngx_sandbox_module/sandbox_route.h"
#include "t/unit/tap.h"


static const struct {
    unsigned     bit;
    const char  *name;
} method_names[] = {
    { SANDBOX_ROUTE_GET, "get" }, { SANDBOX_ROUTE_POST, "post" },
    { SANDBOX_ROUTE_PUT, "put" }, { SANDBOX_ROUTE_DELETE, "delete" },
    { SANDBOX_ROUTE_OPTIONS, "options" }, { SANDBOX_ROUTE_PATCH, "patch" }
};

#define METHODS  (sizeof(method_names) / sizeof(method_names[0]))


/* A final star is {path} in the document. */
static void
document_path(char *dst, size_t size, const char *pattern)
{
    size_t  len;

    len = strlen(pattern);

    if (pattern[len - 1] == '*') {
        snprintf(dst, size, "%.*s{path}", (int) len - 1, pattern);

    } else {
        snprintf(dst, size, "%s", pattern);
    }
}


static size_t
test_routes(json_t *paths)
{
    char                 path[128];
    size_t               i, n, count;
    json_t              *operation;
    unsigned             methods;
    const char          *pattern;
    sandbox_route_op     op;
    sandbox_route_kind   kind;

    count = 0;

    for (n = 0; ; n++) {
        pattern = sandbox_route_nth(n, &methods, &kind, &op);

        if (pattern == NULL) {
            return count;
        }

        document_path(path, sizeof(path), pattern);

        for (i = 0; i < METHODS; i++) {

            if (!(methods & method_names[i].bit)) {
                continue;
            }

            operation = json_object_get(json_object_get(paths, path),
                                        method_names[i].name);

            if (kind == SANDBOX_ROUTE_NOT_IMPLEMENTED) {
                ok(operation == NULL, "not promised: %s %s",
                   method_names[i].name, path);
                continue;
            }

            ok(operation != NULL, "described: %s %s", method_names[i].name,
               path);
            count++;
        }
    }
}


/* Every $ref leads somewhere. */
static int
refs_resolve(json_t *root, json_t *json)
{
    char         part[64];
    size_t       i, len;
    json_t      *value, *target;
    const char  *name, *ref;

    if (json_is_array(json)) {
        json_array_foreach(json, i, value) {
            if (!refs_resolve(root, value)) {
                return 0;
            }
        }
    }

    json_object_foreach(json, name, value) {

        if (strcmp(name, "$ref") != 0) {
            if (!refs_resolve(root, value)) {
                return 0;
            }
            continue;
        }

        target = root;
        ref = json_string_value(value);

        while (ref != NULL && (ref = strchr(ref, '/')) != NULL) {
            len = strcspn(++ref, "/");
            snprintf(part, sizeof(part), "%.*s", (int) len, ref);
            target = json_object_get(target, part);
        }

        if (target == NULL) {
            printf("# %s\n", json_string_value(value));
            return 0;
        }
    }

    return 1;
}


int
main(void)
{
    size_t       described, heads, n;
    json_t      *json, *paths, *path, *operation, *ids;
    const char  *name, *method, *id;

    json = sandbox_openapi("1.2.3");
    ok(json != NULL, "there is a document");

    paths = json_object_get(json, "paths");
    n = test_routes(paths);

    heads = described = 0;
    ids = json_object();

    json_object_foreach(paths, name, path) {
        json_object_foreach(path, method, operation) {
            heads += strcmp(method, "head") == 0;
            described++;
            id = json_string_value(json_object_get(operation, "operationId"));

            ok(id != NULL && json_object_get(ids, id) == NULL
               && json_is_object(json_object_get(operation, "responses")),
               "%s %s has an id of its own and answers", method, name);
            json_object_set_new(ids, id, json_true());
        }
    }

    ok(described - heads == n, "nothing else is described");
    ok(refs_resolve(json, json), "all references lead somewhere");

    json_decref(ids);
    json_decref(json);

    return done_testing();
}
