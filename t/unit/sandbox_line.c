/* sources: ngx_sandbox_module/sandbox_line.c */

/* The first lines of a connection; see ngx_sandbox_module/sandbox_line.h. */

#include <string.h>

#include "ngx_sandbox_module/sandbox_line.h"
#include "t/unit/tap.h"


static const unsigned char  key[SANDBOX_LINE_KEY_LEN] = {
    0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff, 1, 2, 3, 4, 5,
    6
};


static void
test_write(void)
{
    char         dst[SANDBOX_LINE_MAX];
    size_t       n;
    const char  *want;

    n = sandbox_line_write(dst, 0, key);
    want = "CONTROL 000123456789abcdefff010203040506\n";
    ok(n == strlen(want) && memcmp(dst, want, n) == 0, "control");

    n = sandbox_line_write(dst, 65535, key);
    want = "CONNECT 65535 000123456789abcdefff010203040506\n";
    ok(n == strlen(want) && memcmp(dst, want, n) == 0, "the longest line");

    n = sandbox_line_write_vmm(dst, 4294967294ul);
    want = "CONNECT 4294967294\n";
    ok(n == strlen(want) && memcmp(dst, want, n) == 0, "a VMM's");

    n = sandbox_line_write(dst, 1024, key);
    want = "CONNECT 1024 000123456789abcdefff010203040506\n";
    ok(n == strlen(want) && memcmp(dst, want, n) == 0, "a port");
}


/* Feeds a text in pieces of the given size. */

static sandbox_line_result
feed(const char *text, size_t piece, size_t *total, int vmm)
{
    size_t               len, n, used;
    sandbox_line         line;
    sandbox_line_result  result;

    memset(&line, 0, sizeof(line));
    line.vmm = (unsigned char) vmm;
    len = strlen(text);
    *total = 0;
    result = SANDBOX_LINE_MORE;

    while (*total < len) {
        n = len - *total < piece ? len - *total : piece;
        result = sandbox_line_feed(&line, text + *total, n, &used);
        *total += used;

        if (result != SANDBOX_LINE_MORE) {
            break;
        }
    }

    return result;
}


static void
test_feed(void)
{
    size_t               i, piece, used;
    sandbox_line_result  result;

    static const struct {
        const char           *text;
        sandbox_line_result   result;
        size_t                used;
        int                   vmm;
    } cases[] = {
        { "", SANDBOX_LINE_MORE, 0 },
        { "O", SANDBOX_LINE_MORE, 1 },
        { "OK", SANDBOX_LINE_MORE, 2 },
        { "OK\n", SANDBOX_LINE_OK, 3 },
        { "OK\nHTTP/1.1", SANDBOX_LINE_OK, 3 },
        { "OK\nOK\n", SANDBOX_LINE_OK, 3 },
        { "ERR refused\n", SANDBOX_LINE_REFUSED, 12 },
        { "ERR limit\nx", SANDBOX_LINE_LIMIT, 10 },
        { "ERR key\n", SANDBOX_LINE_KEY, 8 },
        { "ERR ", SANDBOX_LINE_MORE, 4 },
        { "ERR kez", SANDBOX_LINE_BAD, 6 },
        { "ERR other\n", SANDBOX_LINE_BAD, 4 },
        { "OK\r\n", SANDBOX_LINE_BAD, 2 },
        { "ok\n", SANDBOX_LINE_BAD, 0 },
        { "HTTP/1.1 200 OK\r\n", SANDBOX_LINE_BAD, 0 },
        { "\n", SANDBOX_LINE_BAD, 0 },
        { "OERR key\n", SANDBOX_LINE_BAD, 1 },
        { "EK\n", SANDBOX_LINE_BAD, 1 },
        { "OK 1073741824\nOK\nHTTP/1.1", SANDBOX_LINE_OK, 17, 1 },
        { "OK 7\nERR refused\n", SANDBOX_LINE_REFUSED, 17, 1 },
        { "OK 7\n", SANDBOX_LINE_MORE, 5, 1 },
        { "OK 1234567890", SANDBOX_LINE_MORE, 13, 1 },
        { "OK 12345678901", SANDBOX_LINE_BAD, 13, 1 },
        { "OK\nOK\n", SANDBOX_LINE_BAD, 2, 1 },
        { "OK \nOK\n", SANDBOX_LINE_BAD, 3, 1 },
        { "OK 7 \n", SANDBOX_LINE_BAD, 4, 1 },
        { "OK -7\n", SANDBOX_LINE_BAD, 3, 1 },
        { "ERR key\n", SANDBOX_LINE_BAD, 0, 1 },
        { "OK 7\nOK 8\nOK\n", SANDBOX_LINE_BAD, 7, 1 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (piece = 1; piece <= 16; piece *= 4) {
            result = feed(cases[i].text, piece, &used, cases[i].vmm);
            ok(result == cases[i].result && used == cases[i].used,
               "answer %zu in pieces of %zu", i, piece);
        }
    }
}


int
main(void)
{
    test_write();
    test_feed();

    return done_testing();
}
