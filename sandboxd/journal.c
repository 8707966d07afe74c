/* The journal; see journal.h. */

#include <stdlib.h>

#include "sandboxd/journal.h"

#define JOURNAL_FIRST  256


void
journal_free(journal *j)
{
    free(j->entries);
    j->entries = NULL;
    j->count = 0;
    j->live = 0;
    j->size = 0;
}


static void
journal_compact(journal *j)
{
    size_t  i, n;

    for (i = 0, n = 0; i < j->count; i++) {
        if (j->entries[i].node != NULL) {
            j->entries[n] = j->entries[i];
            j->entries[n].node->pos = n;
            n++;
        }
    }

    j->count = n;
}


void
journal_put(journal *j, journal_node *node, uint64_t seq)
{
    journal_remove(j, node);

    if (j->count == j->size && j->live < j->size / 2) {
        journal_compact(j);
    }

    if (j->count == j->size) {
        j->size = j->size ? j->size * 2 : JOURNAL_FIRST;
        j->entries = realloc(j->entries, j->size * sizeof(journal_entry));
        if (j->entries == NULL) {
            abort();
        }
    }

    node->seq = seq;
    node->pos = j->count;
    j->entries[j->count].seq = seq;
    j->entries[j->count].node = node;
    j->count++;
    j->live++;
}


void
journal_remove(journal *j, journal_node *node)
{
    if (node->seq != 0) {
        j->entries[node->pos].node = NULL;
        j->live--;
        node->seq = 0;
    }
}


journal_node *
journal_next(const journal *j, uint64_t seq)
{
    size_t  low, high, mid;

    low = 0;
    high = j->count;

    while (low < high) {
        mid = low + (high - low) / 2;

        if (j->entries[mid].seq <= seq) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    while (low < j->count && j->entries[low].node == NULL) {
        low++;
    }

    return low < j->count ? j->entries[low].node : NULL;
}
