/*
 * Bytes on their way between the event loop and the thread of one archive: a
 * ring of fixed size.  Only the thread ever waits, and only for the loop; a
 * client that stalls holds up its own thread and nobody else.
 *
 * Either direction: the thread writes and the loop peeks and takes, or the
 * loop puts and the thread reads.  wake() is called on the thread when the
 * loop has something to do, without the lock held.
 *
 * Knows no libuv.
 */

#ifndef AGENT_ARCHIVE_RING_H
#define AGENT_ARCHIVE_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ARCHIVE_RING_SIZE   (1024 * 1024)
#define ARCHIVE_RING_BATCH  (64 * 1024)     /* the loop isn't woken for less */
#define ARCHIVE_RING_SPARE  (128 * 1024)    /* left free when it is "full" */

typedef struct {
    pthread_mutex_t   lock;
    pthread_cond_t    moved;
    char             *data;
    size_t            head;         /* of the first byte */
    size_t            len;
    size_t            lent;         /* of them, what the thread reads now */
    bool              ended;        /* nothing more will be put */
    bool              broken;       /* nobody is interested any more */
    bool              waited;       /* the loop wants to put more */
    void            (*wake)(void *arg);
    void             *arg;
} archive_ring;

/* -1: out of memory. */
int archive_ring_init(archive_ring *b, void (*wake)(void *arg), void *arg);
void archive_ring_free(archive_ring *b);


/* On the thread. */

/* Waits for room; -1 when broken (n = 0 only asks). */
int archive_ring_write(archive_ring *b, const void *p, size_t n);

/* Gives back what was read last and waits for more, at *p until the next call.
 * 0 at the end, -1 when broken. */
ssize_t archive_ring_read(archive_ring *b, const char **p);


/* On the loop; these never wait. */

/* What can be taken in one piece. */
size_t archive_ring_peek(archive_ring *b, const char **p);
void archive_ring_take(archive_ring *b, size_t n);

/* -1: it doesn't fit. */
int archive_ring_put(archive_ring *b, const char *p, size_t n);
void archive_ring_end(archive_ring *b);

/* True if no more should be put until wake(), which comes when half of the
 * ring is free. */
bool archive_ring_full(archive_ring *b);

/* Whoever waits, or would, gets -1 from now on. */
void archive_ring_break(archive_ring *b);

#endif
