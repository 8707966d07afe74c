/*
 * /api/backup/restore: a directory becomes what an archive holds.
 *
 * The archive is unpacked into a directory inside the one to be restored, on
 * the same file system; then, entry by entry, what is there moves aside and
 * the new moves in.  An archive that is damaged, a full disk or a client that
 * leaves changes nothing.  The directory itself stays, since shells are in it.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/backup.h"
#include "agent/file_error.h"
#include "agent/shell_text.h"
#include "common/log.h"

#define RESTORE_THREADS  8

typedef struct {
    backup_job  job;                /* first */
    int         archive;            /* -1 */
    int         dir;                /* for reading; -1 */
    int         made;               /* dir was not there */
    char        temp[64];           /* in it; "" until made */
    char        real[PATH_ROOM];
} restore_job;


static void
restore_dispose(backup_job *job)
{
    restore_job  *c;

    c = (restore_job *) job;

    if (c->archive != -1) {
        close(c->archive);
    }
    if (c->dir != -1) {
        close(c->dir);
    }
    free(c);
}


static void
restore_end(backup_job *job)
{
    restore_job  *c;

    c = (restore_job *) job;

    if (job->p != NULL && job->p->of->exit_code != 0) {
        log_warn("%s/%s could not be removed", c->real, c->temp);
    }

    if (c->made && (job->err != NULL || job->r == NULL)) {
        rmdir(c->real);
    }

    if (job->err == NULL) {
        job->answer = json_pack("{s:b, s:o}", "success", 1, "dir",
                                http_text(job->dir));
    }

    backup_job_end(job);
}


/* The old contents, or what of the new was unpacked. */

static void
restore_clean(backup_job *job)
{
    buffer         text, path;
    restore_job   *c;
    program_spec   spec;

    c = (restore_job *) job;

    if (c->temp[0] == '\0') {
        job->p = NULL;
        restore_end(job);
        return;
    }

    memset(&text, 0, sizeof(text));
    memset(&path, 0, sizeof(path));
    memset(&spec, 0, sizeof(spec));

    buffer_printf(&path, "%s/%s", c->real, c->temp);
    buffer_append(&path, "", 1);

    /* Who isn't root can't remove what is in a read-only directory. */
    buffer_puts(&text, "rm -rf -- ");
    shell_quote(&text, buffer_bytes(&path));
    buffer_puts(&text, " 2>/dev/null && exit\nchmod -R u+rwX -- ");
    shell_quote(&text, buffer_bytes(&path));
    buffer_puts(&text, "\nexec rm -rf -- ");
    shell_quote(&text, buffer_bytes(&path));
    buffer_append(&text, "", 1);

    spec.text = buffer_bytes(&text);
    spec.cwd = "/";
    spec.timeout_ms = BACKUP_TIMEOUT_MS;
    spec.limit = BACKUP_OUTPUT_MAX;
    backup_job_program(job, &spec, restore_end);

    buffer_free(&text);
    buffer_free(&path);
}


/* A directory that is moved elsewhere is written to: its "..". */

static int
restore_rename(int from, int to, const char *name)
{
    int          fd, rc, saved;
    struct stat  st;

    if (renameat(from, name, to, name) == 0) {
        return 0;
    }

    if (errno != EACCES) {
        return -1;
    }

    fd = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        errno = EACCES;
        return -1;
    }

    rc = -1;
    saved = EACCES;

    if (fstat(fd, &st) == 0 && (st.st_mode & 0200) == 0
        && fchmod(fd, (st.st_mode & 07777) | 0200) == 0)
    {
        rc = renameat(from, name, to, name);
        saved = errno;
        (void) !fchmod(fd, st.st_mode & 07777);
    }

    close(fd);
    errno = saved;

    return rc;
}


/* One pass; what is renamed under readdir() may hide other entries from it. */

static int
restore_move_some(DIR *d, int from, int to, const char *spare,
    char which[PATH_NAME_ROOM])
{
    int             moved;
    struct dirent  *e;

    rewinddir(d);

    for (moved = 0, errno = 0; (e = readdir(d)) != NULL; errno = 0) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0
            || strcmp(e->d_name, spare) == 0)
        {
            continue;
        }

        if (restore_rename(from, to, e->d_name) != 0) {
            snprintf(which, PATH_NAME_ROOM, "%s", e->d_name);
            return -1;
        }

        moved = 1;
    }

    return errno == 0 ? moved : -1;
}


/* Moves all entries but one from a directory into another; -1: errno, *which
 * is the one that stays. */

