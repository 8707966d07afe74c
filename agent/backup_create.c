/*
 * /api/backup/create: a directory as a squashfs archive.
 *
 * mksquashfs is given the archive as an open descriptor, in a file that gets
 * its name when it is complete: what is at archivePath is a whole archive or
 * the one that was there before.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/backup.h"
#include "agent/backup_exclude.h"
#include "agent/file_error.h"
#include "agent/file_open.h"
#include "agent/shell_text.h"

#define CREATE_THREADS      8
#define CREATE_THREADS_MAX  1024

typedef struct {
    backup_job   job;               /* first */
    const char  *format;
    unsigned     threads;
    int          gitignore;
    buffer       excludes;          /* lines */
    buffer       words;             /* of mksquashfs, NUL-terminated */
    int          fd;                /* of the archive; -1 */
    int          to;                /* its directory; -1 */
    char         name[PATH_NAME_ROOM];
    char         temp[PATH_NAME_ROOM];
    char         real[PATH_ROOM];
    off_t        size;
} create_job;


static void
create_dispose(backup_job *job)
{
    create_job  *c;

    c = (create_job *) job;

    if (c->fd != -1) {
        close(c->fd);
    }
    if (c->to != -1) {
        close(c->to);
    }
    buffer_free(&c->excludes);
    buffer_free(&c->words);
    free(c);
}


/* What can't be read is left out or empty, and that's all right with
 * mksquashfs.  What has gone meanwhile is in no backup; what is still there has
 * to be in it. */

static void
create_check_line(create_job *c, char *line)
{
    char         *path, *end, full[PATH_ROOM * 2];
    struct stat   st;

    if (strstr(line, "creating empty file") == NULL
        && strstr(line, "skipping") == NULL
        && strstr(line, "Permission denied") == NULL)
    {
        return;
    }

    path = strstr(line, " ./");
    end = strrchr(line, ',');

    if (path != NULL && end != NULL && end > path) {
        snprintf(full, sizeof(full), "%s/%.*s", c->real,
                 (int) (end - path - 1), path + 1);

        if (lstat(full, &st) != 0 && errno == ENOENT) {
            return;
        }
    }

    backup_fail(&c->job, 500, NULL, "Failed to create the archive: %.400s",
                line);
}


static void
create_check(create_job *c)
{
    char  *line, *rest;

    if (c->words.len == 0) {
        return;
    }

    for (rest = buffer_bytes(&c->words);
         (line = strsep(&rest, "\n")) != NULL; )
    {
        create_check_line(c, line);
    }
}


/* The last step, on a thread: a name for the archive, or no trace of it. */

static void
create_finish(backup_job *job)
{
    create_job   *c;
    struct stat   st;

    c = (create_job *) job;

    if (c->fd == -1) {
        return;
    }

    if (job->err == NULL) {
        create_check(c);
    }

    if (job->err == NULL && job->r != NULL) {

        if (fsync(c->fd) != 0 || fstat(c->fd, &st) != 0
            || renameat(c->to, c->temp, c->to, c->name) != 0)
        {
            backup_fail(job, 500, NULL, "%.300s: %s", job->archive,
                        file_error_text(errno));
        } else {
            c->size = st.st_size;
            return;
        }
    }

    unlinkat(c->to, c->temp, 0);
}


static void
create_end(backup_job *job)
{
    create_job  *c;

    c = (create_job *) job;

    if (job->err == NULL) {
        job->answer = json_pack("{s:b, s:I, s:o}", "success", 1, "sizeBytes",
                                (json_int_t) c->size, "archivePath",
                                http_text(job->archive));
    }

    backup_job_end(job);
}


static void
create_packed(backup_job *job)
{
    backup_program_check(job, "mksquashfs (package squashfs-tools)",
                         "Failed to create the archive");

    if (job->p != NULL && job->err == NULL) {
        program_output(job->p, &job->p->of->err, &((create_job *) job)->words);
    }

    backup_job_thread(job, create_finish, create_end);
}


