/*
 * Deleting what a guest has written; see oci_tree.h.  A directory that isn't
 * empty is moved up to the top before its turn comes: the way to an entry is
 * never longer than two names, whatever depth the guest has built.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/oci_tree.h"

typedef struct {
    int       top;
    unsigned  counter;
    int       error;        /* the last one */
    bool      moved;        /* something was removed or moved up */
} tree_walk;


int
oci_tree_open(int dir, const char *name)
{
    struct open_how  how;

    memset(&how, 0, sizeof(how));
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

    return (int) syscall(SYS_openat2, dir, name, &how, sizeof(how));
}


/* Moves a directory to the top, under a name that is free. */
static int
move_up(tree_walk *walk, int dir, const char *name)
{
    char      to[16];
    unsigned  tries;

    for (tries = 0; tries < 1000000; tries++) {
        snprintf(to, sizeof(to), "d%u", walk->counter++);

        if (renameat2(dir, name, walk->top, to, RENAME_NOREPLACE) == 0) {
            return 0;
        }

        if (errno != EEXIST) {
            return -1;
        }
    }

    return -1;
}


static bool
is_dots(const char *name)
{
    return name[0] == '.'
           && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}


static void
remove_entry(tree_walk *walk, int dir, const char *name)
{
    /* One that is gone was removed by a helper of before, which ends its work
     * although its driver was killed. */
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) {
        walk->moved = true;
        return;
    }

    /* POSIX has EPERM where Linux has EISDIR. */
    if ((errno == EISDIR || errno == EPERM)
        && (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT))
    {
        walk->moved = true;
        return;
    }

    if (errno == ENOTEMPTY || errno == EEXIST) {
        if (move_up(walk, dir, name) == 0 || errno == ENOENT) {
            walk->moved = true;
            return;
        }

        /* Moving a directory changes what ".." in it means.  It is one, no
         * link: the attempt to remove it has shown that. */
        if (errno == EACCES && fchmodat(dir, name, 0700, 0) == 0
            && move_up(walk, dir, name) == 0)
        {
            walk->moved = true;
            return;
        }
    }

    walk->error = errno;
}


static void
empty_dir(tree_walk *walk, int fd)
{
    DIR            *dir;
    struct dirent  *entry;

    dir = fdopendir(fd);
    if (dir == NULL) {
        walk->error = errno;
        close(fd);
        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        if (!is_dots(entry->d_name)) {
            remove_entry(walk, fd, entry->d_name);
        }
    }

    closedir(dir);
}


/* One entry of the top: emptied, and removed if that went well. */
static void
remove_top(tree_walk *walk, const char *name)
{
    int  fd;

    fd = oci_tree_open(walk->top, name);

    if (fd == -1 && errno == EACCES) {
        /* Without the capability to read any directory: as its owner. */
        (void) !fchmodat(walk->top, name, 0700, 0);
        fd = oci_tree_open(walk->top, name);
    }

    if (fd == -1) {
        if (unlinkat(walk->top, name, 0) == 0 || errno == ENOENT) {
            walk->moved = true;
        } else {
            walk->error = errno;
        }
        return;
    }

    empty_dir(walk, fd);

    if (unlinkat(walk->top, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        walk->moved = true;
    }
}


int
oci_tree_empty(int top)
{
    DIR            *dir;
    int             fd;
    bool            left;
    tree_walk       walk;
    struct dirent  *entry;

    memset(&walk, 0, sizeof(walk));
    walk.top = top;

    do {
        fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd == -1) {
            return -1;
        }

        dir = fdopendir(fd);
        if (dir == NULL) {
            close(fd);
            return -1;
        }

        left = false;
        walk.moved = false;
        walk.error = 0;

        while ((entry = readdir(dir)) != NULL) {
            if (!is_dots(entry->d_name)) {
                left = true;
                remove_top(&walk, entry->d_name);
            }
        }

        closedir(dir);

        /* What moved up during a pass is the next pass's. */
    } while (left && walk.moved);

    if (left) {
        errno = walk.error != 0 ? walk.error : ENOTEMPTY;
        return -1;
    }

    return 0;
}
