/* The agent's arguments; see options.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/env.h"
#include "agent/options.h"

#define OPTIONS_FD_MAX    1000000
#define OPTIONS_PATH_MAX  4096

typedef struct {
    const char   *name;             /* of the argument */
    const char   *variable;         /* NULL: only an argument */
    size_t        offset;
} options_text;

#define TEXT(member)  offsetof(agent_options, member)

static const options_text  options_texts[] = {
    { "--listen",    "SANDBOX_LISTEN",      TEXT(listen) },
    { "--key-file",  "SANDBOX_KEY_FILE",    TEXT(key_file) },
    { "--boot-file", "SANDBOX_BOOT_FILE",   TEXT(boot_file) },
    { "--workspace", "SANDBOX_WORKSPACE",   TEXT(workspace) },
    { "--backups",   "SANDBOX_BACKUPS",     TEXT(backups) },
    { NULL,          "SANDBOX_LOG_LEVEL",   TEXT(log_level) },
    { NULL,          "SANDBOX_LOG_FORMAT",  TEXT(log_format) },
    { NULL,          "SANDBOX_VERSION",     TEXT(told_version) },
    { NULL,          "SANDBOX_POWER",       TEXT(power) }
};

#define OPTIONS_TEXTS  (sizeof(options_texts) / sizeof(options_texts[0]))


long long
options_number(const char *text, long long max)
{
    long long  n;

    n = 0;

    if (text == NULL || *text == '\0') {
        return -1;
    }

    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return -1;
        }

        n = n * 10 + (*text - '0');
        if (n > max) {
            return -1;
        }
    }

    return n;
}


uint64_t
options_timeout(const char *text, int *bad)
{
    long long  n;

    *bad = 0;

    if (text == NULL || *text == '\0') {
        return 0;
    }

    n = options_number(text, 30LL * 24 * 3600 * 1000);
    *bad = n < 0;

    return n < 0 ? 0 : (uint64_t) n;
}


int
options_own_variable(const char *entry)
{
    size_t                     i, n;
    static const char  *const  own[] = {
        "SANDBOX_LISTEN", "SANDBOX_KEY_FILE", "SANDBOX_BOOT_FILE",
        "SANDBOX_INIT", "SANDBOX_POWER", "SANDBOX_DISKS"
    };

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        n = strlen(own[i]);
        if (strncmp(entry, own[i], n) == 0 && entry[n] == '=') {
            return 1;
        }
    }

    return 0;
}


static const char **
options_slot(agent_options *o, size_t i)
{
    return (const char **) ((char *) o + options_texts[i].offset);
}


static int
options_fd(const char *name, const char *text, int *fd, error **err)
{
    long long  n;

    n = options_number(text, OPTIONS_FD_MAX);
    if (n < 3) {
        return error_set(err, 400, "usage",
                         "%s: not the number of a descriptor above 2", name);
    }

    *fd = (int) n;

    return 0;
}


/* One argument with its value.  1: taken, 0: none of ours, -1: error set. */

static int
options_valued(agent_options *o, const char *name, const char *value,
    error **err)
{
    size_t  i;

    if (strcmp(name, "--listen-fd") == 0) {
        return options_fd(name, value, &o->listen_fd, err) == 0 ? 1 : -1;
    }

    if (strcmp(name, "--boot-fd") == 0) {
        return options_fd(name, value, &o->boot_fd, err) == 0 ? 1 : -1;
    }

    for (i = 0; i < OPTIONS_TEXTS; i++) {
        if (options_texts[i].name != NULL
            && strcmp(name, options_texts[i].name) == 0)
        {
            if (value == NULL || *value == '\0') {
                error_set(err, 400, "usage", "%s: a value is missing", name);
                return -1;
            }
            *options_slot(o, i) = value;
            return 1;
        }
    }

    return 0;
}


/* A kernel hands every word of its command line that it doesn't know to its
 * init, and never "--": there a command comes with the boot object. */

