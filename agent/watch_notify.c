/* Watched trees; see watch_notify.h. */

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/watch_limit.h"
#include "agent/watch_notify_internal.h"
#include "agent/watch_seen.h"

#define NOTIFY_MOVE_MS   100            /* for the second half of a move */
#define NOTIFY_LOOK_MS   5000           /* between looks at the tops */
#define NOTIFY_AGAIN_MS  500            /* between readings after a loss */

#define NOTIFY_MASK      (IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM  \
                          | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF      \
                          | IN_ONLYDIR | IN_EXCL_UNLINK | IN_MASK_ADD)

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
    uv_timer_t     timer;               /* for moves */
    bool           timer_ready;
    uint64_t       looked_at;
    bool           look;
} notify_state;

static notify_state  notify;

watch_notify_state   watch_notify = { .fd = -1 };

static void notify_kick(void);


/* Closed trees are freed when neither a job nor a loop looks at them. */

typedef struct notify_grave  notify_grave;

struct notify_grave {
    notify_grave  *next;
    watch_tree    *tree;
    void         (*done)(watch_tree *t);
};

static notify_grave  *notify_graves;


static void
notify_bury(void)
{
    notify_grave  *g;

    if (watch_notify.busy > 0 || notify.job.running) {
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


void
watch_notify_end(watch_tree *t, const char *reason, error *err)
{
    if (t->ended) {
        error_free(err);
        return;
    }

    watch_tell_end(t, reason, err);
}


long
watch_notify_waiting(void)
{
    int  n;

    return watch_notify.fd != -1 && ioctl(watch_notify.fd, FIONREAD, &n) == 0
           ? n : 0;
}


static void
notify_readable(uv_poll_t *poll, int status, int events)
{
    watch_notify_read();
    notify_bury();
    notify_kick();
}


/* Halves of moves whose others didn't come: they went elsewhere. */

static void
notify_expire(uv_timer_t *timer)
{
    watch_node  *n;

    if (notify.job.running || watch_notify_waiting() > 0
        || uv_now(agent.loop) < watch_notify.moved_at + NOTIFY_MOVE_MS)
    {
        uv_timer_start(timer, notify_expire, NOTIFY_MOVE_MS, 0);
        return;
    }

    while ((n = LIST_FIRST(&watch_all.moving)) != NULL) {
        watch_node_remove(n);
    }

    notify_kick();
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
    watch_notify.busy++;

    for (i = 0; i < job->look_count; i++) {
        if (job->looks[i].gone != NULL) {
            watch_notify_end(job->looks[i].tree, job->looks[i].gone, NULL);
        }
        free(job->looks[i].path);
    }

    names = job->scan.names.len > 0 ? buffer_bytes(&job->scan.names) : NULL;

    for (i = 0; i < job->scan.count; i++) {
        it = &job->scan.items[i];
        watch_notify_merge(it, names != NULL ? names + it->names_at : NULL);
        free(it->path);
    }

    free(job->drop);
    free(job->looks);
    buffer_free(&job->scan.names);
    memset(job, 0, sizeof(*job));

    if (watch_seen_any()) {
        watch_seen_expect(watch_notify_waiting());
    }

    watch_notify_armed();
    watch_notify.busy--;
    notify_bury();

    /* One slice of what came in meanwhile, before the next. */

    watch_notify_read();
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
    job->scan.fd = watch_notify.fd;

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
    watch_seen_clear();

    free(watch_all.dropped);
    watch_all.dropped = NULL;
    watch_all.dropped_count = 0;
    watch_all.dropped_size = 0;

    notify.job.closing = true;
    notify.job.running = true;
    notify.job.fd = watch_notify.fd;
    watch_notify.fd = -1;
    uv_queue_work(agent.loop, &notify.job.work, notify_work, notify_closed);
}


static int
notify_start(error **err)
{
    int  fd;

    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd == -1) {
        if (errno == EMFILE) {
            watch_limit_set(err, "There are too many open files, or inotify "
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
    watch_notify.fd = fd;
    notify.looked_at = uv_now(agent.loop);

    return 0;
}


/* Decides what is next: a job, waiting for events, or nothing any more. */

static void
notify_kick(void)
{
    if (watch_notify.busy > 0 || watch_notify.fd == -1) {
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
    if (watch_notify.fd == -1 && notify_start(err) != 0) {
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
        for (left = watch_notify_waiting(); left > 0 && !notify.job.running; ) {
            n = watch_notify_read();
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
