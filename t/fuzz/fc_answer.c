/* sources: sandboxd/fc_answer.c */
/* libs: -ljansson */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/fc_api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static fc_answer  a;


/* A VMM that was broken out of says anything.  What is an answer is the same
 * however it arrives, lies in what was read, and its reason is one line. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int     rc, grown;
    char    fault[FC_FAULT_MAX];
    size_t  i, step;

    if (size > FC_HEAD_MAX + FC_BODY_MAX) {
        return 0;
    }

    memset(&a, 0, sizeof(a));
    step = size / 64 + 1;
    grown = 0;

    for (i = 0; i < size && grown == 0; i += step) {
        memcpy(a.text, data, i);
        a.len = i;
        grown = fc_answer_look(&a);
    }

    memcpy(a.text, data, size);
    a.len = size;
    rc = fc_answer_look(&a);

    if (grown == -1 && rc != -1) {
        abort();
    }

    if (rc == 1) {
        if (a.status < 200 || a.status > 999 || a.body < a.text
            || a.body + a.body_len != a.text + a.len)
        {
            abort();
        }

        fc_answer_fault(&a, fault);

        for (i = 0; fault[i] != '\0'; i++) {
            if (fault[i] < ' ' || fault[i] > '~') {
                abort();
            }
        }
    }

    return 0;
}
