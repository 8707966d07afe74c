/* sources: agent/params.c agent/env.c agent/shell_text.c common/error.c common/buffer.c */
/* libs: -ljansson */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/params.h"
#include "agent/shell_text.h"
#include "common/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* Whatever is sent: taken or refused with a field and a message, and what is
 * taken becomes text in which every quote is closed. */

static void
check_text(const char *command)
{
    size_t       i, quotes;
    buffer       b;
    const char  *p;

    memset(&b, 0, sizeof(b));
    shell_quote(&b, command);

    p = buffer_bytes(&b);
    quotes = 0;
    for (i = 0; i < b.len; i++) {
        if (p[i] == '\\' && quotes % 2 == 0) {
            i++;
        } else {
            quotes += p[i] == '\'';
        }
    }

    if (quotes % 2 != 0 || p[0] != '\'' || p[b.len - 1] != '\'') {
        abort();
    }

    buffer_free(&b);
    shell_is_blank(command);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t              *o;
    error               *err;
    buffer               b;
    exec_params          p;
    bridge_exec_params   q;

    o = json_loadb((const char *) data, size,
                   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (o == NULL) {
        return 0;
    }

    err = NULL;
    if (params_exec(o, &p, &err) == 0) {
        check_text(p.command);
        if (p.timeout_ms > (uint64_t) PARAMS_TIMEOUT_MAX) {
            abort();
        }
    } else if (err == NULL || err->status != 400 || err->message[0] == '\0') {
        abort();
    }
    error_free(err);

    err = NULL;
    if (params_bridge_exec(o, &q, &err) == 0) {
        memset(&b, 0, sizeof(b));
        shell_words(&b, q.argv);
        if (b.len == 0) {
            abort();
        }
        buffer_free(&b);
    } else if (err == NULL || strcmp(err->code, "invalid_request") != 0) {
        abort();
    }
    error_free(err);

    json_decref(o);

    return 0;
}
