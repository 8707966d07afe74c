/*
 * Files of keys: API keys (_keys.c) and those that JWT are signed with
 * (_jwt.c).  _watch.c owns the files and when they are read; what is in them
 * is the loaders'.  A set may be replaced at any time between two events: who
 * needs something of it longer copies it.
 */

#ifndef _NGX_HTTP_SANDBOX_WATCH_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_WATCH_H_INCLUDED_


#include "ngx_http_sandbox.h"


#define NGX_HTTP_SANDBOX_WATCH_SIZE    (256 * 1024)


typedef struct ngx_http_sandbox_watch_s  ngx_http_sandbox_watch_t;

/*
 * Makes a set of a file's text, or logs with that level what is wrong with it
 * and returns NULL.  The text is wiped afterwards.
 */
typedef void *(*ngx_http_sandbox_watch_pt)(ngx_http_sandbox_watch_t *w,
    ngx_str_t *text, ngx_uint_t level, ngx_log_t *log);
typedef void (*ngx_http_sandbox_watch_free_pt)(void *set);


struct ngx_http_sandbox_watch_s {
    ngx_str_t                       path;
    char                           *base;      /* within dir */
    ngx_fd_t                        dir;
    ngx_http_sandbox_watch_pt       load;
    ngx_http_sandbox_watch_free_pt  unload;
    void                           *data;      /* the loader's */
    void                           *set;       /* what is in force */

    dev_t                           dev;       /* of what was read last */
    ino_t                           ino;
    off_t                           size;
    struct timespec                 mtime;
    struct timespec                 ctime;
    unsigned                        racy:1;
    unsigned                        failed:1;
    unsigned                        missing:1;
};


/* Reads a file and watches it; NULL: the error is in the log. */
ngx_http_sandbox_watch_t *ngx_http_sandbox_watch(ngx_conf_t *cf,
    ngx_str_t *path, ngx_http_sandbox_watch_pt load,
    ngx_http_sandbox_watch_free_pt unload, void *data);

/* In each worker. */
void ngx_http_sandbox_watch_start(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_SANDBOX_WATCH_H_INCLUDED_ */
