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


size_t
sandbox_line_write(char dst[SANDBOX_LINE_MAX], unsigned port,
    const unsigned char key[SANDBOX_LINE_KEY_LEN])
{
    char    *p, digits[5];
    size_t   i, n;

    static const char  hex[] = "0123456789abcdef";

    p = dst;

    if (port == 0) {
        memcpy(p, "CONTROL ", 8);
        p += 8;

    } else {
        memcpy(p, "CONNECT ", 8);
        p += 8;

        for (n = 0; port > 0 && n < sizeof(digits); port /= 10) {
            digits[n++] = (char) ('0' + port % 10);
        }

        while (n > 0) {
            *p++ = digits[--n];
        }

        *p++ = ' ';
    }

    for (i = 0; i < SANDBOX_LINE_KEY_LEN; i++) {
        *p++ = hex[key[i] >> 4];
        *p++ = hex[key[i] & 15];
    }

    *p++ = '\n';

    return (size_t) (p - dst);
}


sandbox_line_result
sandbox_line_feed(sandbox_line *line, const char *data, size_t len,
    size_t *used)
{
    size_t       i, c;
    const char  *text;

    for (i = 0; i < len; i++) {

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
