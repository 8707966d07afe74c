/* The hash table; see table.h. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/table.h"

#define TABLE_FIRST  64


static uint32_t
table_hash(const table *t, const void *key, size_t len)
{
    size_t                i;
    uint64_t              h;
    const unsigned char  *p;

    p = key;
    h = t->seed ^ (len * 0x9e3779b97f4a7c15ull);

    for (i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }

    return (uint32_t) (h ^ h >> 29);
}


static void *
table_alloc(size_t n)
{
    void  *p;

    p = calloc(n, sizeof(table_node *));
    if (p == NULL) {
        abort();
    }

    return p;
}


void
table_init(table *t, uint64_t seed)
{
    t->buckets = table_alloc(TABLE_FIRST);
    t->mask = TABLE_FIRST - 1;
    t->count = 0;
    t->seed = seed;
}


void
table_free(table *t)
{
    free(t->buckets);
    t->buckets = NULL;
}


static void
table_grow(table *t)
{
    size_t        i, mask;
    table_node   *node, *next, **buckets;

    mask = t->mask * 2 + 1;
    buckets = table_alloc(mask + 1);

    for (i = 0; i <= t->mask; i++) {
        for (node = t->buckets[i]; node != NULL; node = next) {
            next = node->next;
            node->next = buckets[node->hash & mask];
            buckets[node->hash & mask] = node;
        }
    }

    free(t->buckets);
    t->buckets = buckets;
    t->mask = mask;
}


void
table_add(table *t, table_node *node, const void *key, size_t len)
{
    if (t->count > t->mask) {
        table_grow(t);
    }

    node->key = key;
    node->len = (uint32_t) len;
    node->hash = table_hash(t, key, len);
    node->next = t->buckets[node->hash & t->mask];
    t->buckets[node->hash & t->mask] = node;
    t->count++;
}


void
table_remove(table *t, table_node *node)
{
    table_node  **p;

    for (p = &t->buckets[node->hash & t->mask]; *p != NULL; p = &(*p)->next) {
        if (*p == node) {
            *p = node->next;
            node->next = NULL;
            t->count--;
            return;
        }
    }
}


table_node *
table_find(const table *t, const void *key, size_t len)
{
    uint32_t     hash;
    table_node  *node;

    hash = table_hash(t, key, len);

    for (node = t->buckets[hash & t->mask]; node != NULL; node = node->next) {
        if (node->hash == hash && node->len == len
            && memcmp(node->key, key, len) == 0)
        {
            return node;
        }
    }

    return NULL;
}
