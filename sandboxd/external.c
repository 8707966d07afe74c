/* Sandboxes that others run; see external.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "common/log.h"
#include "sandboxd/external.h"

#define NAME_LEN   13           /* 8 hex digits, ".new" and a NUL */


typedef struct external_driver  external_driver;
typedef struct external_look    external_look;

/* A look at one agent, from check() to its callback. */
struct external_look {
    external_look    *next;
    external_driver  *x;
    uint32_t          slot;
    bool              linked;       /* the new name is there */
    int               fd;           /* of the socket's file, or -1 */
    error            *err;          /* known before it began */
    uv_timer_t        timer;        /* to answer later */
    external_probe   *probe;
    driver_checked    cb;
    void             *data;
};

/* An answer that has to come after the call. */
typedef struct {
    uv_timer_t        timer;
    driver_done       done;
    driver_measured   measured;
    void             *data;
} external_later;

struct external_driver {
    driver            d;            /* first */
    external_host     host;
    int               dir;          /* of the sockets of others, or -1 */
    int               sockets;      /* <run_dir>/s */
    external_look    *looks;
};


/* The socket's own file, which nothing that is done to names can change. */
static int
socket_open(external_driver *x, const char *name, error **err)
{
    int              fd;
    const char      *what;
    struct stat      st;
    struct open_how  how;

    memset(&how, 0, sizeof(how));
    how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
                  | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;

    fd = (int) syscall(SYS_openat2, x->dir, name, &how, sizeof(how));

    if (fd == -1) {
        what = errno == ENOENT ? "its agent's socket isn't there"
               : errno == ELOOP ? "its agent's socket is behind a symbolic "
                                  "link"
               : errno == EXDEV ? "its agent's socket is on another file "
                                  "system, or not below --external-dir"
               : strerror(errno);

        return error_set(err, 503, "unreachable", "%s", what);
    }

    if (fstat(fd, &st) == -1 || !S_ISSOCK(st.st_mode)) {
        close(fd);
        return error_set(err, 503, "unreachable", "what has the name of its "
                         "agent's socket is none");
    }

    return fd;
}


static void
slot_name(uint32_t slot, char name[NAME_LEN], bool new)
{
    snprintf(name, NAME_LEN, "%08" PRIx32 "%s", slot, new ? ".new" : "");
}


/* Whether the name is that of the file already. */
static bool
name_is(external_driver *x, const char *name, int fd)
{
    struct stat  a, b;

    return fstatat(x->sockets, name, &a, AT_SYMLINK_NOFOLLOW) == 0
           && fstat(fd, &b) == 0 && a.st_dev == b.st_dev
           && a.st_ino == b.st_ino;
}


static int
name_link(external_driver *x, const char *name, int fd, error **err)
{
    char  path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    (void) unlinkat(x->sockets, name, 0);

    if (linkat(AT_FDCWD, path, x->sockets, name, AT_SYMLINK_FOLLOW) == 0) {
        return 0;
    }

    return error_set(err, 503, "unreachable", errno == EXDEV
                     ? "its agent's socket is on another file system than "
                       "--run-dir: there can be no hard link to it (%s)"
                     : errno == EPERM
                     ? "its agent's socket belongs to somebody else: there "
                       "can be no hard link to it without root (%s)"
                     : "there can be no hard link to its agent's socket (%s)",
                     strerror(errno));
}


/* As with our own agents' sockets: the workers' group may connect.  Only after
 * the agent has answered, so that nobody else's socket is opened to them. */
static int
socket_open_to_workers(external_driver *x, int fd, error **err)
{
    gid_t        gid;
    char         path[64];
    struct stat  st;

    gid = x->host.socket_gid != (gid_t) -1 ? x->host.socket_gid : getegid();

    if (fstat(fd, &st) == 0
        && ((st.st_mode & S_IWOTH)
            || (st.st_gid == gid && (st.st_mode & S_IWGRP))
            || (x->host.socket_gid == (gid_t) -1 && st.st_uid == geteuid()
                && (st.st_mode & S_IWUSR))))
    {
        return 0;
    }

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    if ((st.st_gid != gid && chown(path, (uid_t) -1, gid) == -1)
        || chmod(path, 0660) == -1)
    {
        return error_set(err, 503, "unreachable", "nginx's workers may not "
                         "connect to its agent's socket: %s",
                         strerror(errno));
    }

    return 0;
}


