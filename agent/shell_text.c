/* What is written to a session's shell; see shell_text.h. */

#include <string.h>

#include "agent/shell_text.h"
#include "agent/shim_proto.h"


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


void
shell_init(buffer *b)
{
    buffer_puts(b,
        "\\builtin set +m +o history +H; "
        "\\builtin unset -v HISTFILE MAILCHECK TMOUT; "
        "\\builtin shopt -u checkwinsize; PS1='\\$ ' PS2=\n");
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
        buffer_printf(b, " >&%d\n", SHELL_FD_CONTROL);
    }

    buffer_puts(b, "\\builtin export");
    json_object_foreach((json_t *) env, name, v) {
        if (json_is_string(v)) {
            buffer_printf(b, " %s=", name);
            shell_quote(b, json_string_value(v));
        }
    }
    buffer_puts(b, " 2>/dev/null\n");
}


static void
shell_cd(buffer *b, const char *cwd, const char *redirect, const char *leave)
{
    buffer_puts(b, "\\builtin cd -- ");
    shell_quote(b, cwd);
    buffer_puts(b, " >/dev/null 2>&1 || { \\builtin printf 'Failed to change "
                   "directory to '\\''%s'\\''\\n' ");
    shell_quote(b, cwd);
    buffer_printf(b, "%s; \\builtin %s 1; }\n", redirect, leave);
}


static void
shell_close_own(buffer *b)
{
    buffer_printf(b, " %d>&- %d>&- %d>&- %d>&-", SHELL_FD_OUT, SHELL_FD_ERR,
                  SHELL_FD_CONTROL, SHELL_FD_TEXT);
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
        snprintf(out, sizeof(out), ">&%d", SHELL_FD_OUT);
        snprintf(err, sizeof(err), "&%d", SHELL_FD_ERR);
    }

    if (t->held_in) {
        snprintf(in, sizeof(in), "/proc/%d/fd/%d", (int) t->shim,
                 SHIM_HELD + 2);
    } else {
        snprintf(in, sizeof(in), "/dev/null");
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
    buffer_printf(b, " <%s %s 2>%s", in, out, err);
    shell_close_own(b);
    buffer_puts(b, "\n");
}


void
shell_probe(buffer *b, const char *token)
{
    buffer_printf(b, "\\builtin printf '%%s\\0' R %s \"$?\" \"${PWD-}\" "
                  "\"${OLDPWD-}\" >&%d; \\builtin unset -v TMOUT\n", token,
                  SHELL_FD_CONTROL);
}


void
shell_line(buffer *b, const char *token)
{
    buffer_printf(b, "\\builtin . /proc/self/fd/%d\n", SHELL_FD_TEXT);
    shell_probe(b, token);
}


void
shell_background(buffer *b, const shell_text *t)
{
    char  group[64];

    /*
     * The middle subshell ends at once, so that the job becomes the shim's
     * child and its status is a real one, and the session's own `jobs`, `$!`
     * and `wait` know nothing of it.  The job waits until its go pipe is
     * closed by the shim, which then watches it, and by the middle shell.
     * set -m gives it a process group and signals that work.
     */

    buffer_puts(b, t->prologue);
    buffer_printf(b, "( \\builtin set -m; { "
                  "\\builtin printf '%%s\\0' J %s \"$BASHPID\" >&%d; "
                  "_=\"$(</proc/self/fd/%d)\"\n",
                  t->token, SHELL_FD_CONTROL, SHELL_FD_OUT);

    if (t->cwd != NULL) {
        shell_cd(b, t->cwd, " >&2", "exit");
    }

    buffer_printf(b, "\\builtin export " SHIM_JOB_VAR "=%u\n", t->job);

    if (t->env != NULL) {
        shell_env(b, t->env, NULL);
    }

    shell_eval(b, t->command);
    shell_close_own(b);

    snprintf(group, sizeof(group), "/proc/%d/fd/", (int) t->shim);

    /* The job's descriptor of the go pipe takes the place of the shell's
     * output, which it doesn't use; the middle shell holds the other end in
     * the place of the error output. */
    buffer_printf(b, "\n} <%s%d >%s%d 2>%s%d %d<%s%d %d>&- %d>&- & ) "
                  "%d>%s%d 2>/dev/null\n",
                  group, SHIM_HELD + 2, group, SHIM_HELD, group,
                  SHIM_HELD + 1, SHELL_FD_OUT, group, SHIM_HELD + 3,
                  SHELL_FD_ERR, SHELL_FD_TEXT,
                  SHELL_FD_ERR, group, SHIM_HELD + 4);
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
