/* Shared by net.c and net_*.c; the contract is net.h. */

#ifndef SANDBOXD_NET_PART_H
#define SANDBOXD_NET_PART_H

#include <pthread.h>

#include "sandboxd/net.h"
#include "sandboxd/net_filter.h"

#define BUCKETS     1024


typedef struct member  member;
typedef struct job     job;

/* A sandbox with a network. */
struct member {
    member         *next;
    net            *n;
    uint32_t        slot;
    driver_handle   handle;
    bool            machine;
    uint32_t        address;
    net_policy      asked;          /* with names */
    net_answer      answer;         /* theirs */
    bool            leaving;        /* its slot may have another by now */
    bool            asking;         /* for its names, */
    bool            again;          /* which are others by now */
    bool            answered;
    unsigned        jobs;
    uint64_t        refresh_at;
    net_done        cb;             /* of the attach under way */
    void           *data;

    /* Of the thread, while there are jobs. */
    bool            up;             /* it has a link, */
    bool            filtered;       /* and is in the sets, with this: */
    net_policy      in_force;
    member         *filtered_next;
    member        **filtered_prev;
};

typedef enum {
    JOB_APPLY,
    JOB_DETACH,
    JOB_RENEW                       /* the rules of all, first of all */
} job_kind;

struct job {
    job         *next;
    job_kind     kind;
    member      *m;
    net_policy   policy;
    error       *err;
};

struct net {
    uv_loop_t        *loop;
    const net_rules  *rules;
    net_filter       *filter;
    int               lock;
    uint64_t          refresh_ms;
    net_changed       changed;
    void             *data;

    member           *members[BUCKETS];
    unsigned          count;
    unsigned char    *used;         /* bits: addresses of the pool */
    uint32_t          next;

    uv_async_t        async;
    uv_timer_t        tick;
    pthread_t         thread;
    pthread_mutex_t   mutex;
    pthread_cond_t    cond;
    job              *queue;        /* with the mutex, */
    job             **queue_end;
    job              *done;
    job             **done_end;
    bool              ending;

    member           *filtered;     /* of the thread: all in the sets */
    size_t            filtered_count;

    int               watch_fd;     /* what is done to the rules */
    uv_poll_t         watch;
    uint32_t          watch_own;    /* our own port; 0: not known yet */
    bool              watch_seen;   /* somebody else has changed ours */
    bool              renewing;
    bool              renew_again;
};


/* Nobody else has this namespace's sandboxes, as long as it is open; it
 * forwards what isn't its own. */
int net_host_lock(error **err);
int net_host_forwards(error **err);

/* The thread; data is the net. */
void *net_jobs_run(void *data);

/* policy: of JOB_APPLY; err: what JOB_DETACH is told to have come to. */
void net_jobs_add(member *m, job_kind kind, const net_policy *policy,
    error *err);
void net_jobs_renew(net *n);

/* Before the rules are made for the first time; and what is asked for then, by
 * net_jobs_renew(), whenever somebody else changes them. */
int net_watch_open(net *n, error **err);
void net_watch_begin(net *n);
void net_watch_close(net *n);

#endif
