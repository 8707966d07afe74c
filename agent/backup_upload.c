/*
 * /api/backup/upload-parts: pieces of an archive to presigned URLs, each by a
 * curl of the image, four at one time.  The URL, which is all that one needs to
 * write there, is in curl's configuration on an inherited descriptor; the
 * bytes come through a pipe from tail and head, so no piece is copied first.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/backup.h"
#include "agent/backup_part.h"
#include "agent/redact.h"
#include "common/log.h"

#define UPLOAD_PARTS_MAX     10000
#define UPLOAD_AT_ONCE       4      /* of one request */
#define UPLOAD_JOBS_MAX      4      /* requests */
#define UPLOAD_ATTEMPTS      3
#define UPLOAD_ATTEMPT_MS    (31 * 60 * 1000)   /* curl's own limit is less */
#define UPLOAD_UNTRUSTED     60     /* curl's exit code for a certificate */
#define UPLOAD_OUTPUT_MAX    (256 * 1024)

typedef struct upload_job upload_job;

typedef struct {
    upload_job  *of;
    const char  *url;
    json_int_t   number;
    uint64_t     offset, size;
    int          attempts;
    program     *p;                 /* running */
    char         etag[BACKUP_ETAG_MAX + 1];
} upload_part;

struct upload_job {
    backup_job    job;              /* first */
    int           fd;               /* of the archive; -1 */
    upload_part  *parts;
    size_t        count, begun;
    unsigned      running;
};

static unsigned  upload_jobs;


static void upload_go(upload_job *c);


static void
upload_dispose(backup_job *job)
{
    upload_job  *c;

    c = (upload_job *) job;

    if (c->fd != -1) {
        close(c->fd);
    }
    free(c->parts);
    free(c);
    upload_jobs--;
}


static void
upload_end(upload_job *c)
{
    size_t   i;
    json_t  *list;

    list = json_array();

    for (i = 0; i < c->count; i++) {
        json_array_append_new(list, json_pack("{s:I, s:o}", "partNumber",
                                              c->parts[i].number, "etag",
                                              http_text(c->parts[i].etag)));
    }

    c->job.answer = json_pack("{s:b, s:o}", "success", 1, "parts", list);
    backup_job_end(&c->job);
}


static void
upload_cancel(upload_job *c)
{
    size_t  i;

    for (i = 0; i < c->begun; i++) {
        if (c->parts[i].p != NULL) {
            program_cancel(c->parts[i].p);
        }
    }
}


/* An attempt has ended.  Returns 1 if there shall be another one. */

static int
upload_look(upload_part *part, program *p)
{
    int          status;
    buffer       heads, words, shown;
    const char  *secrets[2];

    memset(&heads, 0, sizeof(heads));
    memset(&words, 0, sizeof(words));
    memset(&shown, 0, sizeof(shown));

    program_output(p, &p->of->out, &heads);
    status = backup_part_answer(buffer_bytes(&heads), heads.len, part->etag);
    buffer_free(&heads);

    if (p->of->failure == NULL && !p->of->timed_out && p->of->exit_code == 0
        && status >= 200 && status < 300 && part->etag[0] != '\0')
    {
        return 0;
    }

    if (p->of->exit_code == 127) {
        backup_fail(&part->of->job, 501, "backup_not_available",
                    "There is no curl in this sandbox");
        return 0;
    }

    /* Once more is no use if the server has said no, or isn't who it says. */
    if (part->attempts < UPLOAD_ATTEMPTS
        && p->of->exit_code != UPLOAD_UNTRUSTED
        && (status < 400 || status >= 500 || status == 408 || status == 429))
    {
        return 1;
    }

    if (p->of->exit_code == 0 && status != 0) {
        buffer_printf(&shown, "HTTP status %d%s", status, status < 300
                      ? " without an ETag" : "");
    } else {
        secrets[0] = part->url;
        secrets[1] = NULL;
        program_complaint(p, &words);
        redact_text(&shown, buffer_bytes(&words), words.len, secrets);
    }

    buffer_append(&shown, "", 1);
    backup_fail(&part->of->job, 500, NULL, "Failed to upload part %lld in %d "
                "attempt%s: %.300s", (long long) part->number, part->attempts,
                part->attempts == 1 ? "" : "s", buffer_bytes(&shown));
    buffer_free(&words);
    buffer_free(&shown);

    return 0;
}


static int upload_start(upload_part *part);


static void
upload_done(program *p)
{
    upload_job   *c;
    upload_part  *part;

    part = p->data;
    c = part->of;
    part->p = NULL;
    c->running--;

    if (c->job.err == NULL && c->job.r != NULL
        && (!upload_look(part, p) || upload_start(part) == 0)
        && c->job.err == NULL)
    {
        upload_go(c);
        return;
    }

    upload_cancel(c);
    upload_go(c);
}


/* tail is told the first byte, counted from 1. */

