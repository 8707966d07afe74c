/* What the kernel says of watched trees; see watch_notify_internal.h. */

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/watch_notify_internal.h"
#include "agent/watch_seen.h"
#include "common/log.h"

#define NOTIFY_SLICE  (32 * 1024)    /* of events, between other work */


static void
notify_too_many(watch_tree *t)
{
    error  *err;

    err = NULL;
    error_set(&err, 503, "RESOURCE_BUSY", "Too many directories to watch: "
              "%d are, in all watches together; exclude some, or watch "
              "less", WATCH_DIRS_MAX);
    watch_notify_end(t, NULL, err);
}


void
watch_notify_tell(watch_node *n, unsigned type, const char *name, bool is_dir)
{
    char         path[WATCH_PATH_MAX], *base;
    watch_tree  *t;

    t = n->tree;

    if ((t->events & type) == 0 || !t->armed || t->ended
        || (t->only != NULL && strcmp(t->only, name) != 0))
    {
        return;
    }

    base = watch_node_path(n, name, path);

    if (base == NULL || watch_rules_excludes(&t->rules, path, base)
        || (!n->included && !watch_rules_includes(&t->rules, path, base)))
    {
        return;
    }

    watch_tell_event(t, type, path, is_dir);
}


watch_node *
watch_notify_enter(watch_node *parent, const char *name, bool fresh)
{
    char         path[WATCH_PATH_MAX], *base;
    watch_node  *n;
    watch_tree  *t;

    t = parent->tree;
    base = watch_node_path(parent, name, path);

    if (base == NULL || watch_rules_excludes(&t->rules, path, base)) {
        return NULL;
    }

    n = watch_node_add(parent, name);
    if (n == NULL) {
        notify_too_many(t);
        return NULL;
    }

    n->included = parent->included
                  || (t->rules.included > 0
                      && watch_rules_includes(&t->rules, path, base));
    n->fresh = fresh;
    watch_node_enqueue(n);

    return n;
}


static void
notify_moved_in(watch_node *parent, const char *name, uint32_t cookie)
{
    char         path[WATCH_PATH_MAX], *base;
    watch_node  *n;
    watch_tree  *t;

    t = parent->tree;

    LIST_FOREACH(n, &watch_all.moving, sibling) {
        if (n->cookie == cookie && n->tree == t) {
            break;
        }
    }

    if (n == NULL) {
        watch_notify_enter(parent, name, true);
        return;
    }

    base = watch_node_path(parent, name, path);

    if (base == NULL || watch_rules_excludes(&t->rules, path, base)) {
        watch_node_remove(n);
        return;
    }

    if (watch_node_attach(n, parent, name) != 0) {
        notify_too_many(t);
        return;
    }

    /* What the rules say of a path may be something else here. */

    if (t->rules.paths || t->rules.included > 0) {
        n = watch_node_child(parent, name);
        n->deep = true;
        n->included = parent->included
                      || (t->rules.included > 0
                          && watch_rules_includes(&t->rules, path, base));
        watch_node_enqueue(n);
    }
}


static void
notify_name(watch_node *n, const struct inotify_event *e)
{
    bool         is_dir;
    watch_node  *child;

    is_dir = (e->mask & IN_ISDIR) != 0;
    child = is_dir && n->tree->recursive ? watch_node_child(n, e->name)
                                         : NULL;

    if (e->mask & IN_CREATE) {
        if (!watch_seen_take(n, e->name)) {
            watch_notify_tell(n, WATCH_CREATE, e->name, is_dir);
        }
        if (is_dir && n->tree->recursive && child == NULL) {
            watch_notify_enter(n, e->name, n->tree->armed);
        }
    }

    if (e->mask & IN_MODIFY) {
        watch_notify_tell(n, WATCH_MODIFY, e->name, is_dir);
    }

    if (e->mask & IN_ATTRIB) {
        watch_notify_tell(n, WATCH_ATTRIB, e->name, is_dir);
    }

    if (e->mask & IN_DELETE) {
        watch_seen_take(n, e->name);
        watch_notify_tell(n, WATCH_DELETE, e->name, is_dir);
        if (child != NULL) {
            watch_node_remove(child);
        }
    }

    if (e->mask & IN_MOVED_FROM) {
        watch_seen_take(n, e->name);
        watch_notify_tell(n, WATCH_MOVE_FROM, e->name, is_dir);
        if (child != NULL) {
            watch_node_detach(child, e->cookie);
            watch_notify.moved_at = uv_now(agent.loop);
        }
    }

    if (e->mask & IN_MOVED_TO) {
        watch_notify_tell(n, WATCH_MOVE_TO, e->name, is_dir);
        if (child != NULL) {
            watch_node_remove(child);       /* it has taken its place */
        }
        if (is_dir && n->tree->recursive) {
            notify_moved_in(n, e->name, e->cookie);
        }
    }
}


/* The directory itself. */

static void
notify_self(watch_node *n, const struct inotify_event *e)
{
    if (n == n->tree->top) {
        if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) {
            watch_notify_end(n->tree, e->mask & IN_DELETE_SELF ? "deleted"
                                : e->mask & IN_MOVE_SELF ? "moved"
                                                         : "unmounted", NULL);
        }
        return;
    }

    if (e->mask & IN_UNMOUNT && n->parent != NULL) {
        watch_node_enqueue(n);              /* what was below is seen again */
    }
}


static void
notify_overflow(void)
{
    watch_tree  *t;

    log_warn("watch: the kernel's queue was full: events are lost");
    watch_seen_clear();

    LIST_FOREACH(t, &watch_all.trees, link) {
        if (!t->ended) {
            t->lost = true;
            watch_tell_lost(t, false);
        }
    }
}


static void
notify_event(const struct inotify_event *e)
{
    watch_mark  *m;
    watch_node  *n;

    if (e->mask & IN_Q_OVERFLOW) {
        notify_overflow();
        return;
    }

    m = watch_mark_find(e->wd);
    if (m == NULL) {
        return;                             /* of one that was given up */
    }

    for (n = m->nodes; n != NULL; n = watch_all.cursor) {
        watch_all.cursor = n->mark_next;

        if (n->tree->ended) {
            continue;
        }

        if (e->len > 0) {
            notify_name(n, e);
        } else {
            notify_self(n, e);
        }
    }

    if (e->mask & IN_IGNORED) {
        m = watch_mark_find(e->wd);
        if (m != NULL) {
            watch_mark_gone(m);
        }
    }
}


size_t
watch_notify_read(void)
{
    char                        *p;
    ssize_t                      n;
    static char                  room[NOTIFY_SLICE]
        __attribute__((aligned(__alignof__(struct inotify_event))));
    const struct inotify_event  *e;

    n = watch_notify.fd == -1 ? 0 : read(watch_notify.fd, room, sizeof(room));
    if (n <= 0) {
        return 0;
    }

    watch_notify.busy++;

    for (p = room; p < room + n; p += sizeof(*e) + e->len) {
        e = (const struct inotify_event *) p;
        notify_event(e);
    }

    watch_notify.busy--;
    watch_seen_passed(n);

    return (size_t) n;
}
