/* Mode, time and owner of what an archive brings; see archive_attr.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/archive_attr.h"


void
archive_attr_of(archive_attr *a, struct archive_entry *entry)
{
    a->mode = archive_entry_mode(entry) & 07777;
    a->uid = (uid_t) archive_entry_uid(entry);
    a->gid = (gid_t) archive_entry_gid(entry);
    a->timed = archive_entry_mtime_is_set(entry) != 0;
    a->mtime.tv_sec = archive_entry_mtime(entry);
    a->mtime.tv_nsec = archive_entry_mtime_nsec(entry);
}


/* The mode that may be set, after rc of the change of the owner. */

static mode_t
attr_mode(const archive_attr *a, int rc)
{
    bool  ours;

    ours = a->uid == geteuid() && a->gid == getegid();

    return rc == 0 || ours ? a->mode : a->mode & 01777;
}


static void
attr_times(const archive_attr *a, struct timespec times[2])
{
    times[0].tv_sec = 0;
    times[0].tv_nsec = UTIME_NOW;
    times[1] = a->mtime;

    if (!a->timed) {
        times[1].tv_nsec = UTIME_NOW;
    }
}


void
archive_attr_set_fd(archive_attr *a, int fd)
{
    int              rc;
    struct timespec  times[2];

    rc = geteuid() == 0 ? fchown(fd, a->uid, a->gid) : -1;
    (void) !fchmod(fd, attr_mode(a, rc));

    attr_times(a, times);
    (void) !futimens(fd, times);
}


void
archive_attr_set_link(archive_attr *a, int dir, const char *name)
{
    struct timespec  times[2];

    if (geteuid() == 0) {
        (void) !fchownat(dir, name, a->uid, a->gid, AT_SYMLINK_NOFOLLOW);
    }

    attr_times(a, times);
    (void) !utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}


/* Through an O_PATH descriptor: it opens nothing, so no FIFO waits, and what
 * it holds stays what it is, also when the name is exchanged for a link. */

void
archive_attr_set_name(archive_attr *a, int dir, const char *name)
{
    int              fd, rc;
    char             self[32];
    struct stat      st;
    struct timespec  times[2];

    fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode)) {
        snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);

        rc = geteuid() == 0 ? chown(self, a->uid, a->gid) : -1;
        (void) !chmod(self, attr_mode(a, rc));

        attr_times(a, times);
        (void) !utimensat(AT_FDCWD, self, times, 0);
    }

    close(fd);
}


void
archive_late_add(archive_late *l, archive_place *place, const char *path,
    const archive_attr *a)
{
    size_t             len, room;
    archive_late_dir  *dirs;

    len = strlen(path) + 1;

    if (l->count == ARCHIVE_LATE_MAX || l->bytes + len > ARCHIVE_LATE_BYTES) {
        archive_late_apply(l, place);
    }

    if (l->count == l->room) {
        room = l->room ? 2 * l->room : 64;
        dirs = realloc(l->dirs, room * sizeof(archive_late_dir));
        if (dirs == NULL) {
            abort();
        }

        l->dirs = dirs;
        l->room = room;
    }

    l->dirs[l->count].path = strdup(path);
    if (l->dirs[l->count].path == NULL) {
        abort();
    }

    l->dirs[l->count].attr = *a;
    l->count++;
    l->bytes += len;
}


void
archive_late_apply(archive_late *l, archive_place *place)
{
    int          dir;
    size_t       i;
    const char  *name;

    for (i = l->count; i-- > 0; ) {
        dir = archive_place_other(place, l->dirs[i].path, &name);

        if (dir != -1) {
            archive_attr_set_name(&l->dirs[i].attr, dir, name);
            close(dir);
        }

        free(l->dirs[i].path);
    }

    free(l->dirs);
    memset(l, 0, sizeof(archive_late));
}
