/* sources: agent/shell_text.c common/buffer.c */
/* libs: -ljansson */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/shell_text.h"
#include "t/unit/tap.h"


static int
quoted(const char *text, const char *want)
{
    int     same;
    buffer  b;

    memset(&b, 0, sizeof(b));
    shell_quote(&b, text);
    buffer_append(&b, "", 1);
    same = strcmp(buffer_bytes(&b), want) == 0;
    buffer_free(&b);

    return same;
}


/* The words as they are, and what a real bash makes of them. */

static int
words(const char *json, const char *want, const char *printed)
{
    int      same;
    FILE    *f;
    char     out[256];
    size_t   n;
    buffer   b;
    json_t  *argv;

    memset(&b, 0, sizeof(b));
    argv = json_loads(json, 0, NULL);
    buffer_puts(&b, "exec bash -c '");
    shell_words(&b, argv);
    json_decref(argv);
    buffer_append(&b, "", 1);
    same = strcmp(buffer_bytes(&b) + 14, want) == 0;
    buffer_free(&b);

    if (!same || printed == NULL) {
        return same;
    }

    setenv("WORDS", want, 1);
    f = popen("bash -c 'eval \"printf \\\"[%s]\\\" $WORDS\"'", "r");
    if (f == NULL) {
        return 0;
    }

    n = fread(out, 1, sizeof(out) - 1, f);
    out[n] = '\0';
    pclose(f);

    return strcmp(out, printed) == 0;
}


int
main(void)
{
    ok(quoted("", "''"), "nothing");
    ok(quoted("a b$c`d\"\\\n", "'a b$c`d\"\\\n'"), "all but quotes as it is");
    ok(quoted("'", "''\\'''"), "a quote");
    ok(quoted("a'b''c", "'a'\\''b'\\'''\\''c'"), "more of them");

    ok(shell_is_blank(""), "nothing is blank");
    ok(shell_is_blank(" \t\n\n"), "blanks");
    ok(shell_is_blank("# a\n  # b"), "comments");
    ok(shell_is_blank("#\n"), "an empty comment");
    ok(!shell_is_blank("# a\nx"), "text behind a comment");
    ok(!shell_is_blank(":"), "a command");

    ok(words("[\"ls\",\"-l\",\"a/b.c\",\"x=1,2:3@4%+\"]",
             "ls -l a/b.c x=1,2:3@4%+", NULL), "plain words");
    ok(words("[\"\"]", "$''", "[]"), "an empty word");
    ok(words("[\"a b\"]", "$'a b'", "[a b]"), "a blank");
    ok(words("[\"it's\"]", "$'it\\'s'", "[it's]"), "a quote");
    ok(words("[\"a\\\\nb\"]", "$'a\\\\nb'", "[a\\nb]"), "a backslash");
    ok(words("[\"a\\nb\\r\\tc\"]", "$'a\\nb\\r\\tc'", "[a\nb\r\tc]"),
       "line feed, return, tab");
    ok(words("[\"$(id)\",\"`id`\",\"*\",\"~\"]", "$'$(id)' $'`id`' $'*' $'~'",
             "[$(id)][`id`][*][~]"), "nothing is expanded");
    ok(words("[\"\\u00e9\"]", "$'\xc3\xa9'", "[\xc3\xa9]"), "UTF-8");

    return done_testing();
}
