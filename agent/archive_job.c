/* Archives on their way to and from clients; see archive_job.h. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/archive_job.h"
#include "agent/archive_ring.h"
#include "common/log.h"
#include "common/utf8.h"

#define ARCHIVE_STACK  (512 * 1024)
#define ARCHIVE_PIECE  (256 * 1024)

typedef struct {
    http_request      *r;           /* NULL: answered, or the client left */
    char              *dir;
    archive_exclude    exclude;
    archive_job_ok     ok;          /* NULL: it is sent */
    archive_job_fail   fail;
    archive_ring       ring;
    archive_result     result;      /* the thread's until it is done */
    uv_async_t         async;
    uv_thread_t        thread;
    int                done;        /* atomic */
    bool               begun;
    bool               stalled;
    bool               paused;
    bool               ended;       /* the body is complete */
    bool               closing;
    int64_t            received;
} archive_job;

static unsigned  archive_jobs;

static void archive_job_look(archive_job *j);


bool
archive_job_room(void)
{
    return archive_jobs < ARCHIVE_JOBS_MAX;
}


/* On the thread. */

static void
archive_job_wake(void *arg)
{
    archive_job  *j;

    j = arg;
    uv_async_send(&j->async);
}


static int
archive_job_sink(void *arg, const void *p, size_t n)
{
    return archive_ring_write(arg, p, n);
}


static ssize_t
archive_job_source(void *arg, const char **p)
{
    return archive_ring_read(arg, p);
}


static void
archive_job_thread(void *arg)
{
    archive_job  *j;

    j = arg;

    if (j->ok == NULL) {
        archive_pack(j->dir, &j->exclude, archive_job_sink, &j->ring,
                     &j->result);
    } else {
        archive_unpack(j->dir, archive_job_source, &j->ring, &j->result);
    }

    __atomic_store_n(&j->done, 1, __ATOMIC_SEQ_CST);
    uv_async_send(&j->async);
}


/* On the loop. */

static void
archive_job_closed(uv_handle_t *handle)
{
    archive_job  *j;

    j = handle->data;
    archive_ring_free(&j->ring);
    archive_exclude_free(&j->exclude);
    free(j->dir);
    free(j);
}


/* The request is over.  The thread may not be: it is told, and the job freed
 * when it has come to its end. */

static void
archive_job_over(archive_job *j)
{
    j->r = NULL;
    archive_ring_break(&j->ring);
    uv_async_send(&j->async);
}


static void
archive_job_left(http_request *r)
{
    log_debug("archive: the client left");
    archive_job_over(r->data);
}


static void
archive_job_failed(archive_job *j)
{
    char           text[sizeof(j->result.text)];
    http_request  *r;

    r = j->r;
    utf8_clean(text, sizeof(text), j->result.text, strlen(j->result.text));
    memcpy(j->result.text, text, sizeof(text));

    log_info("archive of %s: %s%s%s", j->dir, j->result.text,
             j->result.errnum ? ": " : "",
             j->result.errnum ? strerrordesc_np(j->result.errnum) : "");

    if (j->begun) {
        http_abort(r);              /* never a shorter archive */
    } else {
        j->fail(r, j->dir, &j->result, j->ok != NULL && j->received == 0);
    }

    archive_job_over(j);
}


/* At most what the ring holds, so that one quick archive leaves the loop to
 * the others. */

static void
archive_job_pump(archive_job *j, bool done)
{
    size_t       n, sum;
    const char  *p;

    if (done && j->result.outcome != TAR_DONE) {
        archive_job_failed(j);
        return;
    }

    for (sum = 0; !j->stalled && sum < ARCHIVE_RING_SIZE; sum += n) {
        n = archive_ring_peek(&j->ring, &p);

        if (n == 0) {
            if (done) {
                http_end(j->r);
                archive_job_over(j);
            }
            return;
        }

        if (!j->begun) {
            j->begun = true;
            http_begin(j->r, 200, j->r->bridge ? "application/octet-stream"
                                               : "application/x-tar", -1);

            if (j->r->method == METHOD_HEAD) {
                http_end(j->r);
                archive_job_over(j);
                return;
            }
        }

        if (n > ARCHIVE_PIECE) {
            n = ARCHIVE_PIECE;
        }

        j->stalled = http_write(j->r, p, n);
        archive_ring_take(&j->ring, n);
    }

    if (!j->stalled) {
        uv_async_send(&j->async);
    }
}


