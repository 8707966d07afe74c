/*
 * /api/git/checkout: clones a repository.
 *
 * git runs as a background job of the session, so that it has the session's
 * directory and exported variables and leaves its shell as it was.  Credentials
 * of the URL are in no argument and no variable: they are the job's input, from
 * which git's credential helper reads them.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent.h"
#include "agent/exec.h"
#include "agent/git_error.h"
#include "agent/git_url.h"
#include "agent/path.h"
#include "agent/program.h"
#include "agent/redact.h"
#include "agent/shell_text.h"
#include "common/log.h"

#define GIT_TIMEOUT_MS   600000
#define GIT_AT_ONCE      16
#define GIT_OUTPUT_MAX   (1024 * 1024)
#define GIT_STDERR_MAX   (16 * 1024)    /* shown */
#define GIT_BRANCH_MAX   1024
#define GIT_BODY_MAX     (64 * 1024)

/* One clone.  Goes when its program has ended. */
typedef struct {
    http_request  *r;                   /* NULL: the client left */
    program       *p;
    git_url        url;
    char          *branch;              /* NULL: the repository's own */
    char          *target;              /* absolute */
    json_int_t     depth;               /* 0: all */
    uint64_t       timeout_ms;
} git_clone;

/* What is written first if there was no target when it was git's turn. */
#define GIT_NEW  "new\n"

static unsigned  git_running;


static int
git_invalid(http_request *r, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));


static int
git_invalid(http_request *r, const char *field, const char *fmt, ...)
{
    char      text[300];
    error    *err;
    va_list   args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    err = NULL;
    error_set_field(&err, 400, "validation_failed", field, 0, "%s", text);
    api_error(r, err);

    return -1;
}


static void
git_free(git_clone *g)
{
    /* The credentials with it. */
    explicit_bzero(&g->url, sizeof(g->url));
    free(g->branch);
    free(g->target);
    free(g);
    git_running--;
}


/* The answers. */

static void
git_redact(const git_clone *g, buffer *to, const char *p, size_t n)
{
    const char  *secrets[3];
    size_t       i;

    i = 0;
    if (g->url.password[0] != '\0') {
        secrets[i++] = g->url.password;
    } else if (g->url.user[0] != '\0') {
        secrets[i++] = g->url.user;
    }
    secrets[i] = NULL;

    redact_text(to, p, n, secrets);
    *buffer_room(to, 1) = '\0';
}


static void
git_answer_error(git_clone *g, program *p)
{
    error           *err;
    buffer           said, shown;
    json_t          *context;
    const char      *text;
    git_error_kind   kind;

    memset(&said, 0, sizeof(said));
    memset(&shown, 0, sizeof(shown));
    err = NULL;
    program_output(p, &p->of->err, &said);

    if (said.len > GIT_STDERR_MAX) {
        buffer_consume(&said, said.len - GIT_STDERR_MAX);
    }

    git_redact(g, &shown, buffer_bytes(&said), said.len);
    text = buffer_bytes(&shown);

    if (p->of->failure != NULL) {
        error_set(&err, p->of->failure->status, p->of->failure->code, "%s",
                  p->of->failure->message);

    } else if (p->of->timed_out) {
        error_set(&err, 502, "git_network_error",
                  "Git clone timed out after %llu seconds: the server is too "
                  "slow or the repository too large for timeoutMs; depth "
                  "makes it smaller",
                  (unsigned long long) (g->timeout_ms + 999) / 1000);

    } else if (p->flooded) {
        error_set(&err, 500, "git_operation_failed", "Failed to clone "
                  "repository '%.200s': git wrote more than %d bytes",
                  g->url.shown, GIT_OUTPUT_MAX);

    } else {
        kind = git_error_find(p->of->exit_code, text);

        if (kind.status == 501) {
            error_set(&err, kind.status, kind.code,
                      "There is no git in this sandbox");
        } else {
            error_set(&err, kind.status, kind.code,
                      "Failed to clone repository '%.200s': %s",
                      g->url.shown, text);
        }
    }

    context = json_pack("{s:o, s:o*, s:o, s:i, s:o}",
                        "repository", http_text(g->url.shown),
                        "branch", g->branch ? http_text(g->branch) : NULL,
                        "targetDir", http_text(g->target),
                        "exitCode", p->of->timed_out ? 124
                                                     : p->of->exit_code,
                        "stderr", http_text(text));
    api_error_context(g->r, err, context);
    buffer_free(&said);
    buffer_free(&shown);
}