static int
options_is_init(char **argv, char *const *env)
{
    char        **arg;
    const char   *value;

    for (arg = argv; *arg != NULL && strcmp(*arg, "--") != 0; arg++) {
        if (arg != argv && strcmp(*arg, "--init") == 0) {
            return 1;
        }
    }

    value = env_get(env, "SANDBOX_INIT");

    return value != NULL && strcmp(value, "1") == 0;
}


/* Up to the command: everything behind "--", or from the first argument on
 * that is no option, since an image's CMD is appended to its ENTRYPOINT. */

static int
options_arguments(agent_options *o, char **argv, error **err)
{
    int     rc;
    char  **arg;

    if (argv[0] == NULL) {
        return 0;
    }

    for (arg = argv + 1; *arg != NULL; arg++) {
        if (strcmp(*arg, "--") == 0) {
            arg++;
            break;
        }

        if ((*arg)[0] != '-' && o->init) {
            continue;
        }

        if ((*arg)[0] != '-') {
            break;
        }

        if (strcmp(*arg, "--version") == 0) {
            o->version = 1;

        } else if (strcmp(*arg, "--help") == 0) {
            o->help = 1;

        } else if (strcmp(*arg, "--init") == 0) {
            o->init = 1;

        } else if (strcmp(*arg, "--inherit-env") == 0) {
            o->inherit = 1;

        } else {
            rc = options_valued(o, *arg, arg[1], err);
            if (rc < 0) {
                return -1;
            }

            if (rc == 0) {
                return error_set(err, 400, "usage", "%.100s: no such option",
                                 *arg);
            }
            arg++;
        }
    }

    o->command = *arg != NULL ? arg : NULL;

    return 0;
}


static void
options_environment(agent_options *o, char *const *env)
{
    size_t       i;
    long long    n;
    const char  *value;

    for (i = 0; i < OPTIONS_TEXTS; i++) {
        value = env_get(env, options_texts[i].variable);

        if (value != NULL && *value != '\0') {
            *options_slot(o, i) = value;
        }
    }

    value = env_get(env, "SANDBOX_RAW_CHILD_STDIO");
    o->raw_stdio = value != NULL && strcmp(value, "1") == 0;

    n = options_number(env_get(env, "SANDBOX_STOP_MS"), OPTIONS_STOP_MS_MAX);
    if (n >= 0) {
        o->stop_ms = (uint64_t) n;
    }

    n = options_number(env_get(env, "SANDBOX_REQUEST_MS"),
                       OPTIONS_STOP_MS_MAX);
    if (n > 0) {
        o->request_ms = (uint64_t) n;
    }
}


static int
options_check(agent_options *o, error **err)
{
    if ((o->boot_fd != -1) + (o->boot_file != NULL) + (o->key_file != NULL)
        > 1)
    {
        return error_set(err, 400, "usage", "--boot-fd, --boot-file and "
                         "--key-file exclude one another");
    }

    if (o->boot_fd == -1 && o->boot_file == NULL && o->key_file == NULL) {
        return error_set(err, 400, "usage", "no key: give --key-file or "
                         "--boot-file, or SANDBOX_KEY_FILE or "
                         "SANDBOX_BOOT_FILE");
    }

    if (o->listen_fd == -1 && o->listen == NULL) {
        return error_set(err, 400, "usage", "no address: give --listen or "
                         "SANDBOX_LISTEN");
    }

    if (o->listen_fd != -1 && o->listen != NULL) {
        return error_set(err, 400, "usage",
                         "--listen-fd and --listen exclude one another");
    }

    if (o->power != NULL && strcmp(o->power, "off") != 0
        && strcmp(o->power, "reboot") != 0 && strcmp(o->power, "exit") != 0)
    {
        return error_set(err, 400, "usage",
                         "SANDBOX_POWER: off, reboot or exit");
    }

    if (o->workspace[0] != '/' || strlen(o->workspace) >= OPTIONS_PATH_MAX) {
        return error_set(err, 400, "usage",
                         "--workspace: not an absolute path of less than %d "
                         "bytes", OPTIONS_PATH_MAX);
    }

    if (o->backups[0] != '/' || strlen(o->backups) >= OPTIONS_PATH_MAX) {
        return error_set(err, 400, "usage",
                         "--backups: not an absolute path of less than %d "
                         "bytes", OPTIONS_PATH_MAX);
    }

    return 0;
}


