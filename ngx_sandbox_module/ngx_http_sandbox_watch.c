/*
 * Files of keys that change while nginx runs.  The master reads them when it
 * reads the configuration; after that each worker looks every second whether
 * there is another file, and takes it if it is whole and without a fault.  Else
 * it keeps what it has, and says once what is wrong.
 *
 * The directory is held open by the master, so that a worker needs no right to
 * the directories above it, only to the one that the file is in.
 */


#include "ngx_http_sandbox_watch.h"


#define NGX_HTTP_SANDBOX_WATCH_TICK    1000
#define NGX_HTTP_SANDBOX_WATCH_MAX     64
#define NGX_HTTP_SANDBOX_WATCH_RACY    2       /* seconds */


static ngx_int_t ngx_http_sandbox_watch_open(ngx_conf_t *cf,
    ngx_http_sandbox_watch_t *w);
static ngx_int_t ngx_http_sandbox_watch_read(ngx_http_sandbox_watch_t *w,
    ngx_uint_t level, ngx_log_t *log);
static ngx_int_t ngx_http_sandbox_watch_text(ngx_http_sandbox_watch_t *w,
    ngx_fd_t fd, ngx_str_t *text, ngx_uint_t level, ngx_log_t *log);
static void ngx_http_sandbox_watch_see(ngx_http_sandbox_watch_t *w,
    struct stat *st);
static void ngx_http_sandbox_watch_tick(ngx_event_t *ev);
static void ngx_http_sandbox_watch_cleanup(void *data);


static ngx_event_t  ngx_http_sandbox_watch_event;


ngx_http_sandbox_watch_t *
ngx_http_sandbox_watch(ngx_conf_t *cf, ngx_str_t *path,
    ngx_http_sandbox_watch_pt load, ngx_http_sandbox_watch_free_pt unload,
    void *data)
{
    ngx_pool_cleanup_t             *cln;
    ngx_http_sandbox_watch_t       *w, **slot;
    ngx_http_sandbox_main_conf_t   *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sandbox_module);

    if (smcf->watches == NULL) {
        smcf->watches = ngx_array_create(cf->pool, 4,
                                         sizeof(ngx_http_sandbox_watch_t *));
        if (smcf->watches == NULL) {
            return NULL;
        }
    }

    if (smcf->watches->nelts == NGX_HTTP_SANDBOX_WATCH_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d files of keys",
                           NGX_HTTP_SANDBOX_WATCH_MAX);
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_http_sandbox_watch_t));
    slot = ngx_array_push(smcf->watches);

    if (cln == NULL || slot == NULL) {
        return NULL;
    }

    w = cln->data;
    ngx_memzero(w, sizeof(ngx_http_sandbox_watch_t));

    w->path = *path;
    w->dir = NGX_INVALID_FILE;
    w->load = load;
    w->unload = unload;
    w->data = data;

    cln->handler = ngx_http_sandbox_watch_cleanup;
    *slot = w;

    if (ngx_conf_full_name(cf->cycle, &w->path, 1) != NGX_OK
        || ngx_http_sandbox_watch_open(cf, w) != NGX_OK
        || ngx_http_sandbox_watch_read(w, NGX_LOG_EMERG, cf->log) != NGX_OK)
    {
        return NULL;
    }

    return w;
}