static int
upload_start(upload_part *part)
{
    error         *err;
    buffer         config, text;
    upload_job    *c;
    program_spec   spec;

    c = part->of;
    memset(&config, 0, sizeof(config));
    memset(&text, 0, sizeof(text));
    memset(&spec, 0, sizeof(spec));
    part->attempts++;

    if (part->attempts > 1) {
        buffer_puts(&text, part->attempts == 2 ? "sleep 0.2\n" : "sleep 1\n");
    }

    buffer_printf(&text, "command -v curl >/dev/null || exit 127\n"
                  "{ tail -c +%llu </proc/self/fd/%d | head -c %llu "
                  "| exec curl -q --config /proc/self/fd/9; } "
                  "9<&0 </dev/null",
                  (unsigned long long) part->offset + 1, RUN_FD,
                  (unsigned long long) part->size);
    buffer_append(&text, "", 1);
    backup_part_config(&config, part->url, part->size);

    spec.text = buffer_bytes(&text);
    spec.cwd = "/";
    spec.env = json_pack("{s:s}", "LC_ALL", "C");
    spec.input = buffer_bytes(&config);
    spec.input_len = config.len;
    spec.fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
    spec.timeout_ms = UPLOAD_ATTEMPT_MS;
    spec.limit = UPLOAD_OUTPUT_MAX;

    if (spec.fd == -1) {
        backup_fail(&c->job, 503, "resource_busy", "Too many open files");
        json_decref(spec.env);

    } else {
        err = NULL;
        part->p = program_start(&spec, upload_done, part, &err);

        if (part->p == NULL) {
            backup_fail(&c->job, err->status, err->code, "%s", err->message);
            error_free(err);
        } else {
            c->running++;
        }
    }

    buffer_free(&config);
    buffer_free(&text);

    return part->p == NULL ? -1 : 0;
}


static void
upload_go(upload_job *c)
{
    while (c->job.err == NULL && c->job.r != NULL && c->begun < c->count
           && c->running < UPLOAD_AT_ONCE)
    {
        if (upload_start(&c->parts[c->begun++]) != 0) {
            upload_cancel(c);
        }
    }

    if (c->running == 0) {
        upload_end(c);
    }
}


/* The client has left. */

static void
upload_closed(backup_job *job)
{
    upload_cancel((upload_job *) job);
}


static void
upload_opened(backup_job *job)
{
    upload_go((upload_job *) job);
}


static void
upload_open(backup_job *job)
{
    size_t        i;
    upload_job   *c;
    upload_part  *part;
    struct stat   st;

    c = (upload_job *) job;
    c->fd = backup_open_archive(job, &st);

    for (i = 0; c->fd != -1 && i < c->count; i++) {
        part = &c->parts[i];

        if (part->size > (uint64_t) st.st_size
            || part->offset > (uint64_t) st.st_size - part->size)
        {
            backup_fail(job, 400, "invalid_backup_config", "Invalid field: "
                        "parts[%zu] ends behind the archive's %lld bytes", i,
                        (long long) st.st_size);
        }
    }
}


static void
upload_begin(backup_job *job)
{
    backup_job_thread(job, upload_open, upload_opened);
}


/* The request.  Returns what is wrong with a part, or NULL. */

static const char *
upload_read_part(upload_part *part, const json_t *o, const char **member)
{
    json_t  *v;

    *member = "";

    if (!json_is_object(o)) {
        return " must be an object";
    }

    *member = ".partNumber";
    v = json_object_get(o, "partNumber");
    if (!json_is_integer(v) || json_integer_value(v) < 1
        || json_integer_value(v) > UPLOAD_PARTS_MAX)
    {
        return " must be a whole number from 1 to 10000";
    }
    part->number = json_integer_value(v);

    *member = ".url ";
    v = json_object_get(o, "url");
    if (!json_is_string(v)) {
        return "must be an https URL";
    }
    part->url = json_string_value(v);
    if (backup_part_url(part->url, json_string_length(v)) != NULL) {
        return backup_part_url(part->url, json_string_length(v));
    }

    *member = ".offset";
    v = json_object_get(o, "offset");
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return " must be a whole number from 0";
    }
    part->offset = (uint64_t) json_integer_value(v);

    *member = ".size";
    v = json_object_get(o, "size");
    if (!json_is_integer(v) || json_integer_value(v) < 1) {
        return " must be a whole number from 1";
    }
    part->size = (uint64_t) json_integer_value(v);

    return NULL;
}


static int
upload_read(upload_job *c)
{
    size_t       i;
    json_t      *list;
    const char  *why, *member;
    char         seen[UPLOAD_PARTS_MAX + 1];

    memset(seen, 0, sizeof(seen));
    list = json_object_get(c->job.body, "parts");

    if (!json_is_array(list) || json_array_size(list) == 0
        || json_array_size(list) > UPLOAD_PARTS_MAX)
    {
        return backup_invalid(&c->job, "parts", "Missing or invalid field: "
                              "parts must be an array of 1 to %d parts",
                              UPLOAD_PARTS_MAX);
    }

    c->count = json_array_size(list);
    c->parts = calloc(c->count, sizeof(upload_part));
    if (c->parts == NULL) {
        abort();
    }

    for (i = 0; i < c->count; i++) {
        c->parts[i].of = c;
        why = upload_read_part(&c->parts[i], json_array_get(list, i), &member);

        if (why != NULL) {
            return backup_invalid(&c->job, "parts", "Invalid field: parts[%zu]"
                                  "%s%s", i, member, why);
        }

        if (seen[c->parts[i].number]++) {
            return backup_invalid(&c->job, "parts", "Invalid field: parts[%zu]"
                                  ".partNumber is given twice", i);
        }
    }

    return 0;
}


void
backup_upload(http_request *r, char *body, size_t len)
{
    upload_job  *c;

    c = calloc(1, sizeof(upload_job));
    if (c == NULL) {
        abort();
    }

    upload_jobs++;
    c->fd = -1;
    c->job.operation = "backup.create";
    c->job.code = "backup_create_failed";
    c->job.dispose = upload_dispose;
    c->job.left = upload_closed;

    if (backup_job_read(&c->job, r, body, len, 0) != 0
        || upload_read(c) != 0)
    {
        return;
    }

    if (upload_jobs > UPLOAD_JOBS_MAX) {
        backup_job_busy(&c->job, "uploads run already", UPLOAD_JOBS_MAX);
        return;
    }

    backup_job_start(&c->job, upload_begin);
}
