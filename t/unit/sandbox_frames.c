/* sources: ngx_sandbox_module/sandbox_frames.c */

/* A WebSocket's frames as they go by; see ngx_sandbox_module/sandbox_frames.h. */

#include <string.h>

#include "ngx_sandbox_module/sandbox_frames.h"
#include "t/unit/tap.h"


static sandbox_frames
after(const char *bytes, size_t len)
{
    sandbox_frames  f;

    memset(&f, 0, sizeof(f));
    sandbox_frames_feed(&f, bytes, len);

    return f;
}


int
main(void)
{
    size_t          i, len;
    sandbox_frames  f;
    unsigned char   dst[SANDBOX_FRAMES_CLOSE];
    char            reason[200];

    static const struct {
        const char  *what, *bytes;
        size_t       len;
        int          open;
    } cases[] = {
        { "nothing", "", 0, 1 },
        { "a text", "\x81\x02hi", 4, 1 },
        { "an empty one", "\x81\x00", 2, 1 },
        { "half a head", "\x81", 1, 0 },
        { "half a text", "\x81\x02h", 3, 0 },
        { "two bytes of length", "\x82\x7e\x00\x03xyz", 7, 1 },
        { "the first of them", "\x82\x7e\x00", 3, 0 },
        { "eight bytes of length", "\x82\x7f\0\0\0\0\0\0\0\1x", 11, 1 },
        { "more than there is", "\x82\x7f\0\0\0\0\0\1\0\0x", 11, 0 },
        { "more than there can be",
          "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffx", 11, 0 },
        { "a masked one", "\x81\x81mask!", 7, 1 },
        { "without its end", "\x81\x81mask", 6, 0 },
        { "a close frame", "\x88\x02\x03\xe8", 4, 0 },
        { "whatever follows it", "\x88\x00\x81\x00", 4, 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f = after(cases[i].bytes, cases[i].len);
        ok(sandbox_frames_open(&f) == cases[i].open, "%s", cases[i].what);
    }

    len = sandbox_frames_close(dst, 1012, "why", 3);
    ok(len == 7 && memcmp(dst, "\x88\x05\x03\xf4why", 7) == 0, "a close frame");

    memset(reason, 'x', sizeof(reason));
    len = sandbox_frames_close(dst, 1001, reason, sizeof(reason));
    ok(len == 127 && dst[1] == 125, "a long reason is cut");

    return done_testing();
}