int
options_parse(agent_options *o, char **argv, char *const *env, error **err)
{
    agent_options  args;

    memset(o, 0, sizeof(*o));
    o->listen_fd = -1;
    o->boot_fd = -1;
    o->workspace = "/workspace";
    o->backups = "/var/backups";
    o->stop_ms = OPTIONS_STOP_MS;
    o->request_ms = OPTIONS_REQUEST_MS;
    o->init = options_is_init(argv, env);

    /* What sandboxd hands over by descriptor is not mixed with what the
     * environment says. */
    args = *o;
    if (options_arguments(&args, argv, err) != 0) {
        return -1;
    }

    options_environment(o, env);
    if (args.listen_fd != -1) {
        o->listen = NULL;
    }
    if (args.boot_fd != -1 || args.boot_file != NULL || args.key_file != NULL)
    {
        o->boot_file = NULL;
        o->key_file = NULL;
    }

    if (options_arguments(o, argv, err) != 0) {
        return -1;
    }

    return o->version || o->help ? 0 : options_check(o, err);
}


/* Addresses. */

static int
options_listen_tcp(const char *text, listen_address *a, error **err)
{
    size_t       len;
    long long    port;
    const char  *host, *colon;

    host = text;
    colon = strrchr(text, ':');
    port = colon != NULL ? options_number(colon + 1, 65535) : -1;

    if (port <= 0 || colon == host) {
        return error_set(err, 400, "usage",
                         "tcp:%.100s: not an address and a port", text);
    }

    len = (size_t) (colon - host);

    if (host[0] == '[') {
        if (len < 3 || host[len - 1] != ']') {
            return error_set(err, 400, "usage",
                             "tcp:%.100s: not an address and a port", text);
        }
        host++;
        len -= 2;
        a->ipv6 = 1;
    }

    if (len >= sizeof(a->host)) {
        return error_set(err, 400, "usage", "tcp:%.100s: the address is too "
                         "long", text);
    }

    a->kind = LISTEN_TCP;
    a->port = (unsigned) port;
    memcpy(a->host, host, len);
    a->host[len] = '\0';

    return 0;
}


static int
options_listen_vsock(const char *text, listen_address *a, error **err)
{
    char         number[16];
    size_t       len;
    long long    port, peer;
    const char  *p;

    p = text + sizeof("vsock:") - 1;
    len = strcspn(p, ":");
    port = -1;
    peer = LISTEN_VSOCK_HOST;

    if (len < sizeof(number)) {
        memcpy(number, p, len);
        number[len] = '\0';
        port = options_number(number, LISTEN_VSOCK_MAX);
    }

    if (p[len] == ':') {
        peer = options_number(p + len + 1, LISTEN_VSOCK_MAX);
    }

    if (port <= 0 || peer <= 0) {
        return error_set(err, 400, "usage", "%.100s: not a vsock port, with "
                         "or without the cid that may connect", text);
    }

    a->kind = LISTEN_VSOCK;
    a->port = (unsigned) port;
    a->peer = (unsigned) peer;

    return 0;
}


int
options_listen(const char *text, listen_address *a, error **err)
{
    memset(a, 0, sizeof(*a));
    a->text = text;

    if (strncmp(text, "vsock:", 6) == 0) {
        return options_listen_vsock(text, a, err);
    }

    if (strncmp(text, "tcp:", 4) == 0) {
        return options_listen_tcp(text + 4, a, err);
    }

    if (strncmp(text, "unix:", 5) == 0) {
        text += 5;
    }

    if (text[0] != '/') {
        return error_set(err, 400, "usage", "%.100s: not unix:/PATH, "
                         "vsock:PORT or tcp:ADDRESS:PORT", text);
    }

    if (strlen(text) >= sizeof(a->host)) {
        return error_set(err, 400, "usage",
                         "the path of the socket is longer than %zu bytes",
                         sizeof(a->host) - 1);
    }

    a->kind = LISTEN_UNIX;
    strcpy(a->host, text);

    return 0;
}
