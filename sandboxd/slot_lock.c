/* Who runs in a sandbox's directory; see slot_lock.h. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/process_start.h"
#include "common/small_file.h"
#include "sandboxd/slot_lock.h"


void
boot_id_read(char boot_id[BOOT_ID_SIZE])
{
    (void) small_file_text("/proc/sys/kernel/random/boot_id", boot_id,
                           BOOT_ID_SIZE);
    boot_id[strcspn(boot_id, "\n")] = '\0';
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