/* Whatever was there before is somebody else's, also what came there while git
 * waited for the session. */

static int
git_made_target(program *p)
{
    char      first[sizeof(GIT_NEW) - 1];
    uint64_t  off;

    off = 0;

    return spool_read(&p->of->out, &off, first, sizeof(first))
           == sizeof(first)
           && memcmp(first, GIT_NEW, sizeof(first)) == 0;
}


static void
git_answer(git_clone *g, program *p)
{
    char         ts[32];
    buffer       out;
    json_t      *o;
    const char  *branch;

    memset(&out, 0, sizeof(out));
    program_output(p, &p->of->out, &out);
    branch = buffer_bytes(&out);
    if (git_made_target(p)) {
        branch += out.len < strlen(GIT_NEW) ? out.len : strlen(GIT_NEW);
    }
    if (*branch == '\0') {
        branch = g->branch != NULL ? g->branch : "unknown";
    }
    http_timestamp(ts, sizeof(ts));

    o = json_object();
    json_object_set_new(o, "success", json_true());
    json_object_set_new(o, "repoUrl", http_text(g->url.shown));
    json_object_set_new(o, "branch", http_text(branch));
    json_object_set_new(o, "targetDir", http_text(g->target));
    json_object_set_new(o, "timestamp", json_string(ts));
    http_send_json(g->r, 200, o);
    buffer_free(&out);
}


static void
git_removed(program *p)
{
    git_free(p->data);
}


/* git removes what it began when it is told to stop; if it had to be killed,
 * this does. */

static int
git_remove(git_clone *g, program *p)
{
    error         *err;
    buffer         text;
    struct stat    st;
    program_spec   spec;

    if (!git_made_target(p) || lstat(g->target, &st) != 0) {
        return 0;
    }

    memset(&text, 0, sizeof(text));
    memset(&spec, 0, sizeof(spec));
    buffer_puts(&text, "exec rm -rf -- ");
    shell_quote(&text, g->target);
    buffer_append(&text, "", 1);

    err = NULL;
    spec.text = buffer_bytes(&text);
    spec.cwd = "/";
    spec.limit = GIT_OUTPUT_MAX;
    g->p = program_start(&spec, git_removed, g, &err);
    buffer_free(&text);
    error_free(err);

    return g->p != NULL;
}


static void
git_done(program *p)
{
    run        *of;
    git_clone  *g;

    g = p->data;
    of = p->of;

    if (g->r != NULL) {
        http_on_close(g->r, NULL);

        if (of->failure == NULL && !of->timed_out && !p->flooded
            && of->exit_code == 0)
        {
            git_answer(g, p);
        } else {
            git_answer_error(g, p);
        }
        g->r = NULL;
    }

    if ((of->timed_out || p->flooded || p->cancelled)
        && git_remove(g, p))
    {
        return;
    }

    git_free(g);
}


/* Nobody would learn of it. */

static void
git_closed(http_request *r)
{
    git_clone  *g;

    g = r->data;
    g->r = NULL;
    log_debug("git: the client left");
    program_cancel(g->p);
}


/* The command. */

static void
git_option(buffer *b, const char *prefix, const char *value)
{
    buffer  word;

    memset(&word, 0, sizeof(word));
    buffer_puts(&word, prefix);
    buffer_puts(&word, value);
    buffer_append(&word, "", 1);
    buffer_puts(b, " ");
    shell_quote(b, buffer_bytes(&word));
    buffer_free(&word);
}


