/* sources: sandboxd/userns_subid.c */

/* The files of subordinate ids. */

#include <string.h>

#include "sandboxd/userns.h"
#include "t/unit/tap.h"


static bool
find(const char *text, uint32_t *start, uint32_t *count)
{
    *start = 0;
    *count = 0;

    return userns_subid_find(text, "demo", 1000, 1000, start, count);
}


int
main(void)
{
    char      line[600];
    uint32_t  start, count;

    ok(find("root:1:65536\ndemo:100000:65536\n", &start, &count)
       && start == 100000 && count == 65536, "by name");
    ok(find("1000:165536:65536", &start, &count) && start == 165536,
       "by number, without a line feed at the end");
    ok(!find("demon:100000:65536\ndem:1:65536\n10000:1:65536\n", &start,
             &count), "not by a part of the name");
    ok(find("demo:5:10\ndemo:100000:2000\n", &start, &count)
       && start == 100000 && count == 2000, "the first that is large enough");
    ok(!find("", &start, &count), "an empty file");
    ok(!find("demo\ndemo:\ndemo::\ndemo:1\ndemo:1:\ndemo:x:65536\n"
             "demo:1:65536x\ndemo:-1:65536\ndemo: 1:65536\n", &start, &count),
       "bad lines");
    ok(!find("demo:0:65536\n", &start, &count), "a range with root");
    ok(!find("demo:4294967295:65536\ndemo:4294967296:65536\n"
             "demo:1:99999999999999999999\n", &start, &count),
       "numbers that overflow");

    memset(line, 'x', sizeof(line));
    strcpy(line + 500, "\ndemo:100000:65536\n");
    ok(find(line, &start, &count) && start == 100000,
       "a line that is too long is left out");

    return done_testing();
}
