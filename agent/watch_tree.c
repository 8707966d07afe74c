/* The directories of watched trees; see watch_tree.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/watch_tree.h"

#define BUCKETS_MIN  64

watch_forest  watch_all;


static void *
watch_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size);
    if (p == NULL) {
        abort();
    }

    return p;
}


/* Both tables have a power of two of buckets, or none. */

static size_t
node_hash(const watch_node *parent, const char *name)
{
    uint64_t  h;

    h = 0xcbf29ce484222325 ^ parent->serial;

    for ( /* void */ ; *name != '\0'; name++) {
        h = (h ^ (uint8_t) *name) * 0x100000001b3;
    }

    return (size_t) (h ^ h >> 32);
}


static void
node_table_resize(size_t buckets)
{
    size_t        i, h;
    watch_node   *n, *next, **table;

    table = watch_alloc(buckets * sizeof(watch_node *));

    for (i = 0; i < watch_all.node_buckets; i++) {
        for (n = watch_all.nodes[i]; n != NULL; n = next) {
            next = n->next;
            h = node_hash(n->parent, n->name) & (buckets - 1);
            n->next = table[h];
            table[h] = n;
        }
    }

    free(watch_all.nodes);
    watch_all.nodes = table;
    watch_all.node_buckets = buckets;
}


static void
node_table_insert(watch_node *n)
{
    size_t  h;

    if (watch_all.node_buckets == 0) {
        node_table_resize(BUCKETS_MIN);

    } else if (watch_all.node_count > watch_all.node_buckets) {
        node_table_resize(2 * watch_all.node_buckets);
    }

    h = node_hash(n->parent, n->name) & (watch_all.node_buckets - 1);
    n->next = watch_all.nodes[h];
    watch_all.nodes[h] = n;
}


static void
node_table_remove(watch_node *n)
{
    watch_node  **at;

    at = &watch_all.nodes[node_hash(n->parent, n->name)
                          & (watch_all.node_buckets - 1)];

    while (*at != n) {
        at = &(*at)->next;
    }

    *at = n->next;
}


static void
mark_table_resize(size_t buckets)
{
    size_t        i, h;
    watch_mark   *m, *next, **table;

    table = watch_alloc(buckets * sizeof(watch_mark *));

    for (i = 0; i < watch_all.mark_buckets; i++) {
        for (m = watch_all.marks[i]; m != NULL; m = next) {
            next = m->next;
            h = (size_t) m->wd & (buckets - 1);
            m->next = table[h];
            table[h] = m;
        }
    }

    free(watch_all.marks);
    watch_all.marks = table;
    watch_all.mark_buckets = buckets;
}


watch_mark *
watch_mark_find(int wd)
{
    watch_mark  *m;

    if (watch_all.mark_buckets == 0) {
        return NULL;
    }

    m = watch_all.marks[(size_t) wd & (watch_all.mark_buckets - 1)];

    while (m != NULL && m->wd != wd) {
        m = m->next;
    }

    return m;
}


static void
mark_free(watch_mark *m)
{
    watch_mark  **at;

    at = &watch_all.marks[(size_t) m->wd & (watch_all.mark_buckets - 1)];

    while (*at != m) {
        at = &(*at)->next;
    }

    *at = m->next;
    watch_all.mark_count--;
    free(m);
}


void
watch_mark_drop(int wd)
{
    size_t   size;
    int     *list;

    if (watch_all.dropped_count == watch_all.dropped_size) {
        size = watch_all.dropped_size ? 2 * watch_all.dropped_size : 64;
        list = realloc(watch_all.dropped, size * sizeof(int));
        if (list == NULL) {
            abort();
        }
        watch_all.dropped = list;
        watch_all.dropped_size = size;
    }

    watch_all.dropped[watch_all.dropped_count++] = wd;
}