static void
git_text(const git_clone *g, buffer *b)
{
    char  setting[GIT_URL_MAX + 300];

    buffer_puts(b, "{\n\\builtin test -e");
    git_option(b, "", g->target);
    buffer_puts(b, " || \\builtin test -L");
    git_option(b, "", g->target);
    buffer_puts(b, " || \\builtin echo new\n");

    if (g->url.ssh) {
        /* Whoever has an ssh of his own knows better. */
        buffer_puts(b,
            "[ -n \"${GIT_SSH_COMMAND-}${GIT_SSH-}\" ] "
            "|| \\builtin command git config core.sshCommand >/dev/null 2>&1 "
            "|| \\builtin export GIT_SSH_COMMAND='ssh -oBatchMode=yes "
            "-oConnectTimeout=30'\n");
    }

    buffer_puts(b, "\\builtin command git -c http.lowSpeedLimit=1024 "
                   "-c http.lowSpeedTime=30");

    if (g->url.has_secret) {
        snprintf(setting, sizeof(setting), "credential.%s.helper=",
                 g->url.host);

        /* A user name alone leaves the sandbox's own helpers their say. */
        if (g->url.password[0] != '\0') {
            buffer_puts(b, " -c");
            git_option(b, setting, "");
        }

        buffer_puts(b, " -c");
        git_option(b, setting,
                   "!f() { if [ \"$1\" = get ]; then while IFS= read -r l; do "
                   "printf '%s\\n' \"$l\"; done </proc/self/fd/9; fi; }; f");
    }

    buffer_puts(b, " clone");

    /* What is left out is fetched when it is needed: not without the
     * credentials, which aren't kept. */
    if (!g->url.has_secret) {
        buffer_puts(b, " --filter=blob:none");
    }
    if (g->branch != NULL) {
        git_option(b, "--branch=", g->branch);
    }
    if (g->depth != 0) {
        buffer_printf(b, " --depth=%lld", (long long) g->depth);
    }

    buffer_puts(b, " --");
    git_option(b, "", g->url.plain);
    git_option(b, "", g->target);

    buffer_puts(b, " || \\builtin exit\n"
                   "\\builtin command git -C");
    git_option(b, "", g->target);
    buffer_puts(b, " branch --show-current 2>/dev/null || \\builtin true\n"
                   "} 9<&0 </dev/null");
    buffer_append(b, "", 1);
}


static int
git_start(git_clone *g, const char *name, error **err)
{
    buffer         text, input;
    program_spec   spec;

    memset(&text, 0, sizeof(text));
    memset(&input, 0, sizeof(input));
    memset(&spec, 0, sizeof(spec));
    git_text(g, &text);

    if (g->url.has_secret) {
        buffer_printf(&input, "username=%s\npassword=%s\n", g->url.user,
                      g->url.password);
        spec.input = buffer_bytes(&input);
        spec.input_len = input.len;
    }

    spec.text = buffer_bytes(&text);
    spec.session = name;
    spec.timeout_ms = g->timeout_ms;
    spec.limit = GIT_OUTPUT_MAX;
    spec.env = json_pack("{s:s, s:s, s:s, s:s, s:s}",
                         "LC_ALL", "C",
                         "GIT_TERMINAL_PROMPT", "0",
                         "GIT_ASKPASS", "",
                         "SSH_ASKPASS_REQUIRE", "never",
                         "GIT_ALLOW_PROTOCOL", "http:https:ssh:git:file");

    g->p = program_start(&spec, git_done, g, err);

    if (input.len != 0) {
        explicit_bzero(buffer_bytes(&input), input.len);
    }
    buffer_free(&input);
    buffer_free(&text);

    return g->p == NULL ? -1 : 0;
}


/* The request. */

static int
git_read_url(http_request *r, git_clone *g, const json_t *o)
{
    error         *err;
    const char    *why;
    const json_t  *v;

    v = json_object_get(o, "repoUrl");
    why = !json_is_string(v) ? "Git URL must be a non-empty string"
          : git_url_parse(&g->url, json_string_value(v),
                          json_string_length(v));
    if (why == NULL) {
        return 0;
    }

    err = NULL;
    error_set(&err, 400, "invalid_git_url", "Invalid Git URL '%.200s': %s",
              g->url.shown, why);
    api_error_context(r, err, json_pack("{s:[{s:s, s:s, s:s}]}",
                                        "validationErrors",
                                        "field", "repoUrl", "message", why,
                                        "code", "INVALID_GIT_URL"));
    return -1;
}


/* absent or null leaves *out. */

static int
git_read_count(http_request *r, const json_t *o, const char *name,
    json_int_t max, json_int_t *out)
{
    const json_t  *v;

    v = json_object_get(o, name);

    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    if (!json_is_integer(v) || json_integer_value(v) < 1
        || json_integer_value(v) > max)
    {
        return git_invalid(r, name, "%s must be a whole number from 1 to %lld",
                           name, (long long) max);
    }

    *out = json_integer_value(v);

    return 0;
}


