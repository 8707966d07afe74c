/* What the routes of backups share; see backup.h. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/backup.h"
#include "agent/file_error.h"
#include "agent/file_open.h"
#include "common/log.h"

static backup_job   *backup_running;
static backup_job   *backup_first, **backup_last = &backup_first;
static unsigned      backup_count;

/* Besides the workspace. */
static const char *const  backup_roots[] = {
    "/workspace", "/home", "/tmp", "/var/tmp", "/app"
};

#define BACKUP_ROOTS  (sizeof(backup_roots) / sizeof(backup_roots[0]))


/* Errors. */

void
backup_fail(backup_job *job, int status, const char *code, const char *fmt,
    ...)
{
    char     text[sizeof(job->err->message)];
    va_list  args;

    if (job->err != NULL) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    error_set(&job->err, status, code == NULL ? job->code : code, "%s", text);
}


static void
backup_answer_error(backup_job *job, const char *field)
{
    json_t  *context;

    context = json_pack("{s:s}", "operation", job->operation);

    if (job->dir != NULL) {
        json_object_set_new(context, "dir", http_text(job->dir));
    }
    if (job->archive != NULL) {
        json_object_set_new(context, "archivePath", http_text(job->archive));
    }
    if (field != NULL) {
        json_object_set_new(context, "validationErrors",
                            json_pack("[{s:s, s:o, s:s}]", "field", field,
                                "message", http_text(job->err->message),
                                "code", "INVALID_BACKUP_CONFIG"));
    }

    api_error_context(job->r, job->err, context);
    job->err = NULL;
    job->r = NULL;
}


static void
backup_dispose(backup_job *job)
{
    error_free(job->err);
    json_decref(job->answer);
    json_decref(job->body);
    job->dispose(job);
}


int
backup_invalid(backup_job *job, const char *field, const char *fmt, ...)
{
    char     text[400];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    backup_fail(job, 400, "invalid_backup_config", "%s", text);
    backup_answer_error(job, field);
    backup_dispose(job);

    return -1;
}


/* What may be named. */

static const char *
backup_path_problem(const json_t *v)
{
    const char  *p;

    p = json_string_value(v);

    if (strlen(p) != json_string_length(v)) {
        return "must not hold a NUL";
    }

    if (p[0] != '/') {
        return "must be an absolute path";
    }

    if (path_problem(p, strlen(p)) != NULL) {
        return "must have at most 4096 characters";
    }

    for ( /* void */ ; p != NULL; p = strchr(p, '/')) {
        p++;
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0')) {
            return "must not hold a '..'";
        }
    }

    return NULL;
}


static int
backup_below(const char *path, const char *root)
{
    char  normal[PATH_ROOM], normal_root[PATH_ROOM];

    return path_normalize(normal, sizeof(normal), path) == 0
           && path_normalize(normal_root, sizeof(normal_root), root) == 0
           && path_within(normal, normal_root);
}


static const char *
backup_root_of(const char *path)
{
    size_t  i;

    if (backup_below(path, agent.workspace)) {
        return agent.workspace;
    }

    for (i = 0; i < BACKUP_ROOTS; i++) {
        if (backup_below(path, backup_roots[i])) {
            return backup_roots[i];
        }
    }

    return NULL;
}


static int
backup_read_path(backup_job *job, const char *name, const char **path)
{
    const char    *why;
    const json_t  *v;

    v = json_object_get(job->body, name);

    if (!json_is_string(v) || json_string_length(v) == 0) {
        return backup_invalid(job, name, "Missing or invalid field: %s",
                              name);
    }

    why = backup_path_problem(v);
    if (why != NULL) {
        return backup_invalid(job, name, "Invalid field: %s %s", name, why);
    }

    *path = json_string_value(v);

    return 0;
}


