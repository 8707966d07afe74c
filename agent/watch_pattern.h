/*
 * Which paths of a watched tree a client wants to hear of.  A pattern may hold
 *
 *     *      any characters of one name
 *     **     any characters, slashes too; as a whole component followed by a
 *            slash it stands for any number of directories, none as well
 *     ?      one character of a name
 *
 * and everything else stands for itself.  One without a slash (but at its
 * end) is compared with names, any other with the path below the watched
 * directory.  What a pattern says of a directory holds for all that is below
 * it; the tree sees to that, here one path is compared.
 *
 * Matching takes time in proportion to pattern times path at most.  Pure: no
 * I/O.
 */

#ifndef AGENT_WATCH_PATTERN_H
#define AGENT_WATCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WATCH_PATTERN_MAX   255     /* bytes of one */
#define WATCH_PATTERNS_MAX  32      /* of one kind */

typedef struct {
    uint16_t   count;               /* of tokens */
    bool       path;                /* compared with the path, not the name */
    struct {
        uint8_t  kind;
        uint8_t  byte;
    } tokens[];
} watch_pattern;

typedef struct {
    watch_pattern  *include[WATCH_PATTERNS_MAX];
    watch_pattern  *exclude[WATCH_PATTERNS_MAX];
    size_t          included;       /* how many; none: everything */
    size_t          excluded;
    bool            paths;          /* one of them is compared with paths */
} watch_rules;

/* What is wrong with a pattern, in words, or NULL. */
const char *watch_pattern_problem(const char *text, size_t len);

/* Of a text without problems; to be freed with free().  NULL: no memory. */
watch_pattern *watch_pattern_make(const char *text, size_t len);

bool watch_pattern_match(const watch_pattern *p, const char *text,
    size_t len);

/* -1 if there are too many. */
int watch_rules_include(watch_rules *rules, const char *text, size_t len);
int watch_rules_exclude(watch_rules *rules, const char *text, size_t len);
void watch_rules_free(watch_rules *rules);

/* path is below the watched directory, name its last component. */
bool watch_rules_includes(const watch_rules *rules, const char *path,
    const char *name);
bool watch_rules_excludes(const watch_rules *rules, const char *path,
    const char *name);

#endif
