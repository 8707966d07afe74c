/*
 * The OpenAPI document, made of two tables: the schemas, and the operations in
 * the router's order.  See sandbox_openapi.h.
 */

#include <string.h>

#include "sandbox_openapi.h"


#define JSON    "application/json"
#define BYTES   "application/octet-stream"
#define EVENTS  "text/event-stream"
#define TAR     "application/x-tar"
#define SOCKET  "WebSocket"     /* no media type: 101 */

#define REF(name)  "{\"$ref\":\"#/components/schemas/" name "\"}"
#define ANY        "{\"type\":\"object\"}"
#define SIDE       "{\"type\":\"integer\",\"minimum\":1,\"maximum\":4096}"

#define SANDBOX    "/v1/sandbox/{id}"


typedef struct {
    const char  *path;
    const char  *method;        /* lower case, as the document wants it */
    const char  *id;
    const char  *summary;
    const char  *in_type;       /* of the request's body; NULL: it has none */
    const char  *in;            /* its schema */
    const char  *out_type;      /* of the answer; NULL: 204 */
    const char  *out;
} openapi_operation;


static const struct {
    const char  *name;
    const char  *text;
} openapi_schemas[] = {

    { "Error",
      "{\"type\":\"object\",\"required\":[\"error\",\"code\"],\"properties\":{"
      "\"error\":{\"type\":\"string\"},\"code\":{\"type\":\"string\"},"
      "\"field\":{\"type\":\"string\","
      "\"description\":\"the member that is wrong\"},"
      "\"limit\":{\"type\":\"integer\"}}}" },

    { "ContainerError",
      "{\"type\":\"object\",\"required\":[\"code\",\"message\"],"
      "\"properties\":{\"code\":{\"type\":\"string\"},"
      "\"message\":{\"type\":\"string\"},\"context\":{\"type\":\"object\"},"
      "\"operation\":{\"type\":\"string\"},"
      "\"httpStatus\":{\"type\":\"integer\"},"
      "\"timestamp\":{\"type\":\"string\"},"
      "\"suggestion\":{\"type\":\"string\"}}}" },

    { "Health",
      "{\"type\":\"object\",\"required\":[\"ok\"],\"properties\":{"
      "\"ok\":{\"type\":\"boolean\"},"
      "\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}" },

    { "Id",
      "{\"type\":\"string\",\"maxLength\":128,\"pattern\":"
      "\"^([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?|[a-z2-7]{1,128})$\"}" },

    { "Port",
      "{\"type\":\"integer\",\"minimum\":1024,\"maximum\":65535,"
      "\"not\":{\"const\":3000}}" },

    { "CreateOptions",
      "{\"type\":\"object\",\"properties\":{"
      "\"id\":{\"type\":\"string\"},"
      "\"normalizeId\":{\"type\":\"boolean\"},"
      "\"image\":{\"type\":\"string\"},"
      "\"env\":{\"type\":\"object\","
      "\"additionalProperties\":{\"type\":\"string\"}},"
      "\"labels\":{\"type\":\"object\","
      "\"additionalProperties\":{\"type\":\"string\"}},"
      "\"resources\":{\"type\":\"object\",\"additionalProperties\":false,"
      "\"properties\":{\"cpu\":{\"type\":\"number\"},"
      "\"memory\":{\"type\":[\"integer\",\"string\"]},"
      "\"disk\":{\"type\":[\"integer\",\"string\"]},"
      "\"pids\":{\"type\":\"integer\"}}},"
      "\"network\":{\"type\":\"object\",\"additionalProperties\":false,"
      "\"properties\":{\"outbound\":{\"const\":\"none\"}}},"
      "\"sleepAfter\":{\"type\":[\"integer\",\"string\"]},"
      "\"keepAlive\":{\"type\":\"boolean\"},"
      "\"ttl\":{\"type\":[\"integer\",\"string\"]},"
      "\"containerTimeouts\":{\"type\":\"object\"},"
      "\"createTimeoutMs\":{\"type\":\"integer\"},"
      "\"timeoutMs\":{\"type\":\"integer\"},"
      "\"exposedPorts\":{\"type\":\"array\"},"
      "\"mounts\":{\"type\":\"array\",\"maxItems\":0}}}" },

    { "Sandbox",
      "{\"type\":\"object\",\"required\":[\"id\",\"state\"],\"properties\":{"
      "\"id\":" REF("Id") ","
      "\"state\":{\"enum\":[\"created\",\"starting\",\"running\","
      "\"sleeping\",\"asleep\",\"destroying\"]},"
      "\"image\":{\"type\":[\"string\",\"null\"]},"
      "\"epoch\":{\"type\":\"integer\"},"
      "\"createdAt\":{\"type\":[\"string\",\"null\"]},"
      "\"startedAt\":{\"type\":[\"string\",\"null\"]},"
      "\"reason\":{\"type\":[\"string\",\"null\"]},"
      "\"labels\":{\"type\":\"object\"},"
      "\"env\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
      "\"resources\":{\"type\":\"object\"},"
      "\"unenforced\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
      "\"network\":{\"type\":\"object\"},"
      "\"options\":{\"type\":\"object\"},"
      "\"driver\":{\"type\":\"object\"},"
      "\"created\":{\"type\":\"boolean\"},"
      "\"warnings\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}" },

    { "SandboxList",
      "{\"type\":\"object\",\"required\":[\"sandboxes\"],\"properties\":{"
      "\"sandboxes\":{\"type\":\"array\",\"items\":" REF("Sandbox") "},"
      "\"cursor\":{\"type\":[\"string\",\"null\"]}}}" },

    { "Running",
      "{\"type\":\"object\",\"required\":[\"running\"],\"properties\":{"
      "\"running\":{\"type\":\"boolean\"}}}" },

    { "ExposeOptions",
      "{\"type\":\"object\",\"properties\":{"
      "\"port\":" REF("Port") ","
      "\"name\":{\"type\":\"string\",\"maxLength\":64},"
      "\"token\":{\"type\":\"string\",\"pattern\":\"^[a-z0-9_]{8,16}$\"},"
      "\"access\":{\"enum\":[\"token\",\"public\"],\"default\":\"token\"},"
      "\"host\":{\"enum\":[\"local\",\"public\"],\"default\":\"local\"},"
      "\"hostname\":{\"type\":\"string\"}}}" },

    { "Exposure",
      "{\"type\":\"object\",\"required\":[\"url\",\"port\",\"access\"],"
      "\"properties\":{\"url\":{\"type\":[\"string\",\"null\"]},"
      "\"port\":" REF("Port") ",\"token\":{\"type\":\"string\"},"
      "\"name\":{\"type\":\"string\"},"
      "\"access\":{\"enum\":[\"token\",\"public\"]},"
      "\"host\":{\"enum\":[\"local\",\"public\"]},"
      "\"status\":{\"const\":\"active\"},"
      "\"warnings\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}" },

    { "ExposureList",
      "{\"type\":\"object\",\"required\":[\"ports\"],\"properties\":{"
      "\"ports\":{\"type\":\"array\",\"items\":" REF("Exposure") "}}}" },

    { "Exec",
      "{\"type\":\"object\",\"required\":[\"argv\"],\"properties\":{"
      "\"argv\":{\"type\":\"array\",\"minItems\":1,"
      "\"items\":{\"type\":\"string\"}},"
      "\"timeout_ms\":{\"type\":\"number\"},\"cwd\":{\"type\":\"string\"},"
      "\"stdin\":{\"type\":\"string\"}}}" },

    { "Ok",
      "{\"type\":\"object\",\"required\":[\"ok\"],\"properties\":{"
      "\"ok\":{\"const\":true}}}" },

    { "Session",
      "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},"
      "\"cwd\":{\"type\":\"string\"},\"env\":{\"type\":\"object\","
      "\"additionalProperties\":{\"type\":\"string\"}}}}" },

    { "Execute",
      "{\"type\":\"object\",\"required\":[\"command\"],\"properties\":{"
      "\"command\":{\"type\":\"string\"},\"sessionId\":{\"type\":\"string\"},"
      "\"background\":{\"type\":\"boolean\"},"
      "\"timeoutMs\":{\"type\":\"number\"},\"env\":{\"type\":\"object\"},"
      "\"cwd\":{\"type\":\"string\"},\"stdin\":{\"type\":\"string\"}}}" },

    { "Context",
      "{\"type\":\"object\",\"properties\":{"
      "\"language\":{\"enum\":[\"python\",\"python3\","
      "\"javascript\",\"js\",\"node\",\"typescript\",\"ts\"],"
      "\"default\":\"python\"},\"cwd\":{\"type\":\"string\"},"
      "\"env_vars\":{\"type\":\"object\"},"
      "\"timeout\":{\"type\":\"number\"}}}" },

    { "Code",
      "{\"type\":\"object\",\"required\":[\"context_id\",\"code\"],"
      "\"properties\":{\"context_id\":{\"type\":\"string\"},"
      "\"code\":{\"type\":\"string\"},"
      "\"language\":{\"type\":\"string\"},"
      "\"timeout_ms\":{\"type\":\"number\"},"
      "\"env_vars\":{\"type\":\"object\"}}}" },

    { NULL, NULL }
};