static void
mark_unset(watch_node *n, bool gone)
{
    int           wd;
    watch_mark   *m;
    watch_node  **at;

    m = n->mark;
    if (m == NULL) {
        return;
    }

    for (at = &m->nodes; *at != n; at = &(*at)->mark_next) {
        /* void */
    }

    if (watch_all.cursor == n) {
        watch_all.cursor = n->mark_next;
    }

    *at = n->mark_next;
    n->mark = NULL;

    if (m->nodes == NULL) {
        wd = m->wd;
        mark_free(m);
        if (!gone) {
            watch_mark_drop(wd);
        }
    }
}


void
watch_mark_set(watch_node *n, int wd)
{
    size_t       h;
    watch_mark  *m;

    if (n->mark != NULL && n->mark->wd == wd) {
        return;
    }

    mark_unset(n, false);
    m = watch_mark_find(wd);

    if (m == NULL) {
        if (watch_all.mark_buckets == 0) {
            mark_table_resize(BUCKETS_MIN);

        } else if (watch_all.mark_count > watch_all.mark_buckets) {
            mark_table_resize(2 * watch_all.mark_buckets);
        }

        m = watch_alloc(sizeof(watch_mark));
        m->wd = wd;
        h = (size_t) wd & (watch_all.mark_buckets - 1);
        m->next = watch_all.marks[h];
        watch_all.marks[h] = m;
        watch_all.mark_count++;
    }

    n->mark = m;
    n->mark_next = m->nodes;
    m->nodes = n;
}


void
watch_mark_gone(watch_mark *m)
{
    bool  last;

    do {
        last = m->nodes->mark_next == NULL;
        mark_unset(m->nodes, true);
    } while (!last);
}


/* Nodes. */

static watch_node *
node_make(watch_tree *t, const char *name)
{
    size_t       len;
    watch_node  *n;

    if (watch_all.node_count >= WATCH_DIRS_MAX) {
        return NULL;
    }

    len = strlen(name);
    n = watch_alloc(sizeof(watch_node) + len + 1);
    memcpy(n->name, name, len + 1);
    n->tree = t;
    n->serial = ++watch_all.serial;
    watch_all.node_count++;

    return n;
}


static void
node_dequeue(watch_node *n)
{
    if (n->queued) {
        TAILQ_REMOVE(&watch_all.queue, n, queue);
        n->queued = false;
    }
}


void
watch_node_enqueue(watch_node *n)
{
    n->pending = true;

    if (!n->queued) {
        TAILQ_INSERT_TAIL(&watch_all.queue, n, queue);
        n->queued = true;
    }
}


void
watch_node_again(watch_node *n)
{
    node_dequeue(n);
    TAILQ_INSERT_HEAD(&watch_all.queue, n, queue);
    n->queued = true;
    n->pending = true;
}


watch_node *
watch_node_add(watch_node *parent, const char *name)
{
    watch_node  *n;

    n = node_make(parent->tree, name);
    if (n == NULL) {
        return NULL;
    }

    n->parent = parent;
    n->found = parent->round;
    LIST_INSERT_HEAD(&parent->children, n, sibling);
    node_table_insert(n);

    return n;
}


watch_node *
watch_node_child(const watch_node *parent, const char *name)
{
    watch_node  *n;

    if (watch_all.node_buckets == 0) {
        return NULL;
    }

    n = watch_all.nodes[node_hash(parent, name)
                        & (watch_all.node_buckets - 1)];

    while (n != NULL && (n->parent != parent || strcmp(n->name, name) != 0)) {
        n = n->next;
    }

    return n;
}


/* One that has no children. */

static void
node_free(watch_node *n)
{
    if (n->parent != NULL) {
        node_table_remove(n);
        LIST_REMOVE(n, sibling);

    } else if (n != n->tree->top) {
        LIST_REMOVE(n, sibling);
    }

    if (n->dir != NULL) {
        closedir(n->dir);
    }

    if (n->ref != NULL) {
        *n->ref = NULL;
    }

    node_dequeue(n);
    mark_unset(n, false);
    watch_all.node_count--;
    free(n);
}


void
watch_node_remove(watch_node *n)
{
    watch_node  *up, *at;

    for (at = n; /* void */ ; at = up) {
        while (!LIST_EMPTY(&at->children)) {
            at = LIST_FIRST(&at->children);
        }

        up = at->parent;

        if (at == n) {
            node_free(at);
            return;
        }

        node_free(at);
    }
}


