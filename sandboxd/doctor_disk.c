/*
 * What sandboxes' disks have been promised, and whether there is room for that;
 * see doctor.h.  By the files that there are: a sandbox that never ran has none
 * yet.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sandboxd/doctor.h"

#define SLOT_LEN  8
#define GIB       (1024.0 * 1024 * 1024)

typedef struct {
    uint64_t  count;
    uint64_t  size;
    uint64_t  written;
} disk_sum;


static void
disk_add(disk_sum *sum, int dir, const char *slot)
{
    char         name[NAME_MAX + sizeof("/disk")];
    struct stat  st;

    if (strlen(slot) != SLOT_LEN) {
        return;
    }

    snprintf(name, sizeof(name), "%s/disk", slot);

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISREG(st.st_mode))
    {
        sum->count++;
        sum->size += (uint64_t) st.st_size;
        sum->written += (uint64_t) st.st_blocks * 512;
    }
}


static void
disks_add(disk_sum *sum, int state, const char *kind)
{
    int             fd;
    DIR            *dir;
    struct dirent  *entry;

    fd = openat(state, kind, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    dir = fd != -1 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        if (fd != -1) {
            close(fd);
        }
        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        disk_add(sum, fd, entry->d_name);
    }

    closedir(dir);
}


static json_t *
disk_judge(const disk_sum *sum, const struct statvfs *fs)
{
    bool      fits;
    char      detail[320];
    uint64_t  size, available;

    size = (uint64_t) fs->f_blocks * fs->f_frsize;
    available = (uint64_t) fs->f_bavail * fs->f_frsize;
    fits = sum->size <= sum->written
           || sum->size - sum->written <= available;

    snprintf(detail, sizeof(detail), "%llu disks of %.1f GiB in all, of which "
             "%.1f GiB are written; %.1f of %.1f GiB are free%s",
             (unsigned long long) sum->count, (double) sum->size / GIB,
             (double) sum->written / GIB, (double) available / GIB,
             (double) size / GIB, fits ? "" : ", which is not enough for all "
             "of them: see --disk-budget");

    return doctor_state(fits ? "works" : "partly", detail);
}


json_t *
doctor_disk(const char *state_dir)
{
    int             fd, code;
    char            detail[320];
    size_t          i;
    disk_sum        sum;
    struct statvfs  fs;

    static const char *const  kinds[] = { "sandboxes", "machines",
                                          "microvms" };

    fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    code = errno;

    if (fd == -1) {
        snprintf(detail, sizeof(detail), "%s: %s", state_dir, strerror(code));
        return doctor_state(code == ENOENT ? "absent" : "closed", detail);
    }

    memset(&sum, 0, sizeof(sum));

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        disks_add(&sum, fd, kinds[i]);
    }

    if (fstatvfs(fd, &fs) != 0) {
        memset(&fs, 0, sizeof(fs));
    }

    close(fd);

    return disk_judge(&sum, &fs);
}