static ngx_int_t
ngx_http_sandbox_watch_open(ngx_conf_t *cf, ngx_http_sandbox_watch_t *w)
{
    u_char  *dir, *p;

    for (p = w->path.data + w->path.len; p[-1] != '/'; p--) { /* void */ }

    w->base = (char *) p;

    dir = ngx_pnalloc(cf->temp_pool, p - w->path.data + 1);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(dir, w->path.data, p - w->path.data + 1);

    w->dir = open((char *) dir, O_PATH|O_DIRECTORY|O_CLOEXEC);

    if (w->dir == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", &w->path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_sandbox_watch_cleanup(void *data)
{
    ngx_http_sandbox_watch_t *w = data;

    if (w->dir != NGX_INVALID_FILE) {
        (void) close(w->dir);
    }

    if (w->set) {
        w->unload(w->set);
    }
}


/* Reads the file and takes what is in it; NGX_ERROR: everything stays. */

static ngx_int_t
ngx_http_sandbox_watch_read(ngx_http_sandbox_watch_t *w, ngx_uint_t level,
    ngx_log_t *log)
{
    void         *set;
    ngx_fd_t      fd;
    ngx_str_t     text;
    ngx_int_t     rc;
    struct stat   st;

    fd = openat(w->dir, w->base, O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(level, log, ngx_errno,
                      ngx_open_file_n " \"%V\" failed", &w->path);
        return NGX_ERROR;
    }

    ngx_str_null(&text);
    rc = NGX_ERROR;

    if (fstat(fd, &st) == -1) {
        ngx_log_error(level, log, ngx_errno, ngx_fd_info_n " \"%V\" failed",
                      &w->path);
        goto done;
    }

    ngx_http_sandbox_watch_see(w, &st);

    if (!S_ISREG(st.st_mode) || st.st_size > NGX_HTTP_SANDBOX_WATCH_SIZE) {
        ngx_log_error(level, log, 0, "\"%V\" is no file of keys: it has to be "
                      "a regular file of at most %d bytes", &w->path,
                      NGX_HTTP_SANDBOX_WATCH_SIZE);
        goto done;
    }

    if (ngx_http_sandbox_watch_text(w, fd, &text, level, log) != NGX_OK) {
        goto done;
    }

    set = w->load(w, &text, level, log);

    if (set) {
        if (w->set) {
            w->unload(w->set);
        }

        w->set = set;
        rc = NGX_OK;
    }

done:

    if (text.data) {
        ngx_explicit_memzero(text.data, text.len);
        ngx_free(text.data);
    }

    if (close(fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &w->path);
    }

    return rc;
}


static ngx_int_t
ngx_http_sandbox_watch_text(ngx_http_sandbox_watch_t *w, ngx_fd_t fd,
    ngx_str_t *text, ngx_uint_t level, ngx_log_t *log)
{
    ssize_t  n;

    text->data = ngx_alloc(NGX_HTTP_SANDBOX_WATCH_SIZE + 1, log);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    /* it may grow while it is read */

    while (text->len <= NGX_HTTP_SANDBOX_WATCH_SIZE) {

        n = ngx_read_fd(fd, text->data + text->len,
                        NGX_HTTP_SANDBOX_WATCH_SIZE + 1 - text->len);

        if (n == -1) {
            ngx_log_error(level, log, ngx_errno,
                          ngx_read_fd_n " \"%V\" failed", &w->path);
            return NGX_ERROR;
        }

        if (n == 0) {
            return NGX_OK;
        }

        text->len += n;
    }

    ngx_log_error(level, log, 0, "\"%V\" has more than %d bytes", &w->path,
                  NGX_HTTP_SANDBOX_WATCH_SIZE);

    return NGX_ERROR;
}


/*
 * A file that has changed within the last moments may do so again without
 * another look to it: the clock of file systems is coarse.
 */

static void
ngx_http_sandbox_watch_see(ngx_http_sandbox_watch_t *w, struct stat *st)
{
    w->racy = ngx_abs(time(NULL) - st->st_ctim.tv_sec)
              < NGX_HTTP_SANDBOX_WATCH_RACY;

    w->dev = st->st_dev;
    w->ino = st->st_ino;
    w->size = st->st_size;
    w->mtime = st->st_mtim;
    w->ctime = st->st_ctim;
}


static ngx_uint_t
ngx_http_sandbox_watch_changed(ngx_http_sandbox_watch_t *w, struct stat *st)
{
    return w->dev != st->st_dev || w->ino != st->st_ino
           || w->size != st->st_size
           || ngx_memcmp(&w->mtime, &st->st_mtim, sizeof(w->mtime)) != 0
           || ngx_memcmp(&w->ctime, &st->st_ctim, sizeof(w->ctime)) != 0;
}


static void
ngx_http_sandbox_watch_one(ngx_http_sandbox_watch_t *w, ngx_log_t *log)
{
    ngx_uint_t   racy, level;
    struct stat  st;

    if (fstatat(w->dir, w->base, &st, 0) == -1) {

        if (!w->missing) {
            w->missing = 1;
            ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                          "the keys of \"%V\" stay as they were: stat() "
                          "failed", &w->path);
        }

        return;
    }

    /* another look at what was read only just changes nothing, as a rule */

    racy = !ngx_http_sandbox_watch_changed(w, &st);

    if (racy && !w->racy && !w->missing) {
        return;
    }

    w->missing = 0;
    level = racy ? NGX_LOG_DEBUG : NGX_LOG_ERR;

    /* what can't be read is tried again when it looks otherwise */

    ngx_http_sandbox_watch_see(w, &st);

    if (ngx_http_sandbox_watch_read(w, level, log) == NGX_OK) {

        if (w->failed || !racy) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "the keys of \"%V\" are read anew", &w->path);
        }

        w->failed = 0;
        return;
    }

    if (!racy) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "the keys of \"%V\" stay as they were", &w->path);
        w->failed = 1;
    }
}


static void
ngx_http_sandbox_watch_tick(ngx_event_t *ev)
{
    ngx_uint_t                      i;
    ngx_http_sandbox_watch_t      **w;
    ngx_http_sandbox_main_conf_t   *smcf;

    smcf = ev->data;
    w = smcf->watches->elts;

    for (i = 0; i < smcf->watches->nelts; i++) {
        ngx_http_sandbox_watch_one(w[i], ev->log);
    }

    ngx_add_timer(ev, NGX_HTTP_SANDBOX_WATCH_TICK);
}


void
ngx_http_sandbox_watch_start(ngx_cycle_t *cycle)
{
    ngx_event_t                   *ev;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sandbox_module);
    ev = &ngx_http_sandbox_watch_event;

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (smcf->watches == NULL) {
        return;
    }

    ev->handler = ngx_http_sandbox_watch_tick;
    ev->data = smcf;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_SANDBOX_WATCH_TICK);
}
