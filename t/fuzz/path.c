/* sources: agent/path.c */
/* Whatever a path is made of, its normal form is absolute, has no empty, `.`
 * or `..` component, and is its own normal form. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_check(const char *p)
{
    size_t       n;
    const char  *slash;

    if (p[0] != '/') {
        abort();
    }

    while (*p == '/' && p[1] != '\0') {
        p++;
        slash = strchr(p, '/');
        n = slash ? (size_t) (slash - p) : strlen(p);

        if (n == 0 || (n == 1 && p[0] == '.')
            || (n == 2 && p[0] == '.' && p[1] == '.'))
        {
            abort();
        }

        p += n;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char    *in, *out, *again, dir[64], name[PATH_NAME_ROOM];
    size_t   room;

    in = malloc(size + 2);
    memcpy(in, data, size);
    in[size] = '\0';

    room = strlen(in) + 2;
    out = malloc(room);
    again = malloc(room);

    if (path_normalize(out, room, in) != 0) {
        abort();
    }

    fuzz_check(out);

    if (path_normalize(again, room, out) != 0 || strcmp(out, again) != 0) {
        abort();
    }

    (void) path_problem(in, size);

    if (path_split(out, dir, sizeof(dir), name) == 0
        && (name[0] == '\0' || strchr(name, '/') != NULL || dir[0] != '/'))
    {
        abort();
    }

    if (in[0] == '/' && (path_normalize(in, room, in) != 0
                         || strcmp(in, out) != 0))
    {
        abort();
    }

    free(in);
    free(out);
    free(again);

    return 0;
}
