/*
 * The OpenAPI document, put together of its parts.  See sandbox_openapi.h.
 *
 * The parts are files of JSON, openapi/<area>.json, which the assembler puts
 * into the binary.  Each may have `paths` and `components`; api.json has what
 * there is once.
 */

#include <string.h>

#include "sandbox_openapi.h"


#define PART(name, file)                                                      \
    __asm__(".section .rodata\n"                                              \
            ".global sandbox_openapi_" #name "\n"                             \
            ".hidden sandbox_openapi_" #name "\n"                             \
            "sandbox_openapi_" #name ":\n"                                    \
            ".incbin \"ngx_sandbox_module/openapi/" file "\"\n"               \
            ".byte 0\n"                                                       \
            ".previous\n");                                                   \
    extern const char  sandbox_openapi_##name[]

PART(api, "api.json");
PART(sandboxes, "sandboxes.json");
PART(ports, "ports.json");
PART(proxy, "proxy.json");
PART(host, "host.json");
PART(bridge, "bridge.json");
PART(processes, "processes.json");
PART(files, "files.json");
PART(workspace, "workspace.json");
PART(code, "code.json");
PART(container, "container.json");


static const char *const  openapi_parts[] = {
    sandbox_openapi_api,
    sandbox_openapi_sandboxes,
    sandbox_openapi_ports,
    sandbox_openapi_proxy,
    sandbox_openapi_host,
    sandbox_openapi_bridge,
    sandbox_openapi_processes,
    sandbox_openapi_files,
    sandbox_openapi_workspace,
    sandbox_openapi_code,
    sandbox_openapi_container
};

#define PARTS  (sizeof(openapi_parts) / sizeof(openapi_parts[0]))


/*
 * Adds the members of a part to the document's, object by object.  A member
 * that is there already and is no object is a mistake in the parts.
 */
static int
openapi_merge(json_t *document, json_t *part)
{
    json_t      *value, *there;
    const char  *name;

    json_object_foreach(part, name, value) {
        there = json_object_get(document, name);

        if (there == NULL) {
            if (json_object_set(document, name, value) != 0) {
                return -1;
            }

        } else if (!json_is_object(there) || !json_is_object(value)
                   || openapi_merge(there, value) != 0)
        {
            return -1;
        }
    }

    return 0;
}


json_t *
sandbox_openapi(const char *version)
{
    int      rc;
    size_t   i;
    json_t  *document, *part;

    document = json_object();
    rc = 0;

    for (i = 0; i < PARTS && rc == 0; i++) {
        part = json_loads(openapi_parts[i], JSON_REJECT_DUPLICATES, NULL);

        rc = part != NULL ? openapi_merge(document, part) : -1;

        json_decref(part);
    }

    if (rc == 0) {
        rc = json_object_set_new(json_object_get(document, "info"), "version",
                                 json_string(version));
    }

    if (rc != 0) {
        json_decref(document);
        return NULL;
    }

    return document;
}
