/* Watched trees; see watch_notify.h. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/watch_notify.h"
#include "agent/watch_scan.h"
#include "common/log.h"

#define NOTIFY_SLICE     (32 * 1024)    /* of events, between other work */
#define NOTIFY_MOVE_MS   100            /* for the second half of a move */
#define NOTIFY_LOOK_MS   5000           /* between looks at the tops */
#define NOTIFY_AGAIN_MS  500            /* between readings after a loss */
#define NOTIFY_SEEN_MAX  50000

#define NOTIFY_MASK      (IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM  \
                          | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF      \
                          | IN_ONLYDIR | IN_EXCL_UNLINK | IN_MASK_ADD)

/* Names that a scan has told as new: the queue tells them once more. */
typedef struct notify_seen  notify_seen;

struct notify_seen {
    notify_seen  *next;
    uint64_t      serial;               /* of the directory */
    char          name[];
};

typedef struct {
    char            *path;
    watch_tree      *tree;
    watch_scan_top   top;
    const char      *gone;
} notify_look;

typedef struct {
    uv_work_t        work;
    bool             running;
    bool             closing;           /* the instance, not a scan */
    int              fd;
    watch_scan       scan;
    watch_scan_top   tops[WATCH_SCAN_ITEMS];
    int             *drop;
    notify_look     *looks;
    size_t           look_count;
} notify_job;

typedef struct {
    uv_poll_t     *poll;
    bool           polling;
    notify_job     job;
    notify_seen   *seen[1024];
    size_t         seen_count;
    long           seen_left;           /* bytes of events they may be in */
    uv_timer_t     timer;               /* for moves */
    bool           timer_ready;
    uint64_t       moved_at;
    uint64_t       looked_at;
    bool           look;
    bool           freeing;             /* trees that wait to be freed */
} notify_state;

static notify_state  notify;
static int           notify_fd = -1;

static void notify_kick(void);


/* Closed trees are freed when neither a job nor a loop looks at them. */

typedef struct notify_grave  notify_grave;

struct notify_grave {
    notify_grave  *next;
    watch_tree    *tree;
    void         (*done)(watch_tree *t);
};

static notify_grave  *notify_graves;
static unsigned       notify_busy;      /* inside of something */


static void
notify_bury(void)
{
    notify_grave  *g;

    if (notify_busy > 0 || notify.job.running) {
        return;
    }

    while ((g = notify_graves) != NULL) {
        notify_graves = g->next;
        watch_tree_free(g->tree);
        g->done(g->tree);
        free(g);
    }
}


void
watch_notify_close(watch_tree *t, void (*done)(watch_tree *t))
{
    notify_grave  *g;

    g = malloc(sizeof(notify_grave));
    if (g == NULL) {
        abort();
    }

    t->ended = true;
    g->tree = t;
    g->done = done;
    g->next = notify_graves;
    notify_graves = g;

    notify_bury();
    notify_kick();
}


static void
notify_end(watch_tree *t, const char *reason, error *err)
{
    if (t->ended) {
        error_free(err);
        return;
    }

    watch_tell_end(t, reason, err);
}


/* A number below /proc/sys; 0 if there is none. */

static long
notify_sysctl(const char *path)
{
    int      fd;
    char     text[32];
    ssize_t  n;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return 0;
    }

    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0) {
        return 0;
    }

    text[n] = '\0';

    return strtol(text, NULL, 10);
}


/* There is a limit of the machine, and one of our user namespace: "<what>:
 * <name> is <n>". */

static void
notify_set_limit(error **err, const char *what, const char *machine,
    const char *ours)
{
    long  a, b;
    char  path[64];

    snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", machine);
    a = notify_sysctl(path);
    snprintf(path, sizeof(path), "/proc/sys/user/%s", ours);
    b = notify_sysctl(path);

    if (b > 0 && b < a) {
        error_set(err, 500, "WATCH_START_ERROR", "%s: user.%s is %ld", what,
                  ours, b);
    } else {
        error_set(err, 500, "WATCH_START_ERROR", "%s: fs.inotify.%s is %ld, "
                  "for all who share it", what, machine, a);
    }
}


