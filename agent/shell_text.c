/* What is written to a session's shell; see shell_text.h. */

#include <string.h>

#include "agent/shell_text.h"
#include "agent/shim_proto.h"

/* Where the shell keeps its permanent descriptors: see shell_init(). */
#define SHELL_MOVED    (-10)
#define SHELL_OUT      (SHELL_FD_OUT + SHELL_MOVED)
#define SHELL_ERR      (SHELL_FD_ERR + SHELL_MOVED)
#define SHELL_CONTROL  (SHELL_FD_CONTROL + SHELL_MOVED)
#define SHELL_TEXT     (SHELL_FD_TEXT + SHELL_MOVED)

/* And those of a job's start. */
#define SHELL_GO       (SHELL_FD_OUT + 10)
#define SHELL_GO_END   (SHELL_FD_OUT + 11)


void
shell_quote(buffer *b, const char *text)
{
    size_t  n;

    buffer_append(b, "'", 1);

    while (*text != '\0') {
        n = strcspn(text, "'");
        buffer_append(b, text, n);
        text += n;

        if (*text == '\'') {
            buffer_append(b, "'\\''", 4);
            text++;
        }
    }

    buffer_append(b, "'", 1);
}


int
shell_is_blank(const char *command)
{
    const char  *p;

    for (p = command; ; p++) {
        p += strspn(p, " \t\n");

        if (*p == '\0') {
            return 1;
        }

        if (*p != '#') {
            return 0;
        }

        p += strcspn(p, "\n");
        if (*p == '\0') {
            return 1;
        }
    }
}


/*
 * The descriptors are moved so that they become close-on-exec, and no command
 * has to close them.  bash has no word for that; but what it saves during a
 * redirection is close-on-exec (and at 10, the first free place from there
 * on), and a copy of such a one is too.
 */

void
shell_init(buffer *b)
{
    int  fd;

    buffer_puts(b,
        "\\builtin set +m +o history +H; "
        "\\builtin unset -v HISTFILE MAILCHECK TMOUT; "
        "\\builtin shopt -u checkwinsize; PS1='\\$ ' PS2=\n");

    for (fd = SHELL_FD_OUT; fd <= SHELL_FD_TEXT; fd++) {
        buffer_printf(b, "{ \\exec %d>&10; } %d>&-; \\exec %d>&-\n",
                      fd + SHELL_MOVED, fd, fd);
    }
}


/* Saves the variables that the command's own environment covers, and sets
 * them.  What was saved comes back as the shell's own text, so that unset,
 * unexported and odd values are put back exactly. */

static void
shell_env(buffer *b, const json_t *env, const char *token)
{
    int          any;
    json_t      *v;
    const char  *name;

    any = 0;

    json_object_foreach((json_t *) env, name, v) {
        any |= json_is_string(v);
    }

    if (!any) {
        return;
    }

    if (token != NULL) {
        buffer_printf(b, "\\builtin printf '%%s\\0' E %s", token);
        json_object_foreach((json_t *) env, name, v) {
            if (json_is_string(v)) {
                buffer_printf(b, " \"${%s[*]@A}\"", name);
            }
        }
        buffer_printf(b, " >&%d; ", SHELL_CONTROL);
    }

    buffer_puts(b, "\\builtin export");
    json_object_foreach((json_t *) env, name, v) {
        if (json_is_string(v)) {
            buffer_printf(b, " %s=", name);
            shell_quote(b, json_string_value(v));
        }
    }
    buffer_puts(b, " 2>/dev/null; ");
}


/* As if it had been started there: no directory before this one. */

void
shell_welcome(buffer *b, const char *cwd, const json_t *env)
{
    if (cwd != NULL) {
        buffer_puts(b, "\\builtin cd -- ");
        shell_quote(b, cwd);
        buffer_puts(b, "; \\builtin unset -v OLDPWD; "
                       "\\builtin export OLDPWD\n");
    }

    if (env != NULL) {
        shell_env(b, env, NULL);
        if (b->len != 0) {
            buffer_puts(b, "\n");
        }
    }
}


static void
shell_cd(buffer *b, const char *cwd, const char *redirect, const char *leave)
{
    buffer_puts(b, "\\builtin cd -- ");
    shell_quote(b, cwd);
    buffer_puts(b, " >/dev/null 2>&1 || { \\builtin printf 'Failed to change "
                   "directory to '\\''%s'\\''\\n' ");
    shell_quote(b, cwd);
    buffer_printf(b, "%s; \\builtin %s 1; }; ", redirect, leave);
}


/* The command as one group, so that it is parsed as a whole; the empty line
 * ends a trailing backslash or comment. */

static void
shell_eval(buffer *b, const char *command)
{
    buffer  group;

    memset(&group, 0, sizeof(group));
    buffer_puts(&group, "{ ");
    buffer_puts(&group, command);
    buffer_append(&group, "\n\n}", 4);

    buffer_puts(b, "\\builtin eval ");
    shell_quote(b, buffer_bytes(&group));
    buffer_free(&group);
}


