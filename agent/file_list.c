/* Directories as JSON; see file_list.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/file_list.h"
#include "agent/path.h"
#include "common/json_text.h"

/* Entries that are looked at in one go, though none of them may be shown. */
#define FILE_LIST_LOOKS  4096

struct file_list {
    int       base;             /* where it began */
    DIR      *dir;              /* what is being read; NULL: take the next */
    bool      recursive;
    bool      hidden;
    size_t    count;
    buffer    pending;          /* relative paths, each before its NUL */
    char     *path;             /* of the base, without a trailing slash */
    char      within[PATH_ROOM];    /* of dir, below the base: "" or "a/b/" */
};

static DIR *file_list_next(file_list *l);
static int file_list_entry(file_list *l, const char *name, buffer *out);
static int file_list_push(file_list *l, const char *name);


file_list *
file_list_open(const char *path, bool recursive, bool hidden)
{
    return file_list_open_fd(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC
                                        | O_NONBLOCK),
                             path, recursive, hidden);
}


file_list *
file_list_open_fd(int fd, const char *path, bool recursive, bool hidden)
{
    size_t      n;
    file_list  *l;

    l = calloc(1, sizeof(file_list));
    if (l == NULL) {
        abort();
    }

    l->recursive = recursive;
    l->hidden = hidden;
    l->path = strdup(path);
    l->base = fd;

    if (l->path != NULL && l->base != -1) {
        l->dir = fdopendir(fcntl(l->base, F_DUPFD_CLOEXEC, 3));
    }

    if (l->dir == NULL) {
        n = (size_t) errno;
        file_list_close(l);
        errno = (int) n;
        return NULL;
    }

    for (n = strlen(l->path); n > 0 && l->path[n - 1] == '/'; n--) {
        l->path[n - 1] = '\0';
    }

    return l;
}


int
file_list_more(file_list *l, buffer *out, size_t enough)
{
    unsigned        looks;
    struct dirent  *e;

    for (looks = 0; looks < FILE_LIST_LOOKS && out->len < enough; looks++) {

        if (l->dir == NULL && (l->dir = file_list_next(l)) == NULL) {
            return 0;
        }

        e = readdir(l->dir);

        if (e == NULL) {
            closedir(l->dir);
            l->dir = NULL;
            continue;
        }

        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0
            && file_list_entry(l, e->d_name, out) != 0)
        {
            return -1;
        }
    }

    return 1;
}


size_t
file_list_count(const file_list *l)
{
    return l->count;
}


void
file_list_close(file_list *l)
{
    if (l->dir != NULL) {
        closedir(l->dir);
    }

    if (l->base != -1) {
        close(l->base);
    }

    buffer_free(&l->pending);
    free(l->path);
    free(l);
}


/* Component by component: a link among them means that somebody replaced a
 * directory after it was listed, and none is followed. */

static int
file_list_descend(int base, const char *within)
{
    int          fd, next;
    char         name[PATH_NAME_ROOM];
    const char  *slash;

    for (fd = base; *within != '\0'; within = slash + 1) {
        slash = strchrnul(within, '/');
        memcpy(name, within, (size_t) (slash - within));
        name[slash - within] = '\0';

        next = openat(fd, name,
                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd != base) {
            close(fd);
        }

        if (next == -1) {
            return -1;
        }

        fd = next;
    }

    return fd;
}


/* Opens the directory that was pushed last; those that can't be opened any
 * more, or never could, are passed over, as find does. */

static DIR *
file_list_next(file_list *l)
{
    int     fd;
    DIR    *dir;
    char   *start, *name;
    size_t  n;

    while (l->pending.len > 0) {
        start = buffer_bytes(&l->pending);
        name = memrchr(start, '\0', l->pending.len - 1);
        name = name ? name + 1 : start;
        n = strlen(name);

        memcpy(l->within, name, n + 1);
        l->pending.len -= n + 1;

        fd = file_list_descend(l->base, l->within);
        dir = fd == -1 ? NULL : fdopendir(fd);

        if (dir != NULL) {
            return dir;
        }

        if (fd != -1) {
            close(fd);
        }
    }

    return NULL;
}