static void
on_look_closed(uv_handle_t *handle)
{
    external_look  *look;

    look = handle->data;

    if (look->fd != -1) {
        close(look->fd);
    }

    free(look);
}


/* Takes it from the list; frees it once its handle is closed. */
static void
look_end(external_look *look)
{
    char             name[NAME_LEN];
    external_look  **p;

    for (p = &look->x->looks; *p != look; p = &(*p)->next) {
        /* void */
    }

    *p = look->next;

    if (look->linked) {
        slot_name(look->slot, name, true);
        (void) unlinkat(look->x->sockets, name, 0);
    }

    if (look->probe != NULL) {
        external_probe_stop(look->probe);
    }

    uv_close((uv_handle_t *) &look->timer, on_look_closed);
}


static void
look_answer(external_look *look, bool changed, error *err)
{
    driver_checked   cb;
    void            *data;

    cb = look->cb;
    data = look->data;
    look_end(look);
    cb(data, changed, err);
}


static void
on_look_probed(void *data, error *err)
{
    char            name[NAME_LEN], new[NAME_LEN];
    bool            changed;
    external_look  *look;

    look = data;
    changed = look->linked;

    if (err == NULL && look->fd != -1) {
        (void) socket_open_to_workers(look->x, look->fd, &err);
    }

    if (err == NULL && look->linked) {
        slot_name(look->slot, name, false);
        slot_name(look->slot, new, true);

        if (renameat(look->x->sockets, new, look->x->sockets, name) == -1) {
            error_set(&err, 503, "unreachable", "its agent's socket can't get "
                      "its name: %s", strerror(errno));

        } else {
            look->linked = false;
        }
    }

    look_answer(look, changed, err);
}


static void
on_look_timer(uv_timer_t *timer)
{
    error          *err;
    external_look  *look;

    look = timer->data;
    err = look->err;
    look->err = NULL;
    look_answer(look, false, err);
}


/* By the name that the workers will have. */
static int
look_unix(external_look *look, const endpoint *e, struct sockaddr_un *sun)
{
    char              name[NAME_LEN];
    external_driver  *x;

    x = look->x;

    look->fd = socket_open(x, e->name, &look->err);
    if (look->fd == -1) {
        return -1;
    }

    slot_name(look->slot, name, false);

    if (!name_is(x, name, look->fd)) {
        slot_name(look->slot, name, true);

        if (name_link(x, name, look->fd, &look->err) < 0) {
            return -1;
        }

        look->linked = true;
    }

    memset(sun, 0, sizeof(*sun));
    sun->sun_family = AF_UNIX;
    snprintf(sun->sun_path, sizeof(sun->sun_path), "%s/s/%s",
             x->host.run_dir, name);

    return 0;
}


static int
look_begin(external_look *look, const driver_spec *spec)
{
    int                      rc;
    socklen_t                len;
    struct sockaddr_storage  addr;

    if (endpoint_check(spec->endpoint, &look->x->host.rules, &look->err) < 0)
    {
        return -1;
    }

    if (spec->endpoint->kind == ENDPOINT_UNIX) {
        len = sizeof(struct sockaddr_un);
        rc = look_unix(look, spec->endpoint, (struct sockaddr_un *) &addr);

        if (rc < 0) {
            return -1;
        }

    } else {
        len = endpoint_sockaddr(spec->endpoint, &addr);
    }

    look->probe = external_probe_start(look->x->host.loop,
                                       (struct sockaddr *) &addr, len,
                                       spec->endpoint->kind == ENDPOINT_UNIX
                                       ? spec->endpoint->port : 0, spec->key,
                                       on_look_probed, look, &look->err);

    return look->probe != NULL ? 0 : -1;
}


