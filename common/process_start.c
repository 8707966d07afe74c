/* The start of processes; see process_start.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/process_start.h"
#include "common/small_file.h"


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