static void
notify_full(watch_tree *t, int errnum)
{
    error  *err;

    err = NULL;

    if (errnum == ENOSPC) {
        notify_set_limit(&err, "The kernel watches no more directories",
                         "max_user_watches", "max_inotify_watches");
    } else {
        file_error_set(&err, errnum, "The directory can't be watched");
    }

    notify_end(t, NULL, err);
}


static void
notify_too_many(watch_tree *t)
{
    error  *err;

    err = NULL;
    error_set(&err, 503, "RESOURCE_BUSY", "Too many directories to watch: "
              "%d are, in all watches together; exclude some, or watch "
              "less", WATCH_DIRS_MAX);
    notify_end(t, NULL, err);
}


/* What a scan has told. */

static notify_seen **
notify_seen_at(uint64_t serial, const char *name)
{
    uint64_t      h;
    const char   *p;
    notify_seen  **at;

    for (h = serial, p = name; *p != '\0'; p++) {
        h = (h ^ (uint8_t) *p) * 0x100000001b3;
    }

    at = &notify.seen[(h ^ h >> 20) % (sizeof(notify.seen)
                                       / sizeof(notify.seen[0]))];

    while (*at != NULL && ((*at)->serial != serial
                           || strcmp((*at)->name, name) != 0))
    {
        at = &(*at)->next;
    }

    return at;
}


static void
notify_seen_add(watch_node *n, const char *name)
{
    size_t         len;
    notify_seen   *s, **at;

    at = notify_seen_at(n->serial, name);

    if (*at != NULL || notify.seen_count >= NOTIFY_SEEN_MAX) {
        return;
    }

    len = strlen(name);
    s = malloc(sizeof(notify_seen) + len + 1);
    if (s == NULL) {
        abort();
    }

    s->serial = n->serial;
    memcpy(s->name, name, len + 1);
    s->next = NULL;
    *at = s;
    notify.seen_count++;
}


static bool
notify_seen_take(watch_node *n, const char *name)
{
    notify_seen  *s, **at;

    if (notify.seen_count == 0) {
        return false;
    }

    at = notify_seen_at(n->serial, name);
    s = *at;

    if (s == NULL) {
        return false;
    }

    *at = s->next;
    free(s);
    notify.seen_count--;

    return true;
}


static void
notify_seen_clear(void)
{
    size_t        i;
    notify_seen  *s;

    for (i = 0; notify.seen_count > 0; i++) {
        while ((s = notify.seen[i]) != NULL) {
            notify.seen[i] = s->next;
            free(s);
            notify.seen_count--;
        }
    }
}


static long
notify_waiting(void)
{
    int  n;

    return notify_fd != -1 && ioctl(notify_fd, FIONREAD, &n) == 0 ? n : 0;
}


/* Something with a name in a directory. */

static void
notify_tell(watch_node *n, unsigned type, const char *name, bool is_dir)
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


/* A directory that is to be watched, if the rules allow it. */

