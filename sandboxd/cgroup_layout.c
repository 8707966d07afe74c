/* Where the cgroup hierarchies are; see cgroup_layout.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/cgroup_layout.h"

#define FIELDS_MAX  32


/* Names of controllers, separated by commas. */
static unsigned
controllers_parse(const char *text)
{
    size_t    len;
    unsigned  bits;

    bits = 0;

    for ( ;; ) {
        len = strcspn(text, ",");

        if (len == 3 && memcmp(text, "cpu", 3) == 0) {
            bits |= CGROUP_CPU;

        } else if (len == 6 && memcmp(text, "memory", 6) == 0) {
            bits |= CGROUP_MEMORY;

        } else if (len == 4 && memcmp(text, "pids", 4) == 0) {
            bits |= CGROUP_PIDS;
        }

        if (text[len] == '\0') {
            return bits;
        }

        text += len + 1;
    }
}


/* Finds the caller's group in "id:controllers:/path" lines. */
static bool
self_find(const char *self, bool v2, unsigned controllers, char *path,
    size_t size)
{
    char         line[CGROUP_PATH_MAX * 2];
    char        *names, *group;
    size_t       len;
    const char  *end;

    for ( ; *self != '\0'; self = *end == '\0' ? end : end + 1) {
        end = strchrnul(self, '\n');
        len = (size_t) (end - self);

        if (len >= sizeof(line)) {
            continue;
        }

        memcpy(line, self, len);
        line[len] = '\0';

        names = strchr(line, ':');
        group = names != NULL ? strchr(names + 1, ':') : NULL;

        if (group == NULL) {
            continue;
        }

        *names++ = '\0';
        *group++ = '\0';

        if (v2 ? (strcmp(line, "0") == 0 && *names == '\0')
               : (controllers_parse(names) & controllers) != 0)
        {
            if (strlen(group) >= size) {
                return false;
            }

            strcpy(path, group);
            return true;
        }
    }

    return false;
}


/* What is mounted may be a group below the hierarchy's root, as in containers;
 * the path in /proc/self/cgroup begins at the root (of the namespace). */
static void
own_set(cgroup_hierarchy *h, const char *root, const char *path)
{
    size_t  len;

    len = strcmp(root, "/") == 0 ? 0 : strlen(root);

    h->own[0] = '\0';

    if (strncmp(path, root, len) == 0
        && (path[len] == '/' || path[len] == '\0')
        && strcmp(path + len, "/") != 0 && strstr(path, "/..") == NULL)
    {
        strcpy(h->own, path + len);
    }
}


/* 36 35 98:0 /root /mount options [optional...] - type source super,options */
static void
mountinfo_line(cgroup_layout *layout, char *line, const char *self)
{
    char              *field[FIELDS_MAX], *save, path[CGROUP_PATH_MAX];
    unsigned           n, dash;
    cgroup_hierarchy  *h;

    n = 0;
    dash = 0;

    for (field[0] = strtok_r(line, " ", &save);
         field[n] != NULL && n < FIELDS_MAX - 1;
         field[n] = strtok_r(NULL, " ", &save))
    {
        if (dash == 0 && n > 5 && strcmp(field[n], "-") == 0) {
            dash = n;
        }

        n++;
    }

    if (dash == 0 || n < dash + 4 || layout->count == CGROUP_HIERARCHIES_MAX
        || strlen(field[4]) >= CGROUP_PATH_MAX)
    {
        return;
    }

    h = &layout->h[layout->count];
    memset(h, 0, sizeof(cgroup_hierarchy));

    if (strcmp(field[dash + 1], "cgroup2") == 0) {
        h->v2 = true;

    } else if (strcmp(field[dash + 1], "cgroup") == 0) {
        h->controllers = controllers_parse(field[dash + 3]);
    }

    if ((!h->v2 && h->controllers == 0)
        || !self_find(self, h->v2, h->controllers, path, sizeof(path)))
    {
        return;
    }

    strcpy(h->mount, field[4]);
    own_set(h, field[3], path);

    layout->count++;
}


void
cgroup_layout_parse(cgroup_layout *layout, const char *mountinfo,
    const char *self)
{
    char         line[2048];
    size_t       len;
    const char  *end;

    memset(layout, 0, sizeof(cgroup_layout));

    for ( ; *mountinfo != '\0'; mountinfo = *end == '\0' ? end : end + 1) {
        end = strchrnul(mountinfo, '\n');
        len = (size_t) (end - mountinfo);

        if (len < sizeof(line)) {
            memcpy(line, mountinfo, len);
            line[len] = '\0';
            mountinfo_line(layout, line, self);
        }
    }
}
