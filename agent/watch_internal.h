/*
 * What the files of a watch share: watch.c makes and ends watches and has
 * their clients, watch_pending.c collects what happens and tells it,
 * watch_frame.c writes it, watch_check.c answers who only asks whether
 * something has.  Everybody else sees agent/watch.h only.
 */

#ifndef AGENT_WATCH_INTERNAL_H
#define AGENT_WATCH_INTERNAL_H

#include <sys/queue.h>

#include "agent/watch.h"
#include "common/buffer.h"

#define WATCH_BUCKETS  256

typedef struct watch         watch;
typedef struct watch_client  watch_client;
typedef struct watch_event   watch_event;

struct watch_event {
    TAILQ_ENTRY(watch_event)  link;
    watch_event   *next;                    /* of the same hash */
    unsigned       type;
    bool           is_dir;
    uint64_t       time;                    /* ms since 1970 */
    size_t         len;
    char           path[];                  /* below the tree's */
};

struct watch_client {
    LIST_ENTRY(watch_client)  link;
    watch         *w;
    http_request  *r;
    bool           check;
    bool           begun;                   /* the stream */
    bool           full;                    /* reads too slowly */
    bool           lost;                    /* and has missed something */
    char          *since;
    uint64_t       asked;
};

struct watch {
    TAILQ_ENTRY(watch)              link;
    watch_tree                      tree;
    char                           *key;
    char                           *path;
    char                            id[64];
    uint64_t                        cursor;
    uint64_t                        setup_until;
    uint64_t                        keep_until;     /* for checks */
    uint64_t                        flush_at;       /* 0: nothing to tell */
    LIST_HEAD(, watch_client)       clients;
    TAILQ_HEAD(, watch_event)       events;         /* not told yet */
    watch_event                    *hash[WATCH_BUCKETS];
    size_t                          event_count, event_bytes;
};

typedef TAILQ_HEAD(, watch)  watch_list;

extern watch_list  watches;

/* Frames. */
void watch_put_text(buffer *b, const char *p, size_t n);
void watch_put_event(buffer *b, const watch *w, const watch_event *e);
void watch_put_lost(buffer *b);

/* To one client; what doesn't fit is lost, and said to be. */
void watch_send(watch_client *c, const buffer *b);
void watch_drained(http_request *r);

/* What has happened is told now, or forgotten. */
void watch_flush(watch *w);
void watch_pending_clear(watch *w);

/* With the first watch, and when there is none any more. */
void watch_pending_init(void);
void watch_pending_stop(void);

/* Was there a watch of this number, begun at this time? */
bool watch_known(unsigned long long n, unsigned long long ms);

void watch_client_free(watch_client *c);

/* Answers a check, or all that began at `asked` or before. */
void watch_check_answer(watch_client *c);
void watch_checks_answer(uint64_t asked);

#endif
