#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/vm.h"

static int  nobody = -1;

#undef VM_FD_LOG
#define VM_FD_LOG  nobody           /* instead of standard error */

#include "sandboxd/vm_console.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(const char *text, size_t size)
{
    size_t  i;

    if (memchr(text, '\0', size) == NULL) {
        abort();
    }

    for (i = 0; text[i] != '\0'; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            abort();
        }
    }
}


/* Whatever a guest says: it means the same however it arrives, and what is
 * shown of it is one line of plain text. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i, n;
    static vm_console  whole, parts;

    if (nobody == -1) {
        nobody = open("/dev/null", O_WRONLY | O_CLOEXEC);
    }

    memset(&whole, 0, sizeof(whole));
    memset(&parts, 0, sizeof(parts));
    vm_console_take(&whole, (const char *) data, size);

    for (i = 0; i < size; i += n) {
        n = 1 + data[i] % 7;
        n = n < size - i ? n : size - i;
        vm_console_take(&parts, (const char *) data + i, n);
    }

    if (whole.len >= sizeof(whole.line) || whole.len != parts.len
        || memcmp(whole.line, parts.line, whole.len) != 0
        || whole.ready != parts.ready || strcmp(whole.last, parts.last) != 0
        || strcmp(whole.panic, parts.panic) != 0
        || strcmp(whole.killed, parts.killed) != 0)
    {
        abort();
    }

    check(whole.last, sizeof(whole.last));
    check(whole.panic, sizeof(whole.panic));
    check(whole.killed, sizeof(whole.killed));

    return 0;
}
