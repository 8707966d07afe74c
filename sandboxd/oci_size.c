/* The bytes that a guest has written; see oci_size.h. */

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "sandboxd/oci_size.h"
#include "sandboxd/oci_tree.h"

typedef struct {
    uint64_t  bytes;
    unsigned  entries;
    uint64_t  until;
    bool      over;
    bool      partial;
} size_walk;


static bool
walk_over(size_walk *walk)
{
    if (walk->entries >= OCI_SIZE_ENTRIES
        || (walk->entries % 256 == 255
            && clock_ms(CLOCK_MONOTONIC) > walk->until))
    {
        walk->over = true;
        walk->partial = true;
    }

    return walk->over;
}


static void
size_dir(size_walk *walk, int fd, unsigned depth)
{
    DIR            *dir;
    int             below;
    struct stat     st;
    struct dirent  *entry;

    dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        walk->partial = true;
        return;
    }

    while (!walk_over(walk) && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0
            || strcmp(entry->d_name, "..") == 0)
        {
            continue;
        }

        walk->entries++;

        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
            continue;
        }

        if (!S_ISDIR(st.st_mode)) {
            /* A file with several names is counted at each for its part. */
            walk->bytes += (uint64_t) st.st_blocks * 512
                           / (st.st_nlink > 0 ? st.st_nlink : 1);
            continue;
        }

        walk->bytes += (uint64_t) st.st_blocks * 512;
        below = depth > 1 ? oci_tree_open(fd, entry->d_name) : -1;

        if (below == -1) {
            walk->partial = true;
        } else {
            size_dir(walk, below, depth - 1);
        }
    }

    closedir(dir);
}


uint64_t
oci_tree_size(int dir, bool *partial)
{
    int        fd;
    size_walk  walk;

    memset(&walk, 0, sizeof(walk));
    walk.until = clock_ms(CLOCK_MONOTONIC) + OCI_SIZE_MS;

    fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1) {
        walk.partial = true;
    } else {
        size_dir(&walk, fd, OCI_SIZE_DEPTH);
    }

    *partial = walk.partial;

    return walk.bytes;
}
