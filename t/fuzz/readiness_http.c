/* sources: agent/readiness_http.c */
/* libs: */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/readiness_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* A probe never says more than one line, whatever it was told, and what it
 * understands doesn't depend on how the bytes arrive. */

static void
check_path(const char *path)
{
    if (path[0] != '/' || strlen(path) >= READINESS_PATH_MAX
        || strpbrk(path, " \r\n\t#") != NULL)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int               rc, grown;
    char              path[READINESS_PATH_MAX], *text;
    size_t            i;
    unsigned          port;
    readiness_answer  a, b;

    rc = readiness_parse((const char *) data, size, &a);

    grown = 0;
    for (i = 0; i <= size && grown == 0; i++) {
        grown = readiness_parse((const char *) data, i, &b);
    }

    if (size < READINESS_HEAD_MAX
        && (grown != rc || (rc == 1 && (a.status != b.status
            || a.status < 200 || strcmp(a.location, b.location) != 0))))
    {
        abort();
    }

    text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';

    if (readiness_path(text, path) == 0) {
        check_path(path);
    } else {
        strcpy(path, "/a/b?c");
    }

    port = 8000;
    if (readiness_follow(rc == 1 ? a.location : text, &port, path)) {
        check_path(path);
        if (port == 0 || port > 65535) {
            abort();
        }
    }

    free(text);

    return 0;
}