static void
external_check(driver *d, const driver_spec *spec, driver_checked cb,
    void *data)
{
    external_look    *look;
    external_driver  *x;

    x = (external_driver *) d;

    look = calloc(1, sizeof(external_look));
    if (look == NULL) {
        abort();
    }

    look->x = x;
    look->slot = spec->slot;
    look->fd = -1;
    look->cb = cb;
    look->data = data;
    look->next = x->looks;
    x->looks = look;

    uv_timer_init(x->host.loop, &look->timer);
    look->timer.data = look;

    if (look_begin(look, spec) < 0) {
        uv_timer_start(&look->timer, on_look_timer, 0, 0);
    }
}


/* What is being looked at is of no interest any more: its name would come back
 * after it was taken away. */
static void
looks_cancel(external_driver *x, uint32_t slot, bool all)
{
    error           *err;
    external_look  **p;

    for (p = &x->looks; *p != NULL; /* void */) {

        if (!all && (*p)->slot != slot) {
            p = &(*p)->next;
            continue;
        }

        error_free((*p)->err);
        err = NULL;
        error_set(&err, 503, "unreachable", "nobody looks at it any more");
        look_answer(*p, false, err);

        /* The callback may have begun or ended others. */
        p = &x->looks;
    }
}


static void
on_later_closed(uv_handle_t *handle)
{
    free(handle->data);
}


static void
on_later(uv_timer_t *timer)
{
    driver_stats     stats;
    external_later  *later;

    later = timer->data;

    if (later->done != NULL) {
        later->done(later->data, NULL);

    } else {
        driver_stats_clear(&stats);
        later->measured(later->data, &stats, NULL);
    }

    uv_close((uv_handle_t *) timer, on_later_closed);
}


static void
answer_later(external_driver *x, driver_done done, driver_measured measured,
    void *data)
{
    external_later  *later;

    later = calloc(1, sizeof(external_later));
    if (later == NULL) {
        abort();
    }

    later->done = done;
    later->measured = measured;
    later->data = data;
    uv_timer_init(x->host.loop, &later->timer);
    later->timer.data = later;
    uv_timer_start(&later->timer, on_later, 0, 0);
}


/* It goes on living elsewhere; here it only loses its name. */
static void
external_forget(driver *d, uint32_t slot)
{
    char              name[NAME_LEN];
    external_driver  *x;

    x = (external_driver *) d;

    looks_cancel(x, slot, false);
    slot_name(slot, name, false);
    (void) unlinkat(x->sockets, name, 0);
}


static void
external_stop(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data)
{
    external_forget(d, slot);
    answer_later((external_driver *) d, cb, NULL, data);
}


static void
external_destroy(driver *d, uint32_t slot, driver_done cb, void *data)
{
    external_stop(d, slot, 0, cb, data);
}


/* Over an address there is nothing that could have been left; start_time is
 * the endpoint's tag. */
static bool
external_adopt(driver *d, uint32_t slot, const driver_handle *handle)
{
    char              name[NAME_LEN];
    struct stat       st;
    external_driver  *x;

    x = (external_driver *) d;
    slot_name(slot, name, false);

    if ((handle->start_time & ENDPOINT_TAG_KIND) != ENDPOINT_UNIX) {
        return true;
    }

    return fstatat(x->sockets, name, &st, AT_SYMLINK_NOFOLLOW) == 0
           && S_ISSOCK(st.st_mode);
}


/* Names of looks that a killed sandboxd was at.  Those of destroyed sandboxes
 * are swept with everything else that belongs to nobody. */
static void
external_sweep(driver *d, driver_slot_use use, void *data)
{
    int               fd;
    DIR              *dir;
    size_t            len;
    struct dirent    *entry;
    external_driver  *x;

    x = (external_driver *) d;
    fd = openat(x->sockets, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd != -1 ? fdopendir(fd) : NULL;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        len = strspn(entry->d_name, "0123456789abcdef");

        if (len == 8 && strcmp(entry->d_name + len, ".new") == 0) {
            (void) unlinkat(x->sockets, entry->d_name, 0);
        }
    }

    if (dir != NULL) {
        closedir(dir);

    } else if (fd != -1) {
        close(fd);
    }
}