void
shell_foreground(buffer *b, const shell_text *t)
{
    char  out[64], err[64], in[64], to[80];

    if (t->held_out) {
        snprintf(out, sizeof(out), ">/proc/%d/fd/%d", (int) t->shim,
                 SHIM_HELD);
        snprintf(err, sizeof(err), "/proc/%d/fd/%d", (int) t->shim,
                 SHIM_HELD + 1);

    } else {
        snprintf(out, sizeof(out), ">&%d", SHELL_OUT);
        snprintf(err, sizeof(err), "&%d", SHELL_ERR);
    }

    if (t->held_in) {
        snprintf(in, sizeof(in), "/proc/%d/fd/%d", (int) t->shim,
                 SHIM_HELD + 2);
    } else {
        snprintf(in, sizeof(in), "&1");     /* the shell's: /dev/null */
    }

    buffer_puts(b, t->prologue);

    if (t->cwd != NULL) {
        snprintf(to, sizeof(to), " >%s", err);
        shell_cd(b, t->cwd, to, "return");
    }

    if (t->env != NULL) {
        shell_env(b, t->env, t->token);
    }

    shell_eval(b, t->command);
    buffer_printf(b, " <%s %s 2>%s\n", in, out, err);
}


void
shell_probe(buffer *b, const char *token)
{
    buffer_printf(b, "\\builtin printf '%%s\\0' R %s \"$?\" \"${PWD-}\" "
                  "\"${OLDPWD-}\" >&%d; \\builtin unset -v TMOUT\n", token,
                  SHELL_CONTROL);
}


void
shell_line(buffer *b, const char *token)
{
    buffer_printf(b, "\\builtin . /proc/self/fd/%d\n", SHELL_TEXT);
    shell_probe(b, token);
}


void
shell_background(buffer *b, const shell_text *t)
{
    buffer_printf(b, "\\builtin printf '%%s\\0' J %s \"$BASHPID\" >&%d; "
                  "\\builtin read -r -d '' _ <&%d && \\builtin exit; ",
                  t->token, SHELL_CONTROL, SHELL_GO);

    if (t->cwd != NULL) {
        shell_cd(b, t->cwd, " >&2", "exit");
    }

    buffer_printf(b, "\\builtin export " SHIM_JOB_VAR "=%u; ", t->job);

    if (t->env != NULL) {
        shell_env(b, t->env, NULL);
    }

    shell_eval(b, t->command);
    buffer_printf(b, " %d>&- %d>&- %d>&- %d>&- %d>&-\n", SHELL_OUT, SHELL_ERR,
                  SHELL_CONTROL, SHELL_TEXT, SHELL_GO);
}


void
shell_background_line(buffer *b, const shell_text *t)
{
    char  held[64];

    /*
     * The middle subshell ends at once, so that the job becomes the shim's
     * child and its status is a real one, and the session's own `jobs`, `$!`
     * and `wait` know nothing of it.  The job waits until its go pipe is
     * closed by the shim, which then watches it, and by the middle shell.  What
     * is in that says that it isn't to begin any more.
     * set -m gives it a process group and signals that work.  A simple command
     * in the background still writes its errors as the shell itself does;
     * a group would name the file of its text.
     */

    snprintf(held, sizeof(held), "/proc/%d/fd/", (int) t->shim);

    if (t->prologue[0] != '\0') {
        buffer_puts(b, t->prologue);
        buffer_puts(b, "\n");
    }

    buffer_printf(b, "( \\builtin set -m; \\builtin . /proc/self/fd/%d "
                  "<%s%d >%s%d 2>%s%d %d<%s%d %d>&- & ) %d>%s%d 2>/dev/null\n",
                  SHELL_TEXT, held, SHIM_HELD + 2, held, SHIM_HELD, held,
                  SHIM_HELD + 1, SHELL_GO, held, SHIM_HELD + 3, SHELL_GO_END,
                  SHELL_GO_END, held, SHIM_HELD_GO);
    shell_probe(b, t->token);
}


static void
shell_word(buffer *b, const char *p)
{
    static const char  plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        "@%+=:,./-";

    if (p[0] != '\0' && p[strspn(p, plain)] == '\0') {
        buffer_puts(b, p);
        return;
    }

    buffer_puts(b, "$'");

    for ( ; *p != '\0'; p++) {
        switch (*p) {
        case '\\':  buffer_puts(b, "\\\\"); break;
        case '\'':  buffer_puts(b, "\\'"); break;
        case '\n':  buffer_puts(b, "\\n"); break;
        case '\r':  buffer_puts(b, "\\r"); break;
        case '\t':  buffer_puts(b, "\\t"); break;
        default:    buffer_append(b, p, 1);
        }
    }

    buffer_puts(b, "'");
}


void
shell_words(buffer *b, const json_t *argv)
{
    size_t   i;
    json_t  *v;

    json_array_foreach((json_t *) argv, i, v) {
        if (i != 0) {
            buffer_append(b, " ", 1);
        }
        shell_word(b, json_string_value(v));
    }
}