int
backup_job_read(backup_job *job, http_request *r, char *body, size_t len,
    int wants_dir)
{
    const json_t  *v;

    job->r = r;
    job->work.data = job;

    if (http_json_object(r, body, len, &job->body) != 0) {
        job->body = NULL;
        backup_dispose(job);
        return -1;
    }

    if (wants_dir && backup_read_path(job, "dir", &job->dir) != 0) {
        return -1;
    }

    if (wants_dir && backup_root_of(job->dir) == NULL) {
        return backup_invalid(job, "dir", "Invalid field: dir must be one of, "
                              "or in, /workspace, /home, /tmp, /var/tmp and "
                              "/app");
    }

    if (backup_read_path(job, "archivePath", &job->archive) != 0) {
        return -1;
    }

    if (!backup_below(job->archive, agent.backups)
        || backup_below(agent.backups, job->archive)
        || job->archive[strlen(job->archive) - 1] == '/')
    {
        return backup_invalid(job, "archivePath", "Invalid field: archivePath "
                              "must be a file in %.200s", agent.backups);
    }

    v = json_object_get(job->body, "sessionId");
    if (v != NULL && !json_is_null(v) && !json_is_string(v)) {
        return backup_invalid(job, "sessionId",
                              "Invalid field: sessionId must be a string");
    }

    return 0;
}


/* Opening. */

int
backup_open_dir(backup_job *job, int create, char real[PATH_ROOM])
{
    int          fd, saved;
    size_t       i;
    const char  *root;

    root = backup_root_of(job->dir);
    if (create) {
        mkdir(root, 0755);
    }
    fd = file_open_dir(job->dir, root, create);
    saved = errno;

    /* A link from one of the places into another is fine. */
    for (i = 0; fd == -1 && saved == FILE_E_OUTSIDE && i <= BACKUP_ROOTS; i++)
    {
        fd = file_open_dir(job->dir, i == BACKUP_ROOTS ? agent.workspace
                           : backup_roots[i], 0);
    }

    if (fd != -1 && file_real_path(fd, real, PATH_ROOM) != 0) {
        saved = errno;
        close(fd);
        fd = -1;
    }

    if (fd != -1) {
        return fd;
    }

    if (saved == FILE_E_OUTSIDE) {
        backup_fail(job, 400, "invalid_backup_config", "Invalid field: dir "
                    "leads out of the directories that can be backed up: "
                    "%.200s", job->dir);

    } else if (!create && (saved == ENOENT || saved == ENOTDIR)) {
        backup_fail(job, 500, NULL, "Source directory does not exist: %.300s",
                    job->dir);

    } else {
        backup_fail(job, 500, NULL, "%.300s: %s", job->dir,
                    file_error_text(saved));
    }

    return -1;
}


int
backup_open_archive(backup_job *job, struct stat *st)
{
    int  fd;

    fd = file_open_read(job->archive, agent.backups, st);

    if (fd != -1) {
        return fd;
    }

    if (errno == FILE_E_OUTSIDE) {
        backup_fail(job, 400, "invalid_backup_config", "Invalid field: "
                    "archivePath leads out of %.200s: %.200s", agent.backups,
                    job->archive);

    } else if (errno == ENOENT || errno == ENOTDIR) {
        backup_fail(job, 500, NULL, "Archive does not exist: %.300s",
                    job->archive);

    } else {
        backup_fail(job, 500, NULL, "%.300s: %s", job->archive,
                    file_error_text(errno));
    }

    return -1;
}


unsigned
backup_threads(unsigned wanted)
{
    unsigned  n;

    n = uv_available_parallelism();

    return wanted < n ? wanted : n;
}


/* Turns. */

static void
backup_unqueue(backup_job *job)
{
    backup_job  **link;

    for (link = &backup_first; *link != NULL; link = &(*link)->after) {
        if (*link == job) {
            *link = job->after;
            if (backup_last == &job->after) {
                backup_last = link;
            }
            backup_count--;
            return;
        }
    }
}


static void
backup_next_turn(void)
{
    backup_job  *job;

    job = backup_first;

    if (backup_running != NULL || job == NULL) {
        return;
    }

    backup_unqueue(job);
    backup_running = job;
    job->waiting = 0;
    job->turn = 1;
    job->begin(job);
}


/* The client has left. */

static void
backup_closed(http_request *r)
{
    backup_job  *job;

    job = r->data;
    job->r = NULL;
    log_debug("%s: the client left", job->operation);

    if (job->waiting) {
        backup_unqueue(job);
        backup_dispose(job);

    } else if (job->left != NULL) {
        job->left(job);

    } else if (job->p != NULL) {
        program_cancel(job->p);
    }
}


