/* sources: agent/mime.c common/utf8.c */
/* Media types by name and by content, and which are text. */

#include <stdlib.h>
#include <string.h>

#include "agent/mime.h"
#include "t/unit/tap.h"


static bool
named(const char *name, const char *type)
{
    const char  *got = mime_by_name(name);

    return got == type || (got && type && strcmp(got, type) == 0);
}


static bool
sniffs(const char *data, size_t n, const char *type)
{
    bool   same;
    char  *copy;

    /* Exactly n bytes, so that the sanitizer sees a look beyond. */
    copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    same = strcmp(mime_sniff(copy, n, true), type) == 0;
    free(copy);

    return same;
}


int
main(void)
{
    char  *big;

    ok(named("/workspace/a.txt", "text/plain"), "txt");
    ok(named("a.JSON", "application/json"), "in any case");
    ok(named("/a.b/c", NULL) && named("/w/.txt", NULL) && named("a.", NULL)
       && named("", NULL), "no extension");
    ok(named("x.tar.gz", "application/gzip"), "the last one counts");
    ok(named("x.py", NULL), "not in the table");
    ok(named("x.svg", "image/svg+xml") && named("x.wasm", "application/wasm"),
       "others");

    ok(sniffs("", 0, "inode/x-empty"), "empty");
    ok(sniffs("print(1)\n", 9, "text/plain"), "text");
    ok(sniffs("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16, "image/png"), "png");
    ok(sniffs("\x89PNG", 4, "application/octet-stream"), "not all of png");
    ok(sniffs("\0\1\2\xff\xfe", 5, "application/octet-stream"), "binary");
    ok(sniffs("\xff\xfe" "a\0", 4, "application/octet-stream"), "UTF-16");
    ok(sniffs("\x1f\x8b\x08", 3, "application/gzip"), "gzip");
    ok(sniffs("bad\xff text\n", 10, "text/plain"), "could be Latin-1");
    ok(sniffs("a\x80 b\n", 5, "application/octet-stream"), "can't be");
    ok(sniffs("h\xc3\xa9\n", 4, "text/plain")
       && sniffs("\xe2\x82\xac", 3, "text/plain"), "UTF-8");
    ok(sniffs("\xe2\x82", 2, "application/octet-stream"), "cut UTF-8");
    ok(strcmp(mime_sniff("abc\xe2\x82", 5, false), "text/plain") == 0,
       "cut by the piece, not by the file");
    ok(sniffs("#!/bin/bash\n", 12, "text/x-shellscript")
       && sniffs("#!/usr/bin/env python3\n", 23, "text/x-script.python")
       && sniffs("#!/usr/bin/env node\n", 20, "application/javascript"),
       "scripts");
    ok(sniffs("\n <!DOCTYPE html>\n", 18, "text/html")
       && sniffs("<?xml version=\"1.0\"?>", 21, "text/xml"), "markup");
    ok(sniffs("\x1b[1mbold\x1b[0m\n", 13, "text/plain"), "terminal colours");
    ok(sniffs("   ", 3, "text/plain"), "only blanks");

    big = malloc(2 * MIME_SNIFF);
    memset(big, 'a', 2 * MIME_SNIFF);
    memcpy(big + MIME_SNIFF - 1, "\xc3\xa9", 2);
    ok(strcmp(mime_sniff(big, 2 * MIME_SNIFF, true), "text/plain") == 0,
       "a character across the end of what is looked at");
    free(big);

    ok(mime_is_text("text/x-anything") && mime_is_text("image/svg+xml")
       && mime_is_text("application/ld+json") && mime_is_text("inode/x-empty")
       && mime_is_text("application/json"), "text");
    ok(!mime_is_text("image/png") && !mime_is_text("application/octet-stream")
       && !mime_is_text(mime_by_name("a.xlsx"))
       && !mime_is_text(mime_by_name("a.docx"))
       && !mime_is_text("application/jsonx"), "not text");

    return done_testing();
}
