/* sources: sandboxd/vm_console.c */

/* What a guest says on its console: lines, when its agent listens, and why its
 * kernel has ended. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/vm.h"
#include "t/unit/tap.h"


static void
say(vm_console *c, const char *text)
{
    vm_console_take(c, text, strlen(text));
}


static bool
file_is_long(int file)
{
    struct stat  st;

    return fstat(file, &st) != 0 || st.st_size > VM_CONSOLE_MAX;
}


/* The file holds the end of what was said, in whole lines, as said. */
static bool
file_ends(int file, unsigned last)
{
    char      text[VM_CONSOLE_MAX + 1], *p, *next;
    ssize_t   n;
    unsigned  first, i;

    n = pread(file, text, VM_CONSOLE_MAX, 0);
    if (n < VM_CONSOLE_MAX / 2 - 64) {
        return false;
    }

    text[n] = '\0';

    if (sscanf(text, "line %u of many\n", &first) != 1) {
        return false;
    }

    for (i = first, p = text; *p != '\0'; i++, p = next + 1) {
        next = strchr(p, '\n');

        if (next == NULL || strtoul(p + 5, NULL, 10) != i) {
            return false;
        }
    }

    return i == last + 1;
}


static void
test_file(void)
{
    int         file;
    char        line[64];
    bool        bounded;
    unsigned    i;
    vm_console  c;

    memset(&c, 0, sizeof(c));
    file = memfd_create("console", MFD_CLOEXEC);
    vm_console_open(&c, file);
    bounded = true;

    for (i = 0; i < 20000; i++) {
        snprintf(line, sizeof(line), "line %u of many\r\n", i);
        say(&c, line);
        bounded = bounded && !file_is_long(file);
    }

    ok(bounded, "a flood leaves no more than it may");
    ok(file_ends(file, 19999), "... and that is the end of it");

    memset(&c, 0, sizeof(c));
    vm_console_open(&c, file);

    for (; i < 20010; i++) {
        snprintf(line, sizeof(line), "line %u of many\n", i);
        say(&c, line);
    }

    ok(file_ends(file, 20009), "the next run goes on with the file");

    for (i = 0; i < 3 * VM_CONSOLE_MAX; i++) {
        say(&c, "x");
    }

    ok(!file_is_long(file), "lines without end are bounded");

    (void) !ftruncate(file, VM_CONSOLE_MAX + 1);
    vm_console_open(&c, file);
    say(&c, "\nanew\n");
    ok(!file_is_long(file), "one that is too long is begun anew");

    close(file);
}


/* What is noted is the last one, whatever was noted before. */
static void
test_kills(void)
{
    char        text[256];
    ssize_t     n;
    unsigned    count;
    long long   at;
    vm_console  c;

    memset(&c, 0, sizeof(c));
    c.kills_file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    say(&c, "Out of memory: Killed process 12 (a rather long name) "
        "total-vm:1kB\nOut of memory: Killed process 3 (x) total-vm:1kB\n");
    n = pread(c.kills_file, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    ok(sscanf(text, "%u %lld 3 (x) ", &count, &at) == 2 && count == 2
       && at > 1700000000000 && strchr(text, 'a') == NULL
       && strchr(text, '\n') == text + n - 1, "it is noted");
    close(c.kills_file);
}


int
main(void)
{
    int         i, err;
    char        why[VM_WHY_MAX];
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

    say(&c, "[ 9.1] oom-kill:constraint=CONSTRAINT_NONE,task=node,pid=12\n");
    memset(c.panic, 0, sizeof(c.panic));
    ok(c.killed[0] == '\0', "nothing was ended for want of memory");
    ok(vm_console_end(&c, 0, false, why) == 0
       && strcmp(why, "it was powered off") == 0,
       "an end from inside has a reason");
    say(&c, "[ 9.2] Out of memory: Killed process 12 (node (2)) "
        "total-vm:1kB, anon-rss:1kB\n");
    ok(strcmp(c.killed, "12 (node (2))") == 0, "a process was");
    ok(vm_console_end(&c, 0, true, why) == 0 && why[0] == '\0',
       "an end in order has no reason");
    ok(vm_console_end(&c, 0, false, why) == 0
       && strcmp(why, "it was powered off; its kernel had ended process 12 "
                 "(node (2)) for want of memory") == 0,
       "one that nobody asked for says it");
    ok(vm_console_end(&c, 9, false, why) == 137
       && strcmp(why, "the virtual machine was ended by signal 9; its kernel "
                 "had ended process 12 (node (2)) for want of memory") == 0,
       "... and so does one by a signal");
    ok(c.kills == 1, "it counts");
    memset(c.panic, 'x', sizeof(c.panic) - 1);
    ok(vm_console_end(&c, 0, false, why) == 70
       && strstr(why, "panicked: xxx") != NULL
       && strstr(why, "(2)) for want of memory") != NULL,
       "... and a panic");
    memset(c.panic, 0, sizeof(c.panic));
    say(&c, "Memory cgroup out of memory: Killed process 7 (");
    for (i = 0; i < 300; i++) {
        say(&c, "x");
    }
    say(&c, "\n");
    ok(strlen(c.killed) == sizeof(c.killed) - 1, "one with a long name");
    test_kills();

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

    test_file();
    dup2(err, VM_FD_LOG);

    return done_testing();
}