static void
create_pack(backup_job *job)
{
    buffer         text;
    create_job    *c;
    program_spec   spec;

    c = (create_job *) job;
    memset(&text, 0, sizeof(text));
    memset(&spec, 0, sizeof(spec));

    buffer_printf(&text, "exec mksquashfs . /proc/self/fd/%d -noappend "
                  "-no-progress -comp %s -processors %u -mem 64M "
                  "-wildcards -ef /proc/self/fd/0", RUN_FD, c->format,
                  backup_threads(c->threads));
    buffer_append(&text, "", 1);

    /* What a restore that was cut off has left. */
    buffer_puts(&c->excludes, "\\.sandbox-restore-*\n");

    spec.text = buffer_bytes(&text);
    spec.cwd = c->real;
    spec.env = json_pack("{s:s}", "LC_ALL", "C");
    spec.input = buffer_bytes(&c->excludes);
    spec.input_len = c->excludes.len;
    spec.fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
    spec.timeout_ms = BACKUP_TIMEOUT_MS;
    spec.limit = BACKUP_OUTPUT_MAX;

    if (spec.fd == -1) {
        spec.fd = 0;
        backup_fail(job, 503, "resource_busy", "Too many open files");
        json_decref(spec.env);
        backup_job_thread(job, create_finish, create_end);
    } else {
        backup_job_program(job, &spec, create_packed);
    }

    buffer_free(&text);
}


/* No git, no repository: nothing is ignored. */

static void
create_listed(backup_job *job)
{
    buffer       list;
    program     *p;
    const char  *why;
    create_job  *c;

    c = (create_job *) job;
    p = job->p;
    why = NULL;

    if (p != NULL && (p->flooded || p->of->timed_out)) {
        why = p->flooded ? "it is too long" : "it takes too long";

    } else if (p != NULL && p->of->failure == NULL && p->of->exit_code == 0) {
        memset(&list, 0, sizeof(list));
        program_output(p, &p->of->out, &list);
        if (list.len != 0) {
            why = backup_exclude_paths(&c->excludes, buffer_bytes(&list),
                                       list.len);
        }
        buffer_free(&list);
    }

    if (why != NULL) {
        backup_fail(job, 500, NULL, "The list of what git ignores: %s", why);
    }

    if (job->err != NULL || job->r == NULL) {
        backup_job_thread(job, create_finish, create_end);
    } else {
        create_pack(job);
    }
}


/* The repository's own settings must run nothing. */

static void
create_list(backup_job *job)
{
    program_spec  spec;

    memset(&spec, 0, sizeof(spec));
    spec.text = "exec git -c safe.directory='*' -c core.fsmonitor=false "
                "-c core.quotePath=false ls-files --others --ignored "
                "--exclude-standard --directory -z";
    spec.cwd = ((create_job *) job)->real;
    spec.env = json_pack("{s:s, s:s}", "LC_ALL", "C", "GIT_OPTIONAL_LOCKS",
                         "0");
    spec.timeout_ms = BACKUP_TIMEOUT_MS;
    spec.limit = BACKUP_OUTPUT_MAX / 2;

    backup_job_program(job, &spec, create_listed);
}


static void
create_opened(backup_job *job)
{
    if (job->err != NULL || job->r == NULL) {
        backup_job_thread(job, create_finish, create_end);

    } else if (((create_job *) job)->gitignore) {
        create_list(job);

    } else {
        create_pack(job);
    }
}


/* The first step, on a thread. */

static void
create_open(backup_job *job)
{
    int          fd;
    char         parent[PATH_ROOM], real[PATH_ROOM];
    unsigned     number;
    create_job  *c;

    c = (create_job *) job;

    fd = backup_open_dir(job, 0, c->real);
    if (fd == -1) {
        return;
    }
    close(fd);

    mkdir(agent.backups, 0755);

    if (path_split(job->archive, parent, sizeof(parent), c->name) != 0
        || (c->to = file_open_dir(parent, agent.backups, 1)) == -1
        || file_real_path(c->to, real, sizeof(real)) != 0)
    {
        if (errno == FILE_E_OUTSIDE) {
            backup_fail(job, 400, "invalid_backup_config", "Invalid field: "
                        "archivePath leads out of %.200s: %.200s",
                        agent.backups, job->archive);
        } else {
            backup_fail(job, 500, NULL, "%.300s: %s", job->archive,
                        file_error_text(errno));
        }
        return;
    }

    if (path_within(real, c->real)) {
        backup_fail(job, 400, "invalid_backup_config",
                    "Invalid field: archivePath must not be in dir");
        return;
    }

    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
        number = (unsigned) uv_hrtime();
    }

    snprintf(c->temp, sizeof(c->temp), ".%.200s.%08x.part", c->name, number);
    c->fd = openat(c->to, c->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
                   | O_CLOEXEC, 0600);

    if (c->fd == -1) {
        backup_fail(job, 500, NULL, "%.300s: %s", job->archive,
                    file_error_text(errno));
    }
}


