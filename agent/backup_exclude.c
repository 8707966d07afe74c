/* Exclude files of mksquashfs; see backup_exclude.h. */

#include <string.h>

#include "agent/backup_exclude.h"

#define EXCLUDE_PARTS  128
#define EXCLUDE_DEPTH  16

typedef struct {
    const char  *p;
    size_t       n;
} exclude_part;

typedef struct {
    exclude_part  parts[EXCLUDE_PARTS];
    size_t        count;
    int           anywhere;         /* at any depth below the first */
    size_t        gap;              /* parts before the `**`; if anywhere */
} exclude_glob;


static int
exclude_is(const exclude_part *part, const char *text)
{
    return part->n == strlen(text) && memcmp(part->p, text, part->n) == 0;
}


/* The shell's own extended patterns are in force where this is read, and
 * aren't meant. */

static void
exclude_escape(buffer *b, const exclude_part *part)
{
    size_t  i;

    for (i = 0; i < part->n; i++) {
        if (part->p[i] == '\\' && i + 1 < part->n) {
            buffer_append(b, part->p + i, 2);
            i++;
            continue;
        }

        /* `a**b` is `a*b` */
        if (part->p[i] == '*' && i != 0 && part->p[i - 1] == '*') {
            continue;
        }

        if (strchr("()|", part->p[i]) != NULL) {
            buffer_append(b, "\\", 1);
        }
        buffer_append(b, part->p + i, 1);
    }
}


/* A wildcard that stands first matches no name that begins with a dot: the
 * second form does. */

static int
exclude_has_hidden(const exclude_part *part)
{
    return part->p[0] == '*' || part->p[0] == '?';
}


static void
exclude_hidden(buffer *b, const exclude_part *part)
{
    exclude_part  rest;

    rest = *part;
    if (rest.p[0] == '?') {
        rest.p++;
        rest.n--;
    }

    buffer_append(b, ".", 1);
    exclude_escape(b, &rest);
}


static void
exclude_part_text(buffer *b, const exclude_part *part, int extended)
{
    if (!extended || !exclude_has_hidden(part)) {
        exclude_escape(b, part);
        return;
    }

    buffer_puts(b, "@(");
    exclude_escape(b, part);
    buffer_puts(b, "|");
    exclude_hidden(b, part);
    buffer_puts(b, ")");
}


/* The backslash before a line keeps its first character from being special. */

static void
exclude_line(buffer *b, const exclude_glob *g, size_t depth, int extended)
{
    size_t                     i, j;
    static const exclude_part  any = { "*", 1 };

    buffer_puts(b, "\\");

    for (i = 0; i < g->count; i++) {
        if (g->anywhere && i == g->gap) {
            for (j = 0; j < depth; j++) {
                exclude_part_text(b, &any, extended);
                buffer_puts(b, "/");
            }
        }

        exclude_part_text(b, &g->parts[i], extended);
        buffer_puts(b, i + 1 < g->count ? "/" : "\n");
    }
}


/* mksquashfs looks for a name at any depth, but not for a path. */

static void
exclude_lines(buffer *b, const exclude_glob *g)
{
    int     hidden;
    size_t  i, depth;

    if (g->anywhere && g->gap == 0 && g->count == 1) {
        buffer_puts(b, "\\... ");
        exclude_escape(b, &g->parts[0]);
        buffer_puts(b, "\n");

        if (exclude_has_hidden(&g->parts[0])) {
            buffer_puts(b, "\\... ");
            exclude_hidden(b, &g->parts[0]);
            buffer_puts(b, "\n");
        }

        return;
    }

    for (i = 0, hidden = 0; i < g->count; i++) {
        hidden |= exclude_has_hidden(&g->parts[i]);
    }

    for (depth = 0; depth <= (g->anywhere ? EXCLUDE_DEPTH : 0); depth++) {
        exclude_line(b, g, depth, 0);

        if (hidden || depth != 0) {
            exclude_line(b, g, depth, 1);
        }
    }
}