static void
external_measure(driver *d, uint32_t slot, driver_measured cb, void *data)
{
    answer_later((external_driver *) d, NULL, cb, data);
}


static void
external_free(driver *d)
{
    external_driver  *x;

    x = (external_driver *) d;
    looks_cancel(x, 0, true);

    if (x->dir != -1) {
        close(x->dir);
    }

    close(x->sockets);
    free(x);
}


/* A hard link can't leave its mount, even within one file system. */
static int
mounts_check(int a, int b, const char *dir, error **err)
{
    struct statx  x, y;

    if (statx(a, "", AT_EMPTY_PATH, STATX_MNT_ID, &x) == 0
        && statx(b, "", AT_EMPTY_PATH, STATX_MNT_ID, &y) == 0
        && (x.stx_mask & y.stx_mask & STATX_MNT_ID)
        && x.stx_mnt_id != y.stx_mnt_id)
    {
        return error_set(err, 500, "host", "--external-dir %s is on another "
                         "mount than --run-dir: sandboxd makes hard links "
                         "from one to the other", dir);
    }

    return 0;
}


/* The names of our own sockets are not for others to register. */
static int
dir_check(external_driver *x, error **err)
{
    char    *dir;
    size_t   len, run;
    bool     inside, around;

    dir = realpath(x->host.dir, NULL);

    if (dir == NULL) {
        return error_set(err, 500, "host", "--external-dir %s: %s",
                         x->host.dir, strerror(errno));
    }

    len = strlen(dir);
    run = strlen(x->host.run_dir);

    around = len <= run && memcmp(dir, x->host.run_dir, len) == 0
             && (x->host.run_dir[len] == '/' || len == run || len == 1);
    inside = len > run + 1 && memcmp(dir, x->host.run_dir, run) == 0
             && (strncmp(dir + run, "/s", 3) == 0
                 || strncmp(dir + run, "/s/", 3) == 0
                 || strncmp(dir + run, "/r", 3) == 0
                 || strncmp(dir + run, "/r/", 3) == 0);
    free(dir);

    return !around && !inside ? 0
           : error_set(err, 500, "host", "--external-dir %s holds sandboxd's "
                       "own sockets", x->host.dir);
}


static int
dirs_open(external_driver *x, error **err)
{
    char  path[sizeof(((struct sockaddr_un *) 0)->sun_path)];

    snprintf(path, sizeof(path), "%s/s", x->host.run_dir);
    x->sockets = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (x->sockets == -1) {
        return error_set(err, 500, "host", "%s: %s", path, strerror(errno));
    }

    if (x->host.dir == NULL) {
        return 0;
    }

    if (dir_check(x, err) < 0) {
        return -1;
    }

    x->dir = open(x->host.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (x->dir == -1) {
        return error_set(err, 500, "host", "--external-dir %s: %s",
                         x->host.dir, strerror(errno));
    }

    return mounts_check(x->dir, x->sockets, x->host.dir, err);
}


driver *
driver_external_create(const external_host *host, error **err)
{
    external_driver  *x;

    x = calloc(1, sizeof(external_driver));
    if (x == NULL) {
        abort();
    }

    x->host = *host;
    x->host.rules.names = host->dir != NULL;
    x->dir = -1;
    x->sockets = -1;

    if (dirs_open(x, err) < 0) {
        if (x->sockets != -1) {
            close(x->sockets);
        }

        if (x->dir != -1) {
            close(x->dir);
        }

        free(x);
        return NULL;
    }

    x->d.name = "external";
    x->d.stop = external_stop;
    x->d.destroy = external_destroy;
    x->d.adopt = external_adopt;
    x->d.stats = external_measure;
    x->d.sweep = external_sweep;
    x->d.check = external_check;
    x->d.free = external_free;

    return &x->d;
}
