/* Bytes between the loop and an archive's thread; see archive_ring.h. */

#include <string.h>
#include <sys/mman.h>

#include "agent/archive_ring.h"


/* Mapped, so that the memory is gone when the archive is. */

int
archive_ring_init(archive_ring *b, void (*wake)(void *arg), void *arg)
{
    void  *p;

    memset(b, 0, sizeof(archive_ring));

    p = mmap(NULL, ARCHIVE_RING_SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return -1;
    }

    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->moved, NULL);
    b->data = p;
    b->wake = wake;
    b->arg = arg;

    return 0;
}


void
archive_ring_free(archive_ring *b)
{
    if (b->data != NULL) {
        munmap(b->data, ARCHIVE_RING_SIZE);
        pthread_cond_destroy(&b->moved);
        pthread_mutex_destroy(&b->lock);
        b->data = NULL;
    }
}


/* With the lock held and room for n bytes. */

static void
archive_ring_append(archive_ring *b, const char *p, size_t n)
{
    size_t  tail, first;

    if (n == 0) {
        return;
    }

    tail = (b->head + b->len) % ARCHIVE_RING_SIZE;
    first = ARCHIVE_RING_SIZE - tail;

    if (first > n) {
        first = n;
    }

    memcpy(b->data + tail, p, first);
    memcpy(b->data, p + first, n - first);
    b->len += n;
}


static size_t
archive_ring_contiguous(const archive_ring *b)
{
    return b->len < ARCHIVE_RING_SIZE - b->head ? b->len
                                                : ARCHIVE_RING_SIZE - b->head;
}


static void
archive_ring_drop(archive_ring *b, size_t n)
{
    b->head = (b->head + n) % ARCHIVE_RING_SIZE;
    b->len -= n;
}


int
archive_ring_write(archive_ring *b, const void *p, size_t n)
{
    bool         tell;
    size_t       room;
    const char  *from;

    from = p;

    do {
        pthread_mutex_lock(&b->lock);

        while (n > 0 && b->len == ARCHIVE_RING_SIZE && !b->broken) {
            pthread_cond_wait(&b->moved, &b->lock);
        }

        if (b->broken) {
            pthread_mutex_unlock(&b->lock);
            return -1;
        }

        room = ARCHIVE_RING_SIZE - b->len;
        if (room > n) {
            room = n;
        }

        archive_ring_append(b, from, room);
        tell = b->len >= ARCHIVE_RING_BATCH;

        pthread_mutex_unlock(&b->lock);

        if (tell) {
            b->wake(b->arg);
        }

        from += room;
        n -= room;

    } while (n > 0);

    return 0;
}


ssize_t
archive_ring_read(archive_ring *b, const char **p)
{
    bool    tell;
    size_t  n;

    pthread_mutex_lock(&b->lock);

    archive_ring_drop(b, b->lent);
    b->lent = 0;

    tell = b->waited && b->len <= ARCHIVE_RING_SIZE / 2;
    if (tell) {
        b->waited = false;
        pthread_mutex_unlock(&b->lock);
        b->wake(b->arg);
        pthread_mutex_lock(&b->lock);
    }

    while (b->len == 0 && !b->ended && !b->broken) {
        pthread_cond_wait(&b->moved, &b->lock);
    }

    if (b->broken) {
        pthread_mutex_unlock(&b->lock);
        return -1;
    }

    n = archive_ring_contiguous(b);
    if (n > ARCHIVE_RING_SIZE / 4) {
        n = ARCHIVE_RING_SIZE / 4;
    }

    b->lent = n;
    *p = b->data + b->head;

    pthread_mutex_unlock(&b->lock);

    return (ssize_t) n;
}


size_t
archive_ring_peek(archive_ring *b, const char **p)
{
    size_t  n;

    pthread_mutex_lock(&b->lock);
    n = archive_ring_contiguous(b);
    *p = b->data + b->head;
    pthread_mutex_unlock(&b->lock);

    return n;
}


void
archive_ring_take(archive_ring *b, size_t n)
{
    pthread_mutex_lock(&b->lock);
    archive_ring_drop(b, n);
    pthread_cond_signal(&b->moved);
    pthread_mutex_unlock(&b->lock);
}


int
archive_ring_put(archive_ring *b, const char *p, size_t n)
{
    int  rc;

    rc = -1;
    pthread_mutex_lock(&b->lock);

    if (n <= ARCHIVE_RING_SIZE - b->len) {
        archive_ring_append(b, p, n);
        pthread_cond_signal(&b->moved);
        rc = 0;
    }

    pthread_mutex_unlock(&b->lock);

    return rc;
}


void
archive_ring_end(archive_ring *b)
{
    pthread_mutex_lock(&b->lock);
    b->ended = true;
    pthread_cond_signal(&b->moved);
    pthread_mutex_unlock(&b->lock);
}


bool
archive_ring_full(archive_ring *b)
{
    bool  full;

    pthread_mutex_lock(&b->lock);
    full = b->len > ARCHIVE_RING_SIZE - ARCHIVE_RING_SPARE;
    b->waited = full;
    pthread_mutex_unlock(&b->lock);

    return full;
}


void
archive_ring_break(archive_ring *b)
{
    pthread_mutex_lock(&b->lock);
    b->broken = true;
    pthread_cond_signal(&b->moved);
    pthread_mutex_unlock(&b->lock);
}
