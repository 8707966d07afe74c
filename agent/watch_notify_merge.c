/* What a scan found of watched trees; see watch_notify_internal.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/file_error.h"
#include "agent/watch_limit.h"
#include "agent/watch_notify_internal.h"
#include "agent/watch_seen.h"


static void
notify_full(watch_tree *t, int errnum)
{
    error  *err;

    err = NULL;

    if (errnum == ENOSPC) {
        watch_limit_set(&err, "The kernel watches no more directories",
                        "max_user_watches", "max_inotify_watches");
    } else {
        file_error_set(&err, errnum, "The directory can't be watched");
    }

    watch_notify_end(t, NULL, err);
}


static void
notify_merge_names(watch_scan_item *it, const char *p)
{
    bool         dir;
    size_t       i;
    watch_node  *n, *child;

    n = it->node;

    for (i = 0; i < it->names && !n->tree->ended; i++) {
        dir = *p++ == 'd';

        if (n->fresh) {
            watch_notify_tell(n, WATCH_CREATE, p, dir);
            watch_seen_add(n, p);
        }

        child = dir ? watch_node_child(n, p) : NULL;

        if (child != NULL) {
            child->found = n->round;
        } else if (dir) {
            watch_notify_enter(n, p, n->fresh);
        }

        p += strlen(p) + 1;
    }
}


/* All of it is read: what wasn't seen isn't there any more. */

static void
notify_merge_deep(watch_node *n)
{
    char         path[WATCH_PATH_MAX], *base;
    watch_tree  *t;
    watch_node  *child, *next;

    t = n->tree;

    for (child = LIST_FIRST(&n->children); child != NULL; child = next) {
        next = LIST_NEXT(child, sibling);
        base = watch_node_path(n, child->name, path);

        if (child->found != n->round || base == NULL
            || watch_rules_excludes(&t->rules, path, base))
        {
            watch_node_remove(child);
            continue;
        }

        child->included = n->included
                          || (t->rules.included > 0
                              && watch_rules_includes(&t->rules, path, base));
        child->deep = true;
        watch_node_enqueue(child);
    }
}


static bool
notify_top_failed(watch_tree *t, const watch_scan_item *it)
{
    char   *slash;
    error  *err;

    if (it->errnum == ENOTDIR && t->only == NULL
        && (slash = strrchr(t->path, '/')) != NULL && slash[1] != '\0')
    {
        t->only = strdup(slash + 1);
        if (t->only == NULL) {
            abort();
        }

        slash[slash == t->path] = '\0';
        t->recursive = false;
        watch_node_enqueue(t->top);

        return true;
    }

    err = NULL;

    if (it->errnum == ENOENT || it->errnum == ENOTDIR) {
        if (t->armed) {
            watch_notify_end(t, "deleted", NULL);
            return false;
        }

        error_set(&err, 404, "FILE_NOT_FOUND", "Path does not exist: %s%s%s",
                  t->path, t->only ? "/" : "", t->only ? t->only : "");
        watch_notify_end(t, NULL, err);

    } else {
        notify_full(t, it->errnum);
    }

    return false;
}


/* Its directory was removed by what was found before. */

static void
notify_merge_none(watch_scan_item *it)
{
    if (it->dir != NULL) {
        closedir(it->dir);
    }

    if (it->wd != -1 && watch_mark_find(it->wd) == NULL) {
        watch_mark_drop(it->wd);
    }
}


void
watch_notify_merge(watch_scan_item *it, const char *names)
{
    watch_node  *n;
    watch_tree  *t;

    n = it->node;

    if (n == NULL) {
        notify_merge_none(it);
        return;
    }

    t = n->tree;
    n->ref = NULL;
    n->dir = it->dir;

    if (t->ended) {
        if (it->wd != -1) {
            watch_mark_set(n, it->wd);      /* goes with the tree */
        }
        return;
    }

    if (!it->begun && !it->done) {
        watch_node_again(n);
        return;
    }

    if (it->errnum != 0) {
        if (n == t->top) {
            notify_top_failed(t, it);

        } else if (it->errnum == ENOSPC || it->errnum == ENOMEM
                   || it->errnum == EMFILE || it->errnum == ENFILE)
        {
            notify_full(t, it->errnum);

        } else {
            watch_node_remove(n);           /* went away, or not for us */
        }

        return;
    }

    if (it->wd != -1) {
        watch_mark_set(n, it->wd);
        if (n == t->top) {
            t->dev = it->found.dev;
            t->ino = it->found.ino;
            t->fs_type = it->found.fs_type;
        }
    }

    notify_merge_names(it, names);

    if (t->ended) {
        return;
    }

    if (!it->done) {
        watch_node_again(n);
        return;
    }

    if (n->deep) {
        n->deep = false;
        notify_merge_deep(n);
    }

    n->fresh = false;
}


void
watch_notify_armed(void)
{
    watch_node  *n;
    watch_tree  *t;

    LIST_FOREACH(t, &watch_all.trees, link) {
        if (t->ended || (t->armed && !t->again) || t->top->mark == NULL) {
            continue;
        }

        TAILQ_FOREACH(n, &watch_all.queue, queue) {
            if (n->tree == t) {
                break;
            }
        }

        if (n != NULL) {
            continue;
        }

        if (t->again) {
            t->again = false;
            watch_tell_lost(t, true);
        }

        if (!t->armed) {
            t->armed = true;
            watch_tell_armed(t);
        }
    }
}