static const openapi_operation  openapi_operations[] = {

    { "/health", "get", "health", "Whether the service can do its work",
      NULL, NULL, JSON, REF("Health") },
    { "/v1/openapi.json", "get", "openapi", "This document",
      NULL, NULL, JSON, ANY },

    { "/v1/sandbox", "post", "createSandbox", "Creates a sandbox",
      JSON, REF("CreateOptions"), JSON, REF("Sandbox") },
    { "/v1/sandbox", "get", "listSandboxes", "Lists sandboxes",
      NULL, NULL, JSON, REF("SandboxList") },
    { SANDBOX, "get", "getSandbox", "A sandbox's record",
      NULL, NULL, JSON, REF("Sandbox") },
    { SANDBOX, "delete", "destroySandbox", "Destroys a sandbox",
      NULL, NULL, NULL, NULL },
    { SANDBOX "/running", "get", "isRunning",
      "Whether a sandbox runs; starts nothing",
      NULL, NULL, JSON, REF("Running") },

    { SANDBOX "/ports", "get", "listPorts", "The exposed ports",
      NULL, NULL, JSON, REF("ExposureList") },
    { SANDBOX "/ports", "post", "exposePort", "Exposes a port",
      JSON, REF("ExposeOptions"), JSON, REF("Exposure") },
    { SANDBOX "/ports/{port}", "get", "getPort", "One exposed port",
      NULL, NULL, JSON, REF("Exposure") },
    { SANDBOX "/ports/{port}", "put", "putPort",
      "Exposes a port, or changes how it is exposed",
      JSON, REF("ExposeOptions"), JSON, REF("Exposure") },
    { SANDBOX "/ports/{port}", "delete", "unexposePort",
      "Takes an exposed port back",
      NULL, NULL, NULL, NULL },

    { SANDBOX "/exec", "post", "exec",
      "Runs a command; its output as events",
      JSON, REF("Exec"), EVENTS, NULL },
    { SANDBOX "/file/{path}", "get", "getFile",
      "A file's bytes; path begins with workspace/ and may have slashes",
      NULL, NULL, BYTES, NULL },
    { SANDBOX "/file/{path}", "head", "headFile", "A file's size",
      NULL, NULL, BYTES, NULL },
    { SANDBOX "/file/{path}", "put", "putFile", "Writes a file",
      BYTES, NULL, JSON, REF("Ok") },
    { SANDBOX "/session", "post", "createSession", "Creates a session",
      JSON, REF("Session"), JSON, REF("Session") },
    { SANDBOX "/session/{name}", "delete", "deleteSession",
      "Ends a session", NULL, NULL, JSON, ANY },
    { SANDBOX "/pty", "get", "pty", "A session's terminal, by WebSocket",
      NULL, NULL, SOCKET, NULL },
    { SANDBOX "/persist", "post", "persist", "The workspace as a tar archive",
      NULL, NULL, BYTES, NULL },
    { SANDBOX "/hydrate", "post", "hydrate",
      "Extracts a tar archive over the workspace",
      BYTES, NULL, JSON, REF("Ok") },

    { SANDBOX "/ws/pty", "get", "wsPty", "A session's terminal, by WebSocket",
      NULL, NULL, SOCKET, NULL },

    { SANDBOX "/api/ping", "get", "apiPing", "Whether the agent answers",
      NULL, NULL, JSON, ANY },
    { SANDBOX "/api/version", "get", "apiVersion", "The agent's version",
      NULL, NULL, JSON, ANY },
    { SANDBOX "/api/commands", "get", "apiCommands", "Available commands",
      NULL, NULL, JSON, ANY },
    { SANDBOX "/api/session/create", "post", "apiSessionCreate",
      "Creates a session", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/session/list", "get", "apiSessionList",
      "The sessions' ids", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/session/delete", "post", "apiSessionDelete",
      "Ends a session", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/execute", "post", "apiExecute",
      "Runs a command and waits for it",
      JSON, REF("Execute"), JSON, ANY },
    { SANDBOX "/api/execute/stream", "post", "apiExecuteStream",
      "Runs a command; its output as events",
      JSON, REF("Execute"), EVENTS, NULL },
    { SANDBOX "/api/read", "post", "apiRead", "Reads a file",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/read/stream", "post", "apiReadStream",
      "Reads a file as events", JSON, ANY, EVENTS, NULL },
    { SANDBOX "/api/write", "post", "apiWrite", "Writes a file",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/delete", "post", "apiDelete", "Deletes a file",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/rename", "post", "apiRename", "Renames",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/move", "post", "apiMove", "Moves",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/mkdir", "post", "apiMkdir", "Makes a directory",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/list-files", "post", "apiListFiles",
      "Lists a directory", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/exists", "post", "apiExists", "Whether a file exists",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/file", "get", "apiFile", "A file's bytes",
      NULL, NULL, BYTES, NULL },
    { SANDBOX "/api/file", "head", "apiFileHead", "A file's size and type",
      NULL, NULL, BYTES, NULL },
    { SANDBOX "/api/file", "put", "apiFilePut", "Writes a file",
      BYTES, NULL, JSON, ANY },
    { SANDBOX "/api/archive", "get", "apiArchive",
      "A directory as a tar archive", NULL, NULL, TAR, NULL },
    { SANDBOX "/api/archive", "put", "apiArchivePut",
      "Extracts a tar archive over a directory", TAR, NULL, JSON, ANY },
    { SANDBOX "/api/process/start", "post", "apiProcessStart",
      "Starts a process", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/process/list", "get", "apiProcessList",
      "The processes", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/process/kill-all", "delete", "apiProcessKillAll",
      "Kills all processes", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/process/{name}", "get", "apiProcess", "A process",
      NULL, NULL, JSON, ANY },
    { SANDBOX "/api/process/{name}", "delete", "apiProcessKill",
      "Kills a process", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/process/{name}/logs", "get", "apiProcessLogs",
      "A process's output so far", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/process/{name}/stream", "get", "apiProcessStream",
      "A process's output as events", NULL, NULL, EVENTS, NULL },
    { SANDBOX "/api/process/{name}/stdin", "post", "apiProcessStdin",
      "More input for a process, or the end of it", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/process/{name}/signal", "post", "apiProcessSignal",
      "Sends a signal to a process", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/process/{name}/wait", "post", "apiProcessWait",
      "Waits for a process to end, or for a line of its output",
      JSON, ANY, JSON, ANY },
    { SANDBOX "/api/port-watch", "post", "apiPortWatch",
      "Waits for a port to be ready; what happens as events",
      JSON, ANY, EVENTS, NULL },
    { SANDBOX "/api/git/checkout", "post", "apiGitCheckout",
      "Clones a repository", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/interpreter/health", "get", "apiInterpreterHealth",
      "Whether code can be run", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/contexts", "get", "apiContexts",
      "The code contexts", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/contexts", "post", "apiContextCreate",
      "Creates a code context", JSON, REF("Context"), JSON, ANY },
    { SANDBOX "/api/contexts/{name}", "delete", "apiContextDelete",
      "Ends a code context", NULL, NULL, JSON, ANY },
    { SANDBOX "/api/execute/code", "post", "apiExecuteCode",
      "Runs code in a context; output and results as events",
      JSON, REF("Code"), EVENTS, NULL },
    { SANDBOX "/api/backup/create", "post", "apiBackupCreate",
      "Makes an archive of a directory", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/backup/restore", "post", "apiBackupRestore",
      "Makes a directory what an archive holds", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/backup/upload-parts", "post", "apiBackupUploadParts",
      "Puts pieces of an archive to URLs", JSON, ANY, JSON, ANY },
    { SANDBOX "/api/watch", "post", "apiWatch",
      "What changes below a directory, as events", JSON, ANY, EVENTS, NULL },
    { SANDBOX "/api/watch/check", "post", "apiWatchCheck",
      "Whether something has changed since", JSON, ANY, JSON, ANY },

    { NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }
};


