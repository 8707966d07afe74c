/* Names in an archive; see archive_path.h. */

#include <string.h>

#include "agent/archive_path.h"
#include "agent/path.h"


const char *
archive_path_clean(char *dst, size_t room, const char *name)
{
    size_t       n, o;
    const char  *end;

    if (name == NULL || *name == '\0') {
        return "an empty name";
    }

    if (*name == '/') {
        return "an absolute name";
    }

    o = 0;

    for ( ;; ) {
        while (*name == '/') { name++; }

        if (*name == '\0') {
            break;
        }

        end = strchr(name, '/');
        n = end != NULL ? (size_t) (end - name) : strlen(name);

        if (n == 2 && name[0] == '.' && name[1] == '.') {
            return "\"..\" in a name";
        }

        if (n >= PATH_NAME_ROOM || o + n + 2 > room) {
            return "a name that is too long";
        }

        if (n != 1 || name[0] != '.') {
            if (o > 0) {
                dst[o++] = '/';
            }

            memcpy(dst + o, name, n);
            o += n;
        }

        name += n;
    }

    dst[o] = '\0';

    return NULL;
}
