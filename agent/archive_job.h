/*
 * Archives on their way to and from clients: a thread of its own for each, so
 * that neither a slow disk nor a slow client holds up anything else, and a
 * ring between it and the loop, so that none takes more memory than that.
 */

#ifndef AGENT_ARCHIVE_JOB_H
#define AGENT_ARCHIVE_JOB_H

#include "agent/archive_tar.h"
#include "agent/http.h"

#define ARCHIVE_JOBS_MAX  4

/* Answers the request with the error that the result is; empty tells that
 * there was no body. */
typedef void (*archive_job_fail)(http_request *r, const char *dir,
    const archive_result *result, bool empty);

/* Answers with success. */
typedef void (*archive_job_ok)(http_request *r, const char *dir);

/* True if one more may be started. */
bool archive_job_room(void);

/* Both take dir (malloc'ed) over, and the patterns. */
void archive_job_send(http_request *r, char *dir, archive_exclude *exclude,
    archive_job_fail fail);
void archive_job_receive(http_request *r, char *dir, archive_job_ok ok,
    archive_job_fail fail);

#endif