static const char *
exclude_split(exclude_glob *g, const char *p, int anchored)
{
    size_t         gaps;
    exclude_part   part;

    gaps = 0;

    for ( /* void */ ; *p != '\0'; p += part.n + (p[part.n] == '/')) {
        part.p = p;
        part.n = strcspn(p, "/");

        if (part.n == 0 || exclude_is(&part, ".")) {
            continue;
        }

        if (exclude_is(&part, "..")) {
            return "must not lead out of dir";
        }

        if (g->count == EXCLUDE_PARTS) {
            return "has too many directories";
        }

        if (exclude_is(&part, "**") && p[strspn(p, "*/")] != '\0') {
            /* "**" before something; several in a row are one. */
            if (!(g->anywhere && g->gap == g->count)) {
                gaps++;
            }
            g->anywhere = 1;
            g->gap = g->count;
            continue;
        }

        if (exclude_is(&part, "**")) {
            part.n = 1;             /* all that is in it, and so on */
            g->parts[g->count++] = part;
            break;
        }

        g->parts[g->count++] = part;
    }

    if (g->count == 0) {
        return "names nothing";
    }

    if (gaps > 1) {
        return "has more than one **";
    }

    if (!anchored && g->count == 1) {
        g->anywhere = 1;
        g->gap = 0;
    }

    return NULL;
}


static const char *
exclude_check(const char *text, size_t len)
{
    size_t  i;

    if (len > BACKUP_EXCLUDE_MAX) {
        return "has more than 1024 bytes";
    }

    if (text[0] == '!') {
        return "must not begin with !";
    }

    for (i = 0; i < len; i++) {
        if (text[i] == '{') {
            return "holds { (alternatives are not supported; \\{ is a brace)";
        }

        if (text[i] == '\\') {
            i++;
            if (text[i] == '\0' || text[i] == '/') {
                return "has a backslash before nothing";
            }
        }

        if ((unsigned char) text[i] < 0x20) {
            return "holds control characters";
        }
    }

    return NULL;
}


const char *
backup_exclude_glob(buffer *lines, const char *text, size_t len,
    const char *dir)
{
    int            anchored;
    size_t         n;
    const char    *why;
    exclude_glob   g;

    why = exclude_check(text, len);
    if (why != NULL) {
        return why;
    }

    memset(&g, 0, sizeof(g));
    n = strlen(dir);
    anchored = text[0] == '/';

    if (strncmp(text, dir, n) == 0 && text[n] == '/') {
        text += n;
    }

    why = exclude_split(&g, text, anchored);
    if (why != NULL) {
        return why;
    }

    exclude_lines(lines, &g);

    return lines->len > BACKUP_LINES_MAX ? "is one too many" : NULL;
}


const char *
backup_exclude_paths(buffer *lines, const char *p, size_t n)
{
    size_t       i, len;
    const char  *end;

    while (n != 0) {
        end = memchr(p, '\0', n);
        len = end == NULL ? n : (size_t) (end - p);
        i = len;

        while (i != 0 && p[i - 1] == '/') {
            i--;                        /* a directory */
        }

        if (i != 0) {
            buffer_puts(lines, "\\");
        }

        for (end = p + i; p < end; p++) {
            /* A line can't hold a line feed. */
            if (*p == '\n') {
                buffer_puts(lines, "?");
                continue;
            }
            if (strchr("\\*?[]()|!@+", *p) != NULL) {
                buffer_puts(lines, "\\");
            }
            buffer_append(lines, p, 1);
        }

        if (i != 0) {
            buffer_puts(lines, "\n");
        }

        p += len - i;
        n -= len;

        if (n != 0) {
            p++;
            n--;
        }

        if (lines->len > BACKUP_LINES_MAX) {
            return "more is ignored than can be listed";
        }
    }

    return NULL;
}
