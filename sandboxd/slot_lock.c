/* Who runs in a sandbox's directory; see slot_lock.h. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/small_file.h"
#include "sandboxd/slot_lock.h"


void
boot_id_read(char boot_id[BOOT_ID_SIZE])
{
    (void) small_file_text("/proc/sys/kernel/random/boot_id", boot_id,
                           BOOT_ID_SIZE);
    boot_id[strcspn(boot_id, "\n")] = '\0';
}


uint64_t
process_start_time(pid_t pid)
{
    int   field;
    char  path[40], text[1024], *p;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);

    if (small_file_text(path, text, sizeof(text)) <= 0) {
        return 0;
    }

    /* The name in parentheses is the guest's to choose, spaces and all. */
    p = strrchr(text, ')');

    for (field = 2; p != NULL && field < 22; field++) {
        p = strchr(p + 1, ' ');
    }

    return p != NULL ? strtoull(p + 1, NULL, 10) : 0;
}


void
slot_lock_write(int lock, const char *boot_id, pid_t pid, uint64_t start_time)
{
    int   n;
    char  text[128];

    n = snprintf(text, sizeof(text), "%d %" PRIu64 " %s\n", (int) pid,
                 start_time, boot_id);

    if (pwrite(lock, text, (size_t) n, 0) == n) {
        (void) !ftruncate(lock, n);
    }
}


pid_t
slot_lock_read(int lock, const char *boot_id, uint64_t *start_time)
{
    int       pid;
    char      text[128], boot[64];
    ssize_t   n;

    n = pread(lock, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';

    if (sscanf(text, "%d %" SCNu64 " %63s", &pid, start_time, boot) != 3
        || strcmp(boot, boot_id) != 0 || pid <= 1
        || process_start_time(pid) != *start_time)
    {
        return 0;
    }

    return pid;
}