static void
create_begin(backup_job *job)
{
    backup_job_thread(job, create_open, create_opened);
}


/* The request.  Each returns -1 after an answer. */

static int
create_read_compression(create_job *c)
{
    size_t         i;
    json_t        *o, *v;
    const char    *format;
    static const char *const  formats[] = { "gzip", "lz4", "zstd" };

    o = json_object_get(c->job.body, "compression");

    if (o == NULL || json_is_null(o)) {
        return 0;
    }

    if (!json_is_object(o)) {
        return backup_invalid(&c->job, "compression",
                              "Invalid field: compression must be an object");
    }

    v = json_object_get(o, "format");
    format = json_string_value(v);

    for (i = 0; format != NULL && i < 3; i++) {
        if (strcmp(format, formats[i]) == 0) {
            c->format = formats[i];
            break;
        }
    }

    if (v != NULL && !json_is_null(v) && (format == NULL || i == 3)) {
        return backup_invalid(&c->job, "compression.format", "Invalid field: "
                              "compression.format must be gzip, lz4 or zstd");
    }

    v = json_object_get(o, "threads");

    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    if (!json_is_integer(v) || json_integer_value(v) < 1
        || json_integer_value(v) > CREATE_THREADS_MAX)
    {
        return backup_invalid(&c->job, "compression.threads", "Invalid field: "
                              "compression.threads must be a whole number "
                              "from 1 to %d", CREATE_THREADS_MAX);
    }

    c->threads = (unsigned) json_integer_value(v);

    return 0;
}


static int
create_read_excludes(create_job *c)
{
    size_t       i;
    json_t      *list, *v;
    const char  *why;

    list = json_object_get(c->job.body, "excludes");

    if (list == NULL || json_is_null(list)) {
        return 0;
    }

    if (!json_is_array(list) || json_array_size(list) > BACKUP_EXCLUDES_MAX) {
        return backup_invalid(&c->job, "excludes", "Invalid field: excludes "
                              "must be an array of at most %d strings",
                              BACKUP_EXCLUDES_MAX);
    }

    json_array_foreach(list, i, v) {
        why = !json_is_string(v) ? "must be a string"
              : backup_exclude_glob(&c->excludes, json_string_value(v),
                                    json_string_length(v), c->job.dir);
        if (why != NULL) {
            return backup_invalid(&c->job, "excludes",
                                  "Invalid field: excludes[%zu] %s", i, why);
        }
    }

    return 0;
}


void
backup_create(http_request *r, char *body, size_t len)
{
    create_job  *c;
    json_t      *v;

    c = calloc(1, sizeof(create_job));
    if (c == NULL) {
        abort();
    }

    c->fd = -1;
    c->to = -1;
    c->format = "lz4";
    c->threads = CREATE_THREADS;
    c->job.operation = "backup.create";
    c->job.code = "backup_create_failed";
    c->job.dispose = create_dispose;

    if (backup_job_read(&c->job, r, body, len, 1) != 0) {
        return;
    }

    v = json_object_get(c->job.body, "gitignore");
    if (v != NULL && !json_is_null(v) && !json_is_boolean(v)) {
        backup_invalid(&c->job, "gitignore",
                       "Invalid field: gitignore must be true or false");
        return;
    }
    c->gitignore = json_is_true(v);

    if (create_read_compression(c) != 0 || create_read_excludes(c) != 0) {
        return;
    }

    backup_job_queue(&c->job, create_begin);
}
