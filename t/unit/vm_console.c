/* sources: sandboxd/vm_console.c */

/* What a guest says on its console: lines, when its agent listens, and why its
 * kernel has ended. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandboxd/vm.h"
#include "t/unit/tap.h"


static void
say(vm_console *c, const char *text)
{
    vm_console_take(c, text, strlen(text));
}


int
main(void)
{
    int         i, err;
    vm_console  c;

    /* It says everything on standard error. */
    err = dup(VM_FD_LOG);
    dup2(open("/dev/null", O_WRONLY), VM_FD_LOG);

    memset(&c, 0, sizeof(c));
    say(&c, "[    0.1] booting\r\n2026-01-01T00:00:00.000Z info: init: re");
    ok(!c.ready && strcmp(c.last, "[    0.1] booting") == 0, "a line");
    say(&c, "ady\r\n");
    ok(c.ready, "it listens");

    say(&c, "[ 1.2] Kernel panic - not syncing: Attempted to kill init!\n"
        "Kernel panic - not syncing: again\n");
    ok(strcmp(c.panic, "Attempted to kill init!") == 0, "the first panic");

    say(&c, "a\x1b[31m\x01" "b\n");
    ok(strcmp(c.last, "a?[31m?b") == 0, "no escapes");
    say(&c, "\n\r\n");
    ok(strcmp(c.last, "a?[31m?b") == 0, "empty lines say nothing");

    for (i = 0; i < 3000; i++) {
        say(&c, "x");
    }
    ok(strlen(c.last) == VM_END_MAX - 1 && c.len < sizeof(c.line),
       "a line without end");

    memset(&c, 0, sizeof(c));
    say(&c, "init: ready\n");
    ok(!c.ready, "others say so, too");

    dup2(err, VM_FD_LOG);

    return done_testing();
}
