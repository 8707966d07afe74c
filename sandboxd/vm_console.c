/* What the guest says on its console; see vm.h. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandboxd/vm.h"

#define PANIC  "Kernel panic - not syncing: "


/* What sandboxd doesn't take in time is lost: the guest must not be kept
 * waiting by it, nor sandboxd's log be filled by the guest. */
static void
console_tell(vm_console *c)
{
    c->line[c->len] = '\n';
    (void) !write(VM_FD_LOG, c->line, c->len + 1);
}


static void
console_line(vm_console *c)
{
    char  *panic;

    c->line[c->len] = '\0';

    if (c->len == 0) {
        return;
    }

    if (!c->ready && strstr(c->line, VM_READY) != NULL) {
        c->ready = true;
    }

    panic = strstr(c->line, PANIC);

    if (panic != NULL && c->panic[0] == '\0') {
        snprintf(c->panic, sizeof(c->panic), "%.*s", (int) sizeof(c->panic) - 1,
                 panic + sizeof(PANIC) - 1);
    }

    snprintf(c->last, sizeof(c->last), "%.*s", (int) sizeof(c->last) - 1,
             c->line);
    console_tell(c);
    c->len = 0;
}


void
vm_console_take(vm_console *c, const char *text, size_t len)
{
    char    ch;
    size_t  i;

    for (i = 0; i < len; i++) {
        ch = text[i];

        if (ch == '\n' || c->len == sizeof(c->line) - 1) {
            console_line(c);
            c->len = 0;
        }

        if (ch == '\r' || ch == '\n') {
            continue;
        }

        c->line[c->len++] = ch >= ' ' && ch < 0x7f ? ch : '?';
    }
}