static watch_node *
notify_enter(watch_node *parent, const char *name, bool fresh)
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
        notify_enter(parent, name, true);
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
        if (!notify_seen_take(n, e->name)) {
            notify_tell(n, WATCH_CREATE, e->name, is_dir);
        }
        if (is_dir && n->tree->recursive && child == NULL) {
            notify_enter(n, e->name, n->tree->armed);
        }
    }

    if (e->mask & IN_MODIFY) {
        notify_tell(n, WATCH_MODIFY, e->name, is_dir);
    }

    if (e->mask & IN_ATTRIB) {
        notify_tell(n, WATCH_ATTRIB, e->name, is_dir);
    }

    if (e->mask & IN_DELETE) {
        notify_seen_take(n, e->name);
        notify_tell(n, WATCH_DELETE, e->name, is_dir);
        if (child != NULL) {
            watch_node_remove(child);
        }
    }

    if (e->mask & IN_MOVED_FROM) {
        notify_seen_take(n, e->name);
        notify_tell(n, WATCH_MOVE_FROM, e->name, is_dir);
        if (child != NULL) {
            watch_node_detach(child, e->cookie);
            notify.moved_at = uv_now(agent.loop);
        }
    }

    if (e->mask & IN_MOVED_TO) {
        notify_tell(n, WATCH_MOVE_TO, e->name, is_dir);
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
            notify_end(n->tree, e->mask & IN_DELETE_SELF ? "deleted"
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
    notify_seen_clear();

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


/* Reads one slice; the bytes, 0 if there was nothing. */

static size_t
notify_read(void)
{
    char                        *p;
    ssize_t                      n;
    static char                  room[NOTIFY_SLICE]
        __attribute__((aligned(__alignof__(struct inotify_event))));
    const struct inotify_event  *e;

    n = notify_fd == -1 ? 0 : read(notify_fd, room, sizeof(room));
    if (n <= 0) {
        return 0;
    }

    notify_busy++;

    for (p = room; p < room + n; p += sizeof(*e) + e->len) {
        e = (const struct inotify_event *) p;
        notify_event(e);
    }

    notify_busy--;
    notify.seen_left -= n;

    if (notify.seen_left <= 0) {
        notify_seen_clear();
    }

    return (size_t) n;
}


static void
notify_readable(uv_poll_t *poll, int status, int events)
{
    notify_read();
    notify_bury();
    notify_kick();
}


/* Halves of moves whose others didn't come: they went elsewhere. */

static void
notify_expire(uv_timer_t *timer)
{
    watch_node  *n;

    if (notify.job.running || notify_waiting() > 0
        || uv_now(agent.loop) < notify.moved_at + NOTIFY_MOVE_MS)
    {
        uv_timer_start(timer, notify_expire, NOTIFY_MOVE_MS, 0);
        return;
    }

    while ((n = LIST_FIRST(&watch_all.moving)) != NULL) {
        watch_node_remove(n);
    }

    notify_kick();
}


/* What a slice of scanning found. */

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
            notify_tell(n, WATCH_CREATE, p, dir);
            notify_seen_add(n, p);
        }

        child = dir ? watch_node_child(n, p) : NULL;

        if (child != NULL) {
            child->found = n->round;
        } else if (dir) {
            notify_enter(n, p, n->fresh);
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
            notify_end(t, "deleted", NULL);
            return false;
        }

        error_set(&err, 404, "FILE_NOT_FOUND", "Path does not exist: %s%s%s",
                  t->path, t->only ? "/" : "", t->only ? t->only : "");
        notify_end(t, NULL, err);

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


static void
notify_merge(watch_scan_item *it, const char *names)
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


/* Trees of which nothing waits to be read any more. */

static void
notify_armed(void)
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


static void
notify_scanned(uv_work_t *work, int status)
{
    char               *names;
    size_t              i;
    notify_job         *job;
    watch_scan_item    *it;

    job = &notify.job;
    job->running = false;
    notify_busy++;

    for (i = 0; i < job->look_count; i++) {
        if (job->looks[i].gone != NULL) {
            notify_end(job->looks[i].tree, job->looks[i].gone, NULL);
        }
        free(job->looks[i].path);
    }

    names = job->scan.names.len > 0 ? buffer_bytes(&job->scan.names) : NULL;

    for (i = 0; i < job->scan.count; i++) {
        it = &job->scan.items[i];
        notify_merge(it, names != NULL ? names + it->names_at : NULL);
        free(it->path);
    }

    free(job->drop);
    free(job->looks);
    buffer_free(&job->scan.names);
    memset(job, 0, sizeof(*job));

    if (notify.seen_count > 0) {
        notify.seen_left = notify_waiting();
        if (notify.seen_left == 0) {
            notify_seen_clear();
        }
    }

    notify_armed();
    notify_busy--;
    notify_bury();

    /* One slice of what came in meanwhile, before the next. */

    notify_read();
    notify_bury();
    notify_kick();
}


static void
notify_work(uv_work_t *work)
{
    size_t       i;
    notify_job  *job;

    job = &notify.job;

    if (job->closing) {
        close(job->fd);
        return;
    }

    for (i = 0; i < job->look_count; i++) {
        job->looks[i].gone = watch_scan_look(&job->looks[i].top);
    }

    watch_scan_run(&job->scan);
}


static void
notify_closed(uv_work_t *work, int status)
{
    memset(&notify.job, 0, sizeof(notify.job));
    malloc_trim(0);
    notify_bury();
    notify_kick();
}


static void
notify_job_item(notify_job *job, watch_node *n)
{
    char              path[WATCH_PATH_MAX];
    watch_tree       *t;
    watch_scan_top   *top;
    watch_scan_item  *it;

    t = n->tree;
    TAILQ_REMOVE(&watch_all.queue, n, queue);
    n->queued = false;

    if (t->ended || watch_node_path(n, NULL, path) == NULL) {
        return;                             /* moving: queued again later */
    }

    n->pending = false;

    if (n->dir == NULL) {
        n->round++;
    }

    top = &job->tops[job->scan.count];
    it = &job->scan.items[job->scan.count++];

    top->path = t->path;
    top->dev = t->dev;
    top->ino = t->ino;
    top->fs_type = t->fs_type;

    it->node = n;
    n->ref = &it->node;
    it->top = top;
    it->path = strdup(path);
    if (it->path == NULL) {
        abort();
    }

    it->mask = NOTIFY_MASK | (t->events & WATCH_ATTRIB ? IN_ATTRIB : 0);
    it->is_top = n == t->top;
    it->list = t->recursive;
    it->files = n->fresh;
    it->dir = n->dir;
    n->dir = NULL;
}


static void
notify_job_looks(notify_job *job)
{
    size_t        n;
    watch_tree   *t;
    notify_look  *look;

    n = 0;
    LIST_FOREACH(t, &watch_all.trees, link) {
        n++;
    }

    job->looks = calloc(n + 1, sizeof(notify_look));
    if (job->looks == NULL) {
        abort();
    }

    LIST_FOREACH(t, &watch_all.trees, link) {
        if (!t->armed || t->ended) {
            continue;
        }

        look = &job->looks[job->look_count++];
        look->tree = t;
        look->path = strdup(t->path);
        if (look->path == NULL) {
            abort();
        }
        look->top.path = look->path;
        look->top.dev = t->dev;
        look->top.ino = t->ino;
    }
}


static void
notify_job_start(void)
{
    notify_job  *job;

    job = &notify.job;
    job->scan.fd = notify_fd;

    /* What nobody needs any more goes first: the kernel gives the same watch
     * for the same directory. */

    job->drop = watch_all.dropped;
    job->scan.drop = job->drop;
    job->scan.drop_count = watch_all.dropped_count;
    watch_all.dropped = NULL;
    watch_all.dropped_count = 0;
    watch_all.dropped_size = 0;

    while (!TAILQ_EMPTY(&watch_all.queue)
           && job->scan.count < WATCH_SCAN_ITEMS)
    {
        notify_job_item(job, TAILQ_FIRST(&watch_all.queue));
    }

    if (notify.look) {
        notify.look = false;
        notify.looked_at = uv_now(agent.loop);
        notify_job_looks(job);
    }

    job->running = true;
    uv_queue_work(agent.loop, &job->work, notify_work, notify_scanned);
}


static void
notify_poll_freed(uv_handle_t *handle)
{
    free(handle);
}


/* No tree is left: everything goes with the instance, which takes a while. */

static void
notify_shut(void)
{
    uv_poll_stop(notify.poll);
    uv_close((uv_handle_t *) notify.poll, notify_poll_freed);
    notify.poll = NULL;
    notify.polling = false;
    uv_timer_stop(&notify.timer);
    notify_seen_clear();

    free(watch_all.dropped);
    watch_all.dropped = NULL;
    watch_all.dropped_count = 0;
    watch_all.dropped_size = 0;

    notify.job.closing = true;
    notify.job.running = true;
    notify.job.fd = notify_fd;
    notify_fd = -1;
    uv_queue_work(agent.loop, &notify.job.work, notify_work, notify_closed);
}


static int
notify_start(error **err)
{
    int  fd;

    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd == -1) {
        if (errno == EMFILE) {
            notify_set_limit(err, "There are too many open files, or inotify "
                             "instances", "max_user_instances",
                             "max_inotify_instances");
            return -1;
        }
        return file_error_set(err, errno, "inotify can't be used");
    }

    notify.poll = malloc(sizeof(uv_poll_t));
    if (notify.poll == NULL) {
        abort();
    }

    if (!notify.timer_ready) {
        uv_timer_init(agent.loop, &notify.timer);
        notify.timer_ready = true;
    }

    uv_poll_init(agent.loop, notify.poll, fd);
    notify_fd = fd;
    notify.looked_at = uv_now(agent.loop);

    return 0;
}


