/*
 * A hash table of nodes that live inside other structs.  The key is not
 * copied: it must stay as long as the node is in a table.  The hash has a
 * random seed, since keys are chosen by users.  No I/O, no libuv.
 */

#ifndef SANDBOXD_TABLE_H
#define SANDBOXD_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct table_node  table_node;

struct table_node {
    table_node  *next;
    const void  *key;
    uint32_t     len;
    uint32_t     hash;
};

typedef struct {
    table_node  **buckets;
    size_t        mask;
    size_t        count;
    uint64_t      seed;
} table;

void table_init(table *t, uint64_t seed);
void table_free(table *t);

/* The key must not be in the table yet. */
void table_add(table *t, table_node *node, const void *key, size_t len);
void table_remove(table *t, table_node *node);
table_node *table_find(const table *t, const void *key, size_t len);

/* The struct around a node. */
#define container_of(ptr, type, member)                                      \
    ((type *) ((char *) (ptr) - offsetof(type, member)))

#endif
