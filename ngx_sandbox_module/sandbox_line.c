/* The lines at the beginning of a connection; see sandbox_line.h. */

#include <string.h>

#include "sandbox_line.h"


static const struct {
    const char           *text;
    sandbox_line_result   result;
} answers[] = {
    { "OK\n", SANDBOX_LINE_OK },
    { "ERR key\n", SANDBOX_LINE_KEY },
    { "ERR limit\n", SANDBOX_LINE_LIMIT },
    { "ERR refused\n", SANDBOX_LINE_REFUSED }
};

#define N_ANSWERS  (sizeof(answers) / sizeof(answers[0]))


static char *
write_number(char *p, unsigned long n)
{
    char    digits[10];
    size_t  count;

    for (count = 0; n > 0 && count < sizeof(digits); n /= 10) {
        digits[count++] = (char) ('0' + n % 10);
    }

    while (count > 0) {
        *p++ = digits[--count];
    }

    return p;
}


size_t
sandbox_line_write_vmm(char dst[SANDBOX_LINE_MAX], unsigned long port)
{
    char  *p;

    memcpy(dst, "CONNECT ", 8);
    p = write_number(dst + 8, port);
    *p++ = '\n';

    return (size_t) (p - dst);
}


size_t
sandbox_line_write(char dst[SANDBOX_LINE_MAX], unsigned port,
    const unsigned char key[SANDBOX_LINE_KEY_LEN])
{
    char    *p;
    size_t   i;

    static const char  hex[] = "0123456789abcdef";

    p = dst;

    if (port == 0) {
        memcpy(p, "CONTROL ", 8);
        p += 8;

    } else {
        memcpy(p, "CONNECT ", 8);
        p = write_number(p + 8, port);
        *p++ = ' ';
    }

    for (i = 0; i < SANDBOX_LINE_KEY_LEN; i++) {
        *p++ = hex[key[i] >> 4];
        *p++ = hex[key[i] & 15];
    }

    *p++ = '\n';

    return (size_t) (p - dst);
}


/*
 * `OK <number>\n`, byte by byte: line->vmm is what comes next, 0 behind it.
 * Returns 0 for a byte that doesn't fit.
 */
static int
vmm_feed(sandbox_line *line, char c)
{
    static const char  ok[] = "OK ";

    if (line->vmm <= 3) {

        if (c != ok[line->vmm - 1]) {
            return 0;
        }

    } else if (c == '\n' && line->vmm > 4) {
        line->vmm = 0;
        return 1;

    } else if (c < '0' || c > '9' || line->vmm == 4 + 10) {
        return 0;
    }

    line->vmm++;

    return 1;
}


sandbox_line_result
sandbox_line_feed(sandbox_line *line, const char *data, size_t len,
    size_t *used)
{
    size_t       i, c;
    const char  *text;

    for (i = 0; i < len; i++) {

        if (line->vmm != 0) {

            if (!vmm_feed(line, data[i])) {
                *used = i;
                return SANDBOX_LINE_BAD;
            }

            continue;
        }

        /*
         * The answers are sorted, so that those which share the bytes so far
         * stand together and the first of them is the candidate.
         */

        for (c = line->candidate; c < N_ANSWERS; c++) {
            text = answers[c].text;

            if (memcmp(text, answers[line->candidate].text, line->len) == 0
                && text[line->len] == data[i])
            {
                break;
            }
        }

        if (c == N_ANSWERS) {
            *used = i;
            return SANDBOX_LINE_BAD;
        }

        line->candidate = (unsigned char) c;
        line->len++;

        if (answers[c].text[line->len] == '\0') {
            *used = i + 1;
            return answers[c].result;
        }
    }

    *used = len;

    return SANDBOX_LINE_MORE;
}
