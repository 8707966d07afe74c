/* sources: agent/archive_ring.c */
/* libs: -lpthread */
/* Bytes between the loop and a thread: none is lost, nobody waits for ever. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/archive_ring.h"
#include "t/unit/tap.h"

#define TOTAL  (20 * 1024 * 1024)

static int  pipe_fds[2];            /* what uv_async_send() is to the agent */


static void
wake(void *arg)
{
    (void) !write(pipe_fds[1], "x", 1);
}


static unsigned char
byte_at(size_t i)
{
    return (unsigned char) (i * 31 + i / 251 + i / 65536);
}


static void *
writer(void *arg)
{
    char    piece[5000];
    size_t  i, k, n;

    for (i = 0; i < TOTAL; i += n) {
        n = 1 + (i * 7 + 11) % sizeof(piece);
        if (n > TOTAL - i) {
            n = TOTAL - i;
        }
        for (k = 0; k < n; k++) {
            piece[k] = (char) byte_at(i + k);
        }
        if (archive_ring_write(arg, piece, n) != 0) {
            return (void *) 1;
        }
    }

    wake(NULL);

    return NULL;
}


static void *
reader(void *arg)
{
    ssize_t       n, k;
    uintptr_t     i;
    const char   *p;

    for (i = 0; ; i += (uintptr_t) n) {
        n = archive_ring_read(arg, &p);
        if (n < 0) {
            return (void *) UINTPTR_MAX;
        }
        if (n == 0) {
            return (void *) i;
        }
        for (k = 0; k < n; k++) {
            if ((unsigned char) p[k] != byte_at(i + (size_t) k)) {
                return (void *) 1;
            }
        }
    }
}


static void
test_from_thread(void)
{
    int            right;
    char           c;
    void          *rc;
    size_t         i, k, n;
    pthread_t      thread;
    const char    *p;
    archive_ring   b;

    archive_ring_init(&b, wake, NULL);
    pthread_create(&thread, NULL, writer, &b);

    for (i = 0, right = 1; i < TOTAL; ) {
        n = archive_ring_peek(&b, &p);
        if (n == 0) {
            (void) !read(pipe_fds[0], &c, 1);
            continue;
        }
        for (k = 0; k < n; k++) {
            right &= (unsigned char) p[k] == byte_at(i + k);
        }
        archive_ring_take(&b, n);
        i += n;
    }

    pthread_join(thread, &rc);
    ok(right && rc == NULL && i == TOTAL, "from the thread: all bytes");
    archive_ring_free(&b);
}


static void
test_to_thread(void)
{
    char           c, piece[65536];
    void          *rc;
    size_t         i, k, n, waits;
    pthread_t      thread;
    archive_ring   b;

    archive_ring_init(&b, wake, NULL);
    pthread_create(&thread, NULL, reader, &b);

    for (i = 0, waits = 0; i < TOTAL; i += n) {
        n = 1 + (i * 13 + 5) % sizeof(piece);
        if (n > TOTAL - i) {
            n = TOTAL - i;
        }
        for (k = 0; k < n; k++) {
            piece[k] = (char) byte_at(i + k);
        }
        if (archive_ring_put(&b, piece, n) != 0) {
            break;
        }
        while (archive_ring_full(&b)) {
            waits++;
            (void) !read(pipe_fds[0], &c, 1);
        }
    }

    archive_ring_end(&b);
    pthread_join(thread, &rc);
    ok(i == TOTAL && (uintptr_t) rc == TOTAL, "to the thread: all bytes");
    archive_ring_free(&b);
}


static void
test_limits(void)
{
    char          *piece;
    void          *rc;
    size_t         n;
    pthread_t      thread;
    const char    *p;
    archive_ring   b;

    piece = calloc(1, 65536);

    archive_ring_init(&b, wake, NULL);
    for (n = 0; !archive_ring_full(&b); n += 65536) {
        archive_ring_put(&b, piece, 65536);
    }
    ok(n <= ARCHIVE_RING_SIZE - 65536, "there is room for one piece more");
    ok(archive_ring_put(&b, piece, 65536) == 0, "which fits");
    while (archive_ring_put(&b, piece, 65536) == 0) { /* void */ }
    ok(archive_ring_peek(&b, &p) == ARCHIVE_RING_SIZE, "and no more than that");
    ok(archive_ring_write(&b, "", 0) == 0, "asking doesn't wait");
    archive_ring_break(&b);
    ok(archive_ring_write(&b, "", 0) == -1
       && archive_ring_write(&b, piece, 1) == -1
       && archive_ring_read(&b, &p) == -1, "broken");
    archive_ring_free(&b);

    archive_ring_init(&b, wake, NULL);
    pthread_create(&thread, NULL, writer, &b);
    archive_ring_break(&b);
    pthread_join(thread, &rc);
    ok(rc == (void *) 1, "a writer that waits is told");
    archive_ring_free(&b);

    archive_ring_init(&b, wake, NULL);
    pthread_create(&thread, NULL, reader, &b);
    archive_ring_break(&b);
    pthread_join(thread, &rc);
    ok(rc == (void *) UINTPTR_MAX, "a reader too");
    archive_ring_free(&b);

    free(piece);
}


int
main(void)
{
    if (pipe(pipe_fds) != 0) {
        return 1;
    }

    test_from_thread();
    test_to_thread();
    test_limits();

    return done_testing();
}
