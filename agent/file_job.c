/* Blocking work on the thread pool; see file_job.h. */

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_job.h"
#include "common/log.h"


static void
file_job_closed(http_request *r)
{
    log_debug("files: the client left");
    file_job_end(r->data);
}


void
file_job_init(file_job *job, http_request *r, file_job_step dispose)
{
    job->work.data = job;
    job->r = r;
    job->dispose = dispose;
    job->running = false;

    r->data = job;
    http_on_close(r, file_job_closed);
}


static void
file_job_work(uv_work_t *work)
{
    file_job  *job;

    job = work->data;
    job->run(job);
}


static void
file_job_after(uv_work_t *work, int status)
{
    file_job  *job;

    job = work->data;
    job->running = false;

    if (job->r == NULL) {
        job->dispose(job);
        return;
    }

    job->done(job);
}


void
file_job_start(file_job *job, file_job_step run, file_job_step done)
{
    job->run = run;
    job->done = done;
    job->running = true;

    if (uv_queue_work(agent.loop, &job->work, file_job_work, file_job_after)
        != 0)
    {
        abort();                    /* only for a NULL callback */
    }
}


void
file_job_end(file_job *job)
{
    job->r = NULL;

    if (!job->running) {
        job->dispose(job);
    }
}


static void
file_job_close_work(uv_work_t *work)
{
    close((int) (intptr_t) work->data);
}


static void
file_job_close_after(uv_work_t *work, int status)
{
    free(work);
}


void
file_job_close(int fd)
{
    uv_work_t  *work;

    if (fd == -1) {
        return;
    }

    work = malloc(sizeof(uv_work_t));
    if (work == NULL) {
        abort();
    }

    work->data = (void *) (intptr_t) fd;

    if (uv_queue_work(agent.loop, work, file_job_close_work,
                      file_job_close_after) != 0)
    {
        abort();                    /* only for a NULL callback */
    }
}