/* Decides what is next: a job, waiting for events, or nothing any more. */

static void
notify_kick(void)
{
    if (notify_busy > 0 || notify_fd == -1) {
        return;
    }

    if (notify.job.running) {
        if (notify.polling) {
            uv_poll_stop(notify.poll);
            notify.polling = false;
        }
        return;
    }

    if (LIST_EMPTY(&watch_all.trees)) {
        notify_shut();
        return;
    }

    if (!LIST_EMPTY(&watch_all.moving)
        && !uv_is_active((uv_handle_t *) &notify.timer))
    {
        uv_timer_start(&notify.timer, notify_expire, NOTIFY_MOVE_MS, 0);
    }

    if (!TAILQ_EMPTY(&watch_all.queue) || watch_all.dropped_count > 0
        || notify.look)
    {
        if (notify.polling) {
            uv_poll_stop(notify.poll);
            notify.polling = false;
        }
        notify_job_start();
        return;
    }

    if (!notify.polling) {
        uv_poll_start(notify.poll, UV_READABLE, notify_readable);
        notify.polling = true;
    }

    watch_tell_settled();
}


int
watch_notify_open(watch_tree *t, error **err)
{
    if (notify_fd == -1 && notify_start(err) != 0) {
        return -1;
    }

    if (watch_tree_init(t) != 0) {
        error_set(err, 503, "RESOURCE_BUSY", "Too many directories to watch: "
                  "%d are, in all watches together", WATCH_DIRS_MAX);
        notify_kick();
        return -1;
    }

    watch_node_enqueue(t->top);
    notify_kick();

    return 0;
}


bool
watch_notify_settle(void)
{
    long    left;
    size_t  n;

    if (!notify.job.running) {
        for (left = notify_waiting(); left > 0 && !notify.job.running; ) {
            n = notify_read();
            if (n == 0) {
                break;
            }
            left -= (long) n;
        }

        notify_bury();
    }

    if (notify.job.running || !TAILQ_EMPTY(&watch_all.queue)) {
        notify_kick();
        return false;
    }

    notify_kick();

    return true;
}


void
watch_notify_sweep(void)
{
    uint64_t     now;
    watch_tree  *t;

    now = uv_now(agent.loop);

    LIST_FOREACH(t, &watch_all.trees, link) {
        if (t->lost && !t->ended && t->armed
            && now >= t->lost_at + NOTIFY_AGAIN_MS)
        {
            t->lost = false;
            t->again = true;
            t->lost_at = now;
            t->top->deep = true;
            watch_node_enqueue(t->top);
        }
    }

    if (now >= notify.looked_at + NOTIFY_LOOK_MS) {
        notify.look = true;
    }

    notify_kick();
}
