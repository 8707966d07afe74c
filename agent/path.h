/*
 * Paths as text: what the API takes for one, how a relative one is completed,
 * and how `.` and `..` are resolved without looking at the file system.
 * Pure functions: no allocation, no I/O.
 */

#ifndef AGENT_PATH_H
#define AGENT_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_CHARS_MAX  4096        /* of a path in a request */

/* Room for a request's path behind a directory's, in bytes of UTF-8. */
#define PATH_ROOM       (4 * PATH_CHARS_MAX + 4096 + 2)

#define PATH_NAME_ROOM  256         /* of one component, with its NUL */

/* What is wrong with a path of a request, in words, or NULL. */
const char *path_problem(const char *p, size_t len);

/* dst becomes path, behind base if it is relative.  -1 if room is too small. */
int path_join(char *dst, size_t room, const char *base, const char *path);

/*
 * dst becomes the absolute path that "/" and path name together, with `.`,
 * `..`, doubled and trailing slashes resolved as text; `..` above the root
 * stays there.  dst may be path itself only if path begins with a slash.
 * -1 if room is too small.
 */
int path_normalize(char *dst, size_t room, const char *path);

/* True if a normalized path is root or lies below it; root is normalized. */
bool path_within(const char *path, const char *root);

/*
 * Splits an absolute path into the directory ("/" at the top) and the name of
 * a file in it.  0; or -1 with errno EISDIR if the path can only be that of a
 * directory ("/", a trailing slash, `.` or `..` at its end), or ENAMETOOLONG.
 */
int path_split(const char *path, char *dir, size_t room,
    char name[PATH_NAME_ROOM]);

#endif
