/* sources: sandboxd/journal.c sandboxd/table.c */

/* The journal and the hash table, against plain arrays. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/journal.h"
#include "sandboxd/table.h"
#include "t/unit/tap.h"

#define NODES  500


static void
test_journal(void)
{
    int            i, k, wrong;
    uint64_t       seq, at, seen;
    journal        j;
    journal_node   nodes[NODES], *node, *expected;

    memset(&j, 0, sizeof(j));
    memset(nodes, 0, sizeof(nodes));
    ok(journal_next(&j, 0) == NULL, "an empty journal");

    srand(1);
    wrong = 0;
    seq = 0;

    for (i = 0; i < 20000; i++) {
        k = rand() % NODES;

        if (rand() % 10 == 0) {
            journal_remove(&j, &nodes[k]);

        } else {
            seq += 1 + (uint64_t) (rand() % 3);
            journal_put(&j, &nodes[k], seq);
        }

        if (i % 100 != 0) {
            continue;
        }

        at = (uint64_t) rand() % (seq + 2);
        node = journal_next(&j, at);
        expected = NULL;

        for (k = 0; k < NODES; k++) {
            if (nodes[k].seq > at
                && (expected == NULL || nodes[k].seq < expected->seq))
            {
                expected = &nodes[k];
            }
        }

        wrong += node != expected;
    }

    ok(wrong == 0, "the first above a number is found");
    ok(j.count <= 4 * NODES, "what has moved on takes no room for ever");

    seen = 0;
    for (node = journal_next(&j, 0), at = 0; node != NULL;
         node = journal_next(&j, at))
    {
        wrong += node->seq <= at;
        at = node->seq;
        seen++;
    }

    ok(wrong == 0 && seen == j.live, "all are seen once, in order");
    journal_free(&j);
}


static void
test_table(void)
{
    int          i, wrong;
    char         names[NODES][16];
    table        t;
    table_node   nodes[NODES];

    table_init(&t, 42);

    for (i = 0; i < NODES; i++) {
        snprintf(names[i], sizeof(names[i]), "name%d", i);
        table_add(&t, &nodes[i], names[i], strlen(names[i]));
    }

    for (i = 0; i < NODES; i += 2) {
        table_remove(&t, &nodes[i]);
    }

    wrong = 0;

    for (i = 0; i < NODES; i++) {
        wrong += table_find(&t, names[i], strlen(names[i]))
                 != (i % 2 ? &nodes[i] : NULL);
    }

    ok(wrong == 0 && t.count == NODES / 2, "what is in is found, no other");
    ok(table_find(&t, "name", 4) == NULL, "a prefix is not");
    table_remove(&t, &nodes[0]);
    ok(t.count == NODES / 2, "removing what is not there");
    table_free(&t);
}


int
main(void)
{
    test_journal();
    test_table();

    return done_testing();
}