static void
backup_bind(backup_job *job, backup_step begin)
{
    job->r->data = job;
    http_on_close(job->r, backup_closed);
    job->begin = begin;
}


void
backup_job_start(backup_job *job, backup_step begin)
{
    backup_bind(job, begin);
    begin(job);
}


void
backup_job_busy(backup_job *job, const char *what, int limit)
{
    backup_fail(job, 503, "resource_busy", "%d %s", limit, what);
    backup_answer_error(job, NULL);
    backup_dispose(job);
}


int
backup_job_queue(backup_job *job, backup_step begin)
{
    if (backup_count >= BACKUP_QUEUE_MAX) {
        backup_job_busy(job, "backups and restores wait already",
                        BACKUP_QUEUE_MAX);
        return -1;
    }

    backup_bind(job, begin);
    job->waiting = 1;
    job->after = NULL;
    *backup_last = job;
    backup_last = &job->after;
    backup_count++;
    backup_next_turn();

    return 0;
}


/* Steps. */

static void
backup_thread_run(uv_work_t *work)
{
    backup_job  *job;

    job = work->data;
    job->run(job);
}


static void
backup_thread_done(uv_work_t *work, int status)
{
    backup_job  *job;

    job = work->data;
    job->next(job);
}


void
backup_job_thread(backup_job *job, backup_step step, backup_step next)
{
    job->p = NULL;
    job->run = step;
    job->next = next;

    if (uv_queue_work(agent.loop, &job->work, backup_thread_run,
                      backup_thread_done) != 0)
    {
        abort();                        /* only for a NULL callback */
    }
}


static void
backup_program_done(program *p)
{
    backup_job  *job;

    job = p->data;
    job->next(job);
}


void
backup_job_program(backup_job *job, const program_spec *spec,
    backup_step next)
{
    error    *err;
    program  *p;

    err = NULL;
    job->p = NULL;
    job->next = next;
    p = program_start(spec, backup_program_done, job, &err);

    if (p == NULL) {
        backup_fail(job, err->status, err->code, "%s", err->message);
        error_free(err);
        next(job);
        return;
    }

    job->p = p;
}


void
backup_program_check(backup_job *job, const char *name, const char *what)
{
    buffer    words;
    program  *p;

    p = job->p;

    if (p == NULL || job->err != NULL
        || (p->of->failure == NULL && !p->flooded && !p->of->timed_out
            && p->of->exit_code == 0))
    {
        return;
    }

    if (p->of->exit_code == 127) {
        backup_fail(job, 501, "backup_not_available",
                    "There is no %s in this sandbox", name);
        return;
    }

    memset(&words, 0, sizeof(words));
    program_complaint(p, &words);
    backup_fail(job, 500, NULL, "%s: %.400s", what, buffer_bytes(&words));
    buffer_free(&words);
}


void
backup_job_end(backup_job *job)
{
    int            turn;
    char           ts[32];
    http_request  *r;

    r = job->r;

    if (r != NULL) {
        http_on_close(r, NULL);

        if (job->err != NULL) {
            backup_answer_error(job, NULL);

        } else {
            http_timestamp(ts, sizeof(ts));
            json_object_set_new(job->answer, "timestamp", json_string(ts));
            http_send_json(r, 200, job->answer);
            job->answer = NULL;
            job->r = NULL;
        }

    } else if (job->err != NULL) {
        log_debug("%s: %s", job->operation, job->err->message);
    }

    turn = job->turn;
    backup_dispose(job);

    if (turn) {
        backup_running = NULL;
        backup_next_turn();
    }
}


static void
backup_create_handler(http_request *r)
{
    http_read_body(r, BACKUP_BODY_MAX, backup_create);
}


static void
backup_restore_handler(http_request *r)
{
    http_read_body(r, BACKUP_BODY_MAX, backup_restore);
}


static void
backup_upload_handler(http_request *r)
{
    http_read_body(r, BACKUP_BODY_MAX, backup_upload);
}


void
backup_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/backup/create", backup_create_handler);
    router_add(t, METHOD_POST, "/api/backup/restore", backup_restore_handler);
    router_add(t, METHOD_POST, "/api/backup/upload-parts",
               backup_upload_handler);
}
