/* Files of running sandboxes; see runfile.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/small_file.h"
#include "sandboxd/runfile.h"
#include "sandboxd/slot_lock.h"

#define NAME_LEN      8
#define BOOT_ID_LEN  36
#define CONTENT_MAX 256


static int
boot_id(char dst[BOOT_ID_SIZE])
{
    boot_id_read(dst);

    return strlen(dst) == BOOT_ID_LEN ? 0 : -1;
}


int
runfile_write(int dir, const runfile *run, error **err)
{
    int      fd, len;
    char     name[NAME_LEN + 1], temp[NAME_LEN + 5], text[CONTENT_MAX];
    char     boot[BOOT_ID_SIZE];
    ssize_t  n;

    if (boot_id(boot) < 0) {
        return error_set(err, 500, "internal", "the boot id can't be read");
    }

    snprintf(name, sizeof(name), "%08x", run->slot);
    snprintf(temp, sizeof(temp), "%s.new", name);

    len = snprintf(text, sizeof(text), "1 %s %d %" PRIu64 " %u %" PRId64
                   " %s\n", boot, (int) run->handle.pid,
                   run->handle.start_time, run->epoch, run->started_at,
                   run->key);

    fd = openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
                | O_NOFOLLOW, 0600);
    if (fd == -1) {
        return error_set(err, 500, "internal", "open %s: %s", temp,
                         strerror(errno));
    }

    n = write(fd, text, (size_t) len);
    close(fd);

    if (n != len || renameat(dir, temp, dir, name) == -1) {
        error_set(err, 500, "internal", "write %s: %s", name,
                  strerror(errno));
        unlinkat(dir, temp, 0);
        return -1;
    }

    return 0;
}


void
runfile_remove(int dir, uint32_t slot)
{
    char  name[NAME_LEN + 1];

    snprintf(name, sizeof(name), "%08x", slot);
    unlinkat(dir, name, 0);
}


/* Ours are 8 hex digits, or those and ".new"; anything else is left alone. */
static bool
runfile_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == NAME_LEN
           && (name[NAME_LEN] == '\0'
               || strcmp(name + NAME_LEN, ".new") == 0);
}


static bool
runfile_read(int dir, const char *name, const char *boot, runfile *run)
{
    int   pid, version;
    char  text[CONTENT_MAX], id[BOOT_ID_LEN + 1], *end;

    memset(run, 0, sizeof(*run));

    run->slot = (uint32_t) strtoul(name, &end, 16);
    if (*end != '\0' || strlen(name) != NAME_LEN) {
        return false;
    }

    if (small_file_text_at(dir, name, O_NOFOLLOW, text, sizeof(text)) <= 0) {
        return false;
    }

    if (sscanf(text, "%d %36s %d %" SCNu64 " %u %" SCNd64 " %32s", &version,
               id, &pid, &run->handle.start_time, &run->epoch,
               &run->started_at, run->key)
        != 7)
    {
        return false;
    }

    run->handle.pid = pid;

    return version == 1 && pid >= 0 && pid != 1 && strcmp(id, boot) == 0
           && strlen(run->key) == RUNFILE_KEY_LEN
           && strspn(run->key, "0123456789abcdef") == RUNFILE_KEY_LEN;
}


int
runfile_each(int dir, void (*found)(void *data, const runfile *run),
    void *data, error **err)
{
    int             fd;
    DIR            *d;
    char            boot[BOOT_ID_SIZE];
    runfile         run;
    struct dirent  *entry;

    if (boot_id(boot) < 0) {
        return error_set(err, 500, "internal", "the boot id can't be read");
    }

    fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd != -1 ? fdopendir(fd) : NULL;

    if (d == NULL) {
        if (fd != -1) {
            close(fd);
        }

        return error_set(err, 500, "internal", "the directory of running "
                         "sandboxes can't be read: %s", strerror(errno));
    }

    while ((entry = readdir(d)) != NULL) {
        if (!runfile_name(entry->d_name)) {
            continue;
        }

        if (runfile_read(dir, entry->d_name, boot, &run)) {
            found(data, &run);

        } else {
            log_debug("run file %s is of no use any more", entry->d_name);
            unlinkat(dir, entry->d_name, 0);
        }
    }

    closedir(d);

    return 0;
}
