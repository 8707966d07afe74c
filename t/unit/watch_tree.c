/* sources: agent/watch_tree.c agent/watch_pattern.c */
/* libs: */

/* The queue of directories that have to be read: each is in it once. */

#include <stdbool.h>
#include <string.h>

#include "agent/watch_tree.h"
#include "t/unit/tap.h"

static watch_tree  tree;


/* The names in the queue, which ends; or NULL. */

static const char *
queue_text(void)
{
    size_t              left, n;
    watch_node         *at;
    static char         text[64];

    n = 0;
    left = 8;

    TAILQ_FOREACH(at, &watch_all.queue, queue) {
        if (left-- == 0) {
            return NULL;
        }
        if (n + strlen(at->name) + 1 < sizeof(text)) {
            memcpy(text + n, at->name, strlen(at->name));
            n += strlen(at->name);
        }
    }

    text[n] = '\0';

    return text;
}


static int
queue_is(const char *want)
{
    const char  *got;

    got = queue_text();

    return got != NULL && strcmp(got, want) == 0;
}


/* What the thread pool was given. */

static void
take(watch_node *n)
{
    TAILQ_REMOVE(&watch_all.queue, n, queue);
    n->queued = false;
}


int
main(void)
{
    watch_node  *a, *b, *c;

    ok(watch_tree_init(&tree) == 0, "a tree");
    a = watch_node_add(tree.top, "a");
    b = watch_node_add(tree.top, "b");
    c = watch_node_add(tree.top, "c");

    watch_node_enqueue(a);
    watch_node_enqueue(b);
    watch_node_enqueue(a);
    ok(queue_is("ab"), "asked twice, queued once");

    take(a);
    watch_node_again(a);
    ok(queue_is("ab"), "what was not read to its end comes first");

    /* Queued anew while it was being read, and then not at its end. */
    take(a);
    watch_node_enqueue(c);
    watch_node_enqueue(a);
    ok(queue_is("bca"), "queued again while it is read");
    watch_node_again(a);
    ok(queue_is("abc"), "it goes on, and is queued once");
    watch_node_enqueue(a);
    ok(queue_is("abc"), "... however often it is asked for");

    watch_node_remove(a);
    ok(queue_is("bc"), "what is gone is not queued");
    watch_tree_free(&tree);
    ok(queue_is(""), "nor is what a tree had");

    return done_testing();
}