static void
archive_job_settle(archive_job *j, bool done)
{
    if (done && j->result.outcome != TAR_DONE) {
        archive_job_failed(j);
        return;
    }

    if (done && j->ended) {
        if (j->received == 0) {
            archive_job_failed(j);
        } else {
            j->ok(j->r, j->dir);
            archive_job_over(j);
        }
        return;
    }

    if (j->paused && (done || !archive_ring_full(&j->ring))) {
        j->paused = false;
        http_resume(j->r);
    }
}


static void
archive_job_look(archive_job *j)
{
    bool  done;

    if (j->closing) {
        return;
    }

    done = __atomic_load_n(&j->done, __ATOMIC_SEQ_CST);

    if (j->r != NULL) {
        if (j->ok == NULL) {
            archive_job_pump(j, done);
        } else {
            archive_job_settle(j, done);
        }
    }

    if (j->r == NULL && done) {
        j->closing = true;
        archive_jobs--;
        uv_thread_join(&j->thread);
        uv_close((uv_handle_t *) &j->async, archive_job_closed);
    }
}


static void
archive_job_async(uv_async_t *async)
{
    archive_job_look(async->data);
}


static void
archive_job_drained(http_request *r)
{
    archive_job  *j;

    j = r->data;
    j->stalled = false;
    archive_job_look(j);
}


static void
archive_job_data(http_request *r, const char *p, size_t n)
{
    archive_job  *j;

    j = r->data;
    j->received += (int64_t) n;

    /* What follows the end of the archive is padding. */

    if (__atomic_load_n(&j->done, __ATOMIC_SEQ_CST)) {
        archive_job_look(j);
        return;
    }

    if (archive_ring_put(&j->ring, p, n) != 0) {
        abort();                    /* there is room for what comes at once */
    }

    if (!j->paused && archive_ring_full(&j->ring)) {
        j->paused = true;
        http_pause(r);
    }
}


static void
archive_job_end(http_request *r, int ok)
{
    archive_job  *j;

    j = r->data;

    if (!ok) {
        archive_job_left(r);
        return;
    }

    j->ended = true;
    archive_ring_end(&j->ring);
    archive_job_look(j);
}


/* Signals are the loop's. */

static int
archive_job_start(archive_job *j)
{
    int                  rc;
    sigset_t             all, old;
    uv_thread_options_t  options;

    options.flags = UV_THREAD_HAS_STACK_SIZE;
    options.stack_size = ARCHIVE_STACK;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = uv_thread_create_ex(&j->thread, &options, archive_job_thread, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    return rc;
}


static void
archive_job_run(http_request *r, char *dir, archive_exclude *exclude,
    archive_job_ok ok, archive_job_fail fail)
{
    int           rc;
    archive_job  *j;

    j = calloc(1, sizeof(archive_job));
    if (j == NULL) {
        abort();
    }

    j->r = r;
    j->dir = dir;
    j->ok = ok;
    j->fail = fail;

    if (exclude != NULL) {
        j->exclude = *exclude;
    }

    archive_jobs++;
    uv_async_init(agent.loop, &j->async, archive_job_async);
    j->async.data = j;

    rc = archive_ring_init(&j->ring, archive_job_wake, j);
    if (rc == 0) {
        rc = archive_job_start(j);
    }

    if (rc != 0) {
        errno = ENOMEM;
        archive_fail(&j->result, TAR_FAILED, "no thread can be started");
        fail(r, dir, &j->result, false);
        archive_jobs--;
        uv_close((uv_handle_t *) &j->async, archive_job_closed);
        return;
    }

    r->data = j;
    http_on_close(r, archive_job_left);

    if (ok == NULL) {
        http_on_drain(r, archive_job_drained);
    } else {
        http_read_stream(r, archive_job_data, archive_job_end);
    }
}


void
archive_job_send(http_request *r, char *dir, archive_exclude *exclude,
    archive_job_fail fail)
{
    archive_job_run(r, dir, exclude, NULL, fail);
}


void
archive_job_receive(http_request *r, char *dir, archive_job_ok ok,
    archive_job_fail fail)
{
    archive_job_run(r, dir, NULL, ok, fail);
}