static const char  openapi_parameters[] =
    "{\"id\":{\"name\":\"id\",\"in\":\"path\",\"required\":true,"
    "\"schema\":" REF("Id") "},"
    "\"port\":{\"name\":\"port\",\"in\":\"path\",\"required\":true,"
    "\"schema\":" REF("Port") "},"
    "\"name\":{\"name\":\"name\",\"in\":\"path\",\"required\":true,"
    "\"schema\":{\"type\":\"string\"}},"
    "\"path\":{\"name\":\"path\",\"in\":\"path\",\"required\":true,"
    "\"schema\":{\"type\":\"string\"}},"
    "\"cursor\":{\"name\":\"cursor\",\"in\":\"query\","
    "\"schema\":{\"type\":\"string\"}},"
    "\"limit\":{\"name\":\"limit\",\"in\":\"query\","
    "\"schema\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":500}},"
    "\"hostname\":{\"name\":\"hostname\",\"in\":\"query\","
    "\"schema\":{\"type\":\"string\"}},"
    "\"place\":{\"name\":\"path\",\"in\":\"query\",\"required\":true,"
    "\"schema\":{\"type\":\"string\"}},"
    "\"excludes\":{\"name\":\"excludes\",\"in\":\"query\","
    "\"description\":\"patterns, separated by commas\","
    "\"schema\":{\"type\":\"string\"}},"
    "\"cols\":{\"name\":\"cols\",\"in\":\"query\",\"schema\":" SIDE "},"
    "\"rows\":{\"name\":\"rows\",\"in\":\"query\",\"schema\":" SIDE "},"
    "\"shell\":{\"name\":\"shell\",\"in\":\"query\","
    "\"schema\":{\"type\":\"string\",\"maxLength\":1024}},"
    "\"ptySession\":{\"name\":\"session\",\"in\":\"query\","
    "\"schema\":{\"type\":\"string\"}},"
    "\"sessionId\":{\"name\":\"sessionId\",\"in\":\"query\","
    "\"required\":true,\"schema\":{\"type\":\"string\"}},"
    "\"session\":{\"name\":\"Session-Id\",\"in\":\"header\","
    "\"schema\":{\"type\":\"string\","
    "\"pattern\":\"^[a-zA-Z0-9._-]{1,128}$\"}}}";