static void
file_list_text(buffer *out, const char *text)
{
    char    *room;
    size_t   n, used;

    n = strlen(text);
    room = buffer_room(out, n * JSON_TEXT_GROWTH);

    buffer_added(out, json_text_escape(room, n * JSON_TEXT_GROWTH, text, n,
                                       &used, true));
}


/* As ls writes it, without the letter of the type. */

static void
file_list_mode(char mode[10], mode_t m)
{
    int  i;

    for (i = 0; i < 9; i++) {
        mode[i] = m & (0400u >> i) ? "rwxrwxrwx"[i] : '-';
    }

    if (m & S_ISUID) {
        mode[2] = m & S_IXUSR ? 's' : 'S';
    }

    if (m & S_ISGID) {
        mode[5] = m & S_IXGRP ? 's' : 'S';
    }

    if (m & S_ISVTX) {
        mode[8] = m & S_IXOTH ? 't' : 'T';
    }

    mode[9] = '\0';
}


void
file_list_describe(buffer *out, const struct stat *st)
{
    char         mode[10], when[40];
    size_t       n;
    struct tm    tm;
    const char  *type;

    type = S_ISREG(st->st_mode) ? "file" : S_ISDIR(st->st_mode) ? "directory"
           : S_ISLNK(st->st_mode) ? "symlink" : "other";

    file_list_mode(mode, st->st_mode);

    n = 0;
    if (gmtime_r(&st->st_mtim.tv_sec, &tm) != NULL) {
        n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    }
    snprintf(when + n, sizeof(when) - n, ".%03ldZ",
             st->st_mtim.tv_nsec / 1000000);

    buffer_printf(out, "\"type\":\"%s\",\"size\":%lld,"
                  "\"modifiedAt\":\"%s\",\"mode\":\"%s\",\"permissions\":"
                  "{\"readable\":%s,\"writable\":%s,\"executable\":%s}",
                  type, (long long) st->st_size, when, mode,
                  st->st_mode & S_IRUSR ? "true" : "false",
                  st->st_mode & S_IWUSR ? "true" : "false",
                  st->st_mode & S_IXUSR ? "true" : "false");
}


static int
file_list_entry(file_list *l, const char *name, buffer *out)
{
    struct stat  st;

    if (fstatat(dirfd(l->dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return 0;
    }

    if (l->recursive && S_ISDIR(st.st_mode)
        && file_list_push(l, name) != 0)
    {
        return -1;
    }

    if (name[0] == '.' && !l->hidden) {
        return 0;
    }

    buffer_puts(out, l->count++ ? ",{\"name\":\"" : "{\"name\":\"");
    file_list_text(out, name);
    buffer_puts(out, "\",\"absolutePath\":\"");
    file_list_text(out, l->path);
    buffer_puts(out, "/");
    file_list_text(out, l->within);
    file_list_text(out, name);
    buffer_puts(out, "\",\"relativePath\":\"");
    file_list_text(out, l->within);
    file_list_text(out, name);

    buffer_puts(out, "\",");
    file_list_describe(out, &st);
    buffer_puts(out, "}");

    return 0;
}


static int
file_list_push(file_list *l, const char *name)
{
    size_t  a, b;

    a = strlen(l->within);
    b = strlen(name);

    /* What is longer than the kernel takes could not be opened anyway. */

    if (a + b + 2 > sizeof(l->within)) {
        return 0;
    }

    if (l->pending.len + a + b + 2 > FILE_LIST_PENDING) {
        errno = ENOMEM;
        return -1;
    }

    buffer_append(&l->pending, l->within, a);
    buffer_append(&l->pending, name, b);
    buffer_append(&l->pending, "/", 2);

    return 0;
}