/* The next of a walk over everything below top. */

static watch_node *
node_walk(const watch_node *top, watch_node *n)
{
    if (!LIST_EMPTY(&n->children)) {
        return LIST_FIRST(&n->children);
    }

    while (n != top && LIST_NEXT(n, sibling) == NULL) {
        n = n->parent;
    }

    return n == top ? NULL : LIST_NEXT(n, sibling);
}


void
watch_node_detach(watch_node *n, uint32_t cookie)
{
    watch_node  *at;

    for (at = n; at != NULL; at = node_walk(n, at)) {
        node_dequeue(at);
    }

    node_table_remove(n);
    LIST_REMOVE(n, sibling);
    n->parent = NULL;
    n->cookie = cookie;
    LIST_INSERT_HEAD(&watch_all.moving, n, sibling);
}


/* The name is part of the node: another name makes it another. */

int
watch_node_attach(watch_node *n, watch_node *parent, const char *name)
{
    watch_node  *to, *child, *at;

    to = watch_node_add(parent, name);
    if (to == NULL) {
        return -1;
    }

    to->pending = n->pending;
    to->deep = n->deep;
    to->fresh = n->fresh;
    to->round = n->round;
    to->dir = n->dir;
    n->dir = NULL;

    if (n->mark != NULL) {
        watch_mark_set(to, n->mark->wd);
    }

    while ((child = LIST_FIRST(&n->children)) != NULL) {
        node_table_remove(child);
        LIST_REMOVE(child, sibling);
        child->parent = to;
        LIST_INSERT_HEAD(&to->children, child, sibling);
        node_table_insert(child);
    }

    watch_node_remove(n);

    for (at = to; at != NULL; at = node_walk(to, at)) {
        if (at->pending) {
            watch_node_enqueue(at);
        }
    }

    return 0;
}


char *
watch_node_path(const watch_node *n, const char *name,
    char out[WATCH_PATH_MAX])
{
    char        *p, *at;
    size_t       len;
    watch_node  *top;

    top = n->tree->top;
    p = out + WATCH_PATH_MAX - 1;
    *p = '\0';
    at = p;

    if (name != NULL) {
        len = strlen(name);
        if (len > (size_t) (p - out)) {
            return NULL;
        }
        p -= len;
        memcpy(p, name, len);
        at = p;
    }

    for ( /* void */ ; n != top; n = n->parent) {
        len = strlen(n->name);

        if (n->parent == NULL || len + 1 > (size_t) (p - out)) {
            return NULL;
        }

        if (*p != '\0') {
            *--p = '/';
        } else {
            at = p - len;
        }

        p -= len;
        memcpy(p, n->name, len);
    }

    len = (size_t) (out + WATCH_PATH_MAX - p);
    memmove(out, p, len);

    return out + (at - p);
}


/* Trees. */

int
watch_tree_init(watch_tree *t)
{
    if (watch_all.queue.tqh_last == NULL) {
        TAILQ_INIT(&watch_all.queue);
    }

    t->top = node_make(t, "");
    if (t->top == NULL) {
        return -1;
    }

    LIST_INSERT_HEAD(&watch_all.trees, t, link);

    return 0;
}


void
watch_tree_free(watch_tree *t)
{
    watch_node  *n, *next;

    for (n = LIST_FIRST(&watch_all.moving); n != NULL; n = next) {
        next = LIST_NEXT(n, sibling);
        if (n->tree == t) {
            watch_node_remove(n);
        }
    }

    if (t->top != NULL) {
        watch_node_remove(t->top);
        LIST_REMOVE(t, link);
    }

    watch_rules_free(&t->rules);
    free(t->path);
    free(t->only);
    memset(t, 0, sizeof(watch_tree));

    if (watch_all.node_count == 0) {
        free(watch_all.nodes);
        free(watch_all.marks);
        watch_all.nodes = NULL;
        watch_all.marks = NULL;
        watch_all.node_buckets = 0;
        watch_all.mark_buckets = 0;
    }
}