static json_t *
schema_or_any(const char *text)
{
    return text != NULL ? json_loads(text, 0, NULL) : json_object();
}


static json_t *
content(const char *type, const char *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema_or_any(schema));
}


static void
parameter_add(json_t *list, const char *name)
{
    json_array_append_new(list, json_pack("{s:o}", "$ref",
                          json_sprintf("#/components/parameters/%s", name)));
}


static json_t *
parameters_of(const openapi_operation *op)
{
    json_t  *list;
    size_t   i;

    static const char *const  names[] = { "id", "port", "name", "path" };

    list = json_array();

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char  braces[16] = "{";

        strcat(strcat(braces, names[i]), "}");

        if (strstr(op->path, braces) != NULL) {
            parameter_add(list, names[i]);
        }
    }

    if (strcmp(op->id, "listSandboxes") == 0) {
        parameter_add(list, "cursor");
        parameter_add(list, "limit");
    }

    if (strcmp(op->id, "listPorts") == 0 || strcmp(op->id, "getPort") == 0) {
        parameter_add(list, "hostname");
    }

    if (strstr(op->path, "/api/archive") != NULL
        || strstr(op->path, "/api/file") != NULL)
    {
        parameter_add(list, "place");
    }

    if (strcmp(op->id, "persist") == 0 || strcmp(op->id, "apiArchive") == 0) {
        parameter_add(list, "excludes");
    }

    if (strstr(op->path, "/file/") != NULL || strcmp(op->id, "exec") == 0
        || strcmp(op->id, "pty") == 0)
    {
        parameter_add(list, "session");
    }

    if (op->out_type != NULL && strcmp(op->out_type, SOCKET) == 0) {
        parameter_add(list, strcmp(op->id, "pty") == 0 ? "ptySession"
                                                       : "sessionId");
        parameter_add(list, "cols");
        parameter_add(list, "rows");
        parameter_add(list, "shell");
    }

    return list;
}