static int
restore_move(int from, int to, const char *spare, char which[PATH_NAME_ROOM])
{
    int   fd, rc, saved;
    DIR  *d;

    strcpy(which, ".");
    fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd == -1 ? NULL : fdopendir(fd);

    if (d == NULL) {
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    do {
        rc = restore_move_some(d, from, to, spare, which);
    } while (rc == 1);

    saved = errno;
    closedir(d);
    errno = saved;

    return rc;
}


static int
restore_open_below(const restore_job *c, const char *name)
{
    char  path[80];

    snprintf(path, sizeof(path), "%s/%s", c->temp, name);

    return openat(c->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW
                  | O_CLOEXEC);
}


/* On a thread; from here on it is done to its end, or undone. */

static void
restore_swap(backup_job *job)
{
    int           fresh, old, rc;
    char          which[PATH_NAME_ROOM], ignored[PATH_NAME_ROOM];
    restore_job  *c;
    struct stat   st;

    c = (restore_job *) job;
    strcpy(which, ".");
    fresh = restore_open_below(c, "new");
    old = restore_open_below(c, "old");
    rc = fresh == -1 || old == -1 || fstat(fresh, &st) != 0
         || fchmod(fresh, 0700) != 0 ? errno : 0;

    if (rc == 0 && restore_move(c->dir, old, c->temp, which) != 0) {
        rc = errno;
        restore_move(old, c->dir, "", ignored);

    } else if (rc == 0 && restore_move(fresh, c->dir, "", which) != 0) {
        rc = errno;
        restore_move(c->dir, fresh, c->temp, ignored);
        restore_move(old, c->dir, "", ignored);
    }

    if (rc != 0) {
        backup_fail(job, 500, NULL, "%.200s/%.100s: %s", job->dir, which,
                    file_error_text(rc));

    } else {
        (void) !fchown(c->dir, st.st_uid, st.st_gid);
        (void) !fchmod(c->dir, st.st_mode & 07777);
    }

    if (fresh != -1) {
        close(fresh);
    }
    if (old != -1) {
        close(old);
    }
}


static void
restore_unpacked(backup_job *job)
{
    backup_program_check(job, "unsquashfs (package squashfs-tools)",
                         "Failed to restore the archive");

    if (job->err != NULL || job->r == NULL) {
        restore_clean(job);
    } else {
        backup_job_thread(job, restore_swap, restore_clean);
    }
}


static void
restore_opened(backup_job *job)
{
    buffer         text, path;
    restore_job   *c;
    program_spec   spec;

    c = (restore_job *) job;

    if (job->err != NULL || job->r == NULL) {
        restore_clean(job);
        return;
    }

    memset(&text, 0, sizeof(text));
    memset(&path, 0, sizeof(path));
    memset(&spec, 0, sizeof(spec));

    buffer_printf(&path, "%s/%s/new", c->real, c->temp);
    buffer_append(&path, "", 1);
    buffer_printf(&text, "exec unsquashfs -no-progress -processors %u "
                  "-da 16 -fr 16 -d ",
                  backup_threads(RESTORE_THREADS));
    shell_quote(&text, buffer_bytes(&path));
    buffer_printf(&text, " /proc/self/fd/%d", RUN_FD);
    buffer_append(&text, "", 1);

    spec.text = buffer_bytes(&text);
    spec.cwd = "/";
    spec.env = json_pack("{s:s}", "LC_ALL", "C");
    spec.fd = c->archive;
    spec.timeout_ms = BACKUP_TIMEOUT_MS;
    spec.limit = BACKUP_OUTPUT_MAX;
    c->archive = -1;
    backup_job_program(job, &spec, restore_unpacked);

    buffer_free(&text);
    buffer_free(&path);
}


/* The first step, on a thread. */

static void
restore_open(backup_job *job)
{
    int           fd;
    char          old[80];
    unsigned      number;
    restore_job  *c;
    struct stat   st;

    c = (restore_job *) job;

    c->archive = backup_open_archive(job, &st);
    if (c->archive == -1) {
        return;
    }

    c->made = stat(job->dir, &st) != 0 && errno == ENOENT;

    fd = backup_open_dir(job, 1, c->real);
    if (fd == -1) {
        c->made = 0;
        return;
    }

    c->dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(fd);

    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
        number = (unsigned) uv_hrtime();
    }

    snprintf(c->temp, sizeof(c->temp), ".sandbox-restore-%08x", number);
    snprintf(old, sizeof(old), "%s/old", c->temp);

    if (c->dir == -1 || mkdirat(c->dir, c->temp, 0700) != 0) {
        backup_fail(job, 500, NULL, "%.300s: %s", job->dir,
                    file_error_text(errno));
        c->temp[0] = '\0';

    } else if (mkdirat(c->dir, old, 0700) != 0) {
        backup_fail(job, 500, NULL, "%.300s: %s", job->dir,
                    file_error_text(errno));
    }
}


static void
restore_begin(backup_job *job)
{
    backup_job_thread(job, restore_open, restore_opened);
}


void
backup_restore(http_request *r, char *body, size_t len)
{
    restore_job  *c;

    c = calloc(1, sizeof(restore_job));
    if (c == NULL) {
        abort();
    }

    c->archive = -1;
    c->dir = -1;
    c->job.operation = "backup.restore";
    c->job.code = "backup_restore_failed";
    c->job.dispose = restore_dispose;

    if (backup_job_read(&c->job, r, body, len, 1) == 0) {
        backup_job_queue(&c->job, restore_begin);
    }
}
