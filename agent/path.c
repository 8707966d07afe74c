/* Paths as text; see path.h. */

#include <errno.h>
#include <string.h>

#include "agent/path.h"


const char *
path_problem(const char *p, size_t len)
{
    size_t  i, chars;

    if (len == 0) {
        return "Path must be a non-empty string";
    }

    if (memchr(p, '\0', len) != NULL) {
        return "Path contains null bytes";
    }

    for (chars = 0, i = 0; i < len; i++) {
        chars += ((unsigned char) p[i] & 0xc0) != 0x80;
    }

    if (chars > PATH_CHARS_MAX || len > 4 * PATH_CHARS_MAX) {
        return "Path too long (max 4096 characters)";
    }

    return NULL;
}


int
path_join(char *dst, size_t room, const char *base, const char *path)
{
    size_t  b, n;

    b = path[0] == '/' ? 0 : strlen(base);
    n = strlen(path);

    if (n + b + 2 > room) {
        return -1;
    }

    memcpy(dst, base, b);

    if (b > 0 && base[b - 1] != '/') {
        dst[b++] = '/';
    }

    memcpy(dst + b, path, n + 1);

    return 0;
}


int
path_normalize(char *dst, size_t room, const char *path)
{
    size_t       n, o;
    const char  *end;

    o = 0;

    for ( ;; ) {
        while (*path == '/') {
            path++;
        }

        if (*path == '\0') {
            break;
        }

        end = strchr(path, '/');
        n = end ? (size_t) (end - path) : strlen(path);

        if (n == 2 && path[0] == '.' && path[1] == '.') {
            while (o > 0 && dst[--o] != '/') { /* void */ }

        } else if (n != 1 || path[0] != '.') {
            if (o + 1 + n + 1 > room) {
                return -1;
            }

            dst[o++] = '/';
            memmove(dst + o, path, n);
            o += n;
        }

        path += n;
    }

    if (o == 0) {
        if (room < 2) {
            return -1;
        }

        dst[o++] = '/';
    }

    dst[o] = '\0';

    return 0;
}


bool
path_within(const char *path, const char *root)
{
    size_t  n;

    n = strlen(root);

    if (n == 1) {
        return path[0] == '/';
    }

    return strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0');
}


int
path_split(const char *path, char *dir, size_t room,
    char name[PATH_NAME_ROOM])
{
    size_t       n, d;
    const char  *last;

    last = strrchr(path, '/');

    if (last == NULL || last[1] == '\0' || strcmp(last + 1, ".") == 0
        || strcmp(last + 1, "..") == 0)
    {
        errno = EISDIR;
        return -1;
    }

    n = strlen(last + 1);
    d = last == path ? 1 : (size_t) (last - path);

    if (n >= PATH_NAME_ROOM || d >= room) {
        errno = ENAMETOOLONG;
        return -1;
    }

    memcpy(dir, path, d);
    dir[d] = '\0';
    memcpy(name, last + 1, n + 1);

    return 0;
}