static json_t *
responses_of(const openapi_operation *op)
{
    int          container;
    json_t      *responses, *failed;
    const char  *schema;

    container = strstr(op->path, "/api/") != NULL
                || strstr(op->path, "/ws/") != NULL;
    schema = container ? "{\"anyOf\":[" REF("Error") "," REF("ContainerError")
                         "]}"
                       : REF("Error");

    if (op->out_type == NULL) {
        responses = json_pack("{s:{s:s}}", "204", "description", "Done");

    } else if (strcmp(op->out_type, SOCKET) == 0) {
        responses = json_pack("{s:{s:s}}", "101", "description",
                              "The terminal's WebSocket");

    } else {
        responses = json_pack("{s:{s:s,s:o}}", "200", "description", "Done",
                              "content", content(op->out_type, op->out));
    }

    failed = json_pack("{s:s,s:o}", "description", "An error", "content",
                       content(JSON, schema));

    if (strcmp(op->id, "health") == 0) {
        json_object_set_new(responses, "503",
            json_pack("{s:s,s:o}", "description", "It can't",
                      "content", content(JSON, REF("Health"))));
    }

    json_object_set_new(responses, "default", failed);

    return responses;
}


static json_t *
operation_json(const openapi_operation *op)
{
    int      required;
    json_t  *json;

    json = json_pack("{s:s,s:s,s:o,s:o}", "operationId", op->id,
                     "summary", op->summary,
                     "parameters", parameters_of(op),
                     "responses", responses_of(op));

    if (op->in_type != NULL) {
        required = strcmp(op->id, "createSandbox") != 0
                   && strcmp(op->id, "createSession") != 0
                   && strcmp(op->id, "putPort") != 0;

        json_object_set_new(json, "requestBody",
            json_pack("{s:b,s:o}", "required", required,
                      "content", content(op->in_type, op->in)));
    }

    if (strcmp(op->id, "health") == 0) {
        json_object_set_new(json, "security", json_array());
    }

    return json;
}


