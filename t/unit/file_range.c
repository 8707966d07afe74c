/* sources: agent/file_range.c */
/* The Range header. */

#include <stdbool.h>
#include <stddef.h>

#include "agent/file_range.h"
#include "t/unit/tap.h"


static bool
is(const char *text, int64_t size, file_range_kind kind, int64_t off,
    int64_t len)
{
    int64_t  o, n;

    return file_range_parse(text, size, &o, &n) == kind
           && (kind == FILE_RANGE_NEVER || (o == off && n == len));
}


int
main(void)
{
    ok(is(NULL, 10, FILE_RANGE_WHOLE, 0, 10), "none");
    ok(is("bytes=0-0", 10, FILE_RANGE_PART, 0, 1), "the first byte");
    ok(is("bytes=2-5", 10, FILE_RANGE_PART, 2, 4), "in the middle");
    ok(is("Bytes= 2-5 ", 10, FILE_RANGE_PART, 2, 4), "blanks, any case");
    ok(is("bytes=7-", 10, FILE_RANGE_PART, 7, 3), "to the end");
    ok(is("bytes=7-99", 10, FILE_RANGE_PART, 7, 3), "beyond the end");
    ok(is("bytes=-3", 10, FILE_RANGE_PART, 7, 3), "the last three");
    ok(is("bytes=-99", 10, FILE_RANGE_PART, 0, 10), "more than there is");
    ok(is("bytes=0-99999999999999999999999", 10, FILE_RANGE_PART, 0, 10),
       "a number that fits nowhere");
    ok(is("bytes=10-", 10, FILE_RANGE_NEVER, 0, 0), "begins at the end");
    ok(is("bytes=99999999999999999999-", 10, FILE_RANGE_NEVER, 0, 0),
       "begins far beyond");
    ok(is("bytes=-0", 10, FILE_RANGE_NEVER, 0, 0), "the last none");
    ok(is("bytes=0-", 0, FILE_RANGE_NEVER, 0, 0)
       && is("bytes=-5", 0, FILE_RANGE_NEVER, 0, 0), "of an empty file");
    ok(is("bytes=5-2", 10, FILE_RANGE_WHOLE, 0, 10), "backwards");
    ok(is("bytes=0-1,3-4", 10, FILE_RANGE_WHOLE, 0, 10), "several");
    ok(is("bytes=", 10, FILE_RANGE_WHOLE, 0, 10)
       && is("bytes=-", 10, FILE_RANGE_WHOLE, 0, 10)
       && is("bytes=a-b", 10, FILE_RANGE_WHOLE, 0, 10)
       && is("lines=1-2", 10, FILE_RANGE_WHOLE, 0, 10)
       && is("bytes=1-2x", 10, FILE_RANGE_WHOLE, 0, 10)
       && is("", 10, FILE_RANGE_WHOLE, 0, 10), "malformed");

    return done_testing();
}