static int
git_read_branch(http_request *r, git_clone *g, const json_t *o)
{
    error       *err;
    const char  *p, *branch;

    err = NULL;
    branch = NULL;

    if (params_string(o, "branch", &branch, NULL, &err) != 0) {
        api_error(r, err);
        return -1;
    }

    if (branch == NULL) {
        return 0;
    }

    for (p = branch; *p != '\0' && (unsigned char) *p > 0x20 && *p != 0x7f;
         p++)
    {
        /* look on */
    }

    if (branch[0] == '\0' || branch[0] == '-' || *p != '\0'
        || p - branch > GIT_BRANCH_MAX)
    {
        return git_invalid(r, "branch", "branch must be a name of 1 to %d "
                           "bytes without blanks that doesn't begin with '-'",
                           GIT_BRANCH_MAX);
    }

    g->branch = strdup(branch);

    return 0;
}


/* Relative ones begin where the session is, as in the file API. */

static int
git_read_target(http_request *r, git_clone *g, const json_t *o,
    const char *name)
{
    size_t       room;
    error       *err;
    session     *s;
    const char  *base, *target, *why;

    err = NULL;
    target = NULL;

    if (params_string(o, "targetDir", &target, NULL, &err) != 0) {
        api_error(r, err);
        return -1;
    }

    if (target == NULL) {
        target = g->url.name;
        base = agent.workspace;

    } else {
        why = path_problem(target, strlen(target));
        if (why != NULL) {
            return git_invalid(r, "targetDir", "targetDir: %s", why);
        }

        s = strcmp(name, SESSION_NONE) == 0 ? NULL : session_find(name);
        base = s != NULL && session_pwd(s)[0] == '/' ? session_pwd(s)
                                                     : agent.cwd;
    }

    room = strlen(base) + strlen(target) + 2;
    g->target = malloc(room);

    if (g->target == NULL || path_join(g->target, room, base, target) != 0) {
        abort();
    }

    return 0;
}


/* Returns 0, or -1 after an answer. */

static int
git_read(http_request *r, git_clone *g, const json_t *o, const char **name)
{
    error       *err;
    json_int_t   timeout_ms;

    err = NULL;
    *name = NULL;
    timeout_ms = GIT_TIMEOUT_MS;

    if (params_string(o, "sessionId", name, NULL, &err) != 0) {
        api_error(r, err);
        return -1;
    }

    *name = exec_session_name(r, *name, 1);
    if (*name == NULL) {
        *name = "default";
    }

    if ((*name)[strspn(*name, " \t\r\n")] == '\0') {
        return git_invalid(r, "sessionId",
                           "sessionId must not be empty or whitespace");
    }

    if (git_read_url(r, g, o) != 0
        || git_read_branch(r, g, o) != 0
        || git_read_target(r, g, o, *name) != 0
        || git_read_count(r, o, "depth", INT32_MAX, &g->depth) != 0
        || git_read_count(r, o, "timeoutMs", PARAMS_TIMEOUT_MAX, &timeout_ms)
           != 0)
    {
        return -1;
    }

    g->timeout_ms = (uint64_t) timeout_ms;

    return 0;
}


static void
git_body(http_request *r, char *body, size_t len)
{
    error       *err;
    json_t      *o;
    git_clone   *g;
    const char  *name;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    g = calloc(1, sizeof(git_clone));
    if (g == NULL) {
        abort();
    }

    git_running++;
    err = NULL;

    if (git_running > GIT_AT_ONCE) {
        error_set(&err, 503, "resource_busy",
                  "%d repositories are being cloned already", GIT_AT_ONCE);
        api_error(r, err);

    } else if (git_read(r, g, o, &name) == 0) {

        g->r = r;

        if (git_start(g, name, &err) == 0) {
            r->data = g;
            http_on_close(r, git_closed);
            g = NULL;
        } else {
            api_error(r, err);
        }
    }

    if (g != NULL) {
        git_free(g);
    }
    json_decref(o);
}


static void
git_handler(http_request *r)
{
    http_read_body(r, GIT_BODY_MAX, git_body);
}


void
git_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/git/checkout", git_handler);
}