static json_t *
paths_json(void)
{
    json_t                   *paths, *path;
    const openapi_operation  *op;

    paths = json_object();

    for (op = openapi_operations; op->path != NULL; op++) {
        path = json_object_get(paths, op->path);

        if (path == NULL) {
            path = json_object();
            json_object_set_new(paths, op->path, path);
        }

        json_object_set_new(path, op->method, operation_json(op));
    }

    return paths;
}


json_t *
sandbox_openapi(const char *version)
{
    size_t   i;
    json_t  *schemas;

    schemas = json_object();

    for (i = 0; openapi_schemas[i].name != NULL; i++) {
        json_object_set_new(schemas, openapi_schemas[i].name,
                            json_loads(openapi_schemas[i].text, 0, NULL));
    }

    return json_pack("{s:s, s:{s:s,s:s,s:s}, s:[{s:[]}], s:o,"
                     " s:{s:o, s:o, s:{s:{s:s,s:s}}}}",
                     "openapi", "3.1.0",
                     "info", "title", "Sandbox control API",
                     "version", version,
                     "description", "Create sandboxes, run commands in them, "
                     "move files in and out, expose ports.",
                     "security", "bearer",
                     "paths", paths_json(),
                     "components", "schemas", schemas,
                     "parameters", json_loads(openapi_parameters, 0, NULL),
                     "securitySchemes", "bearer", "type", "http",
                     "scheme", "bearer");
}
