/* What the guest says on its console; see vm.h. */

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandboxd/vm.h"

#define PANIC  "Kernel panic - not syncing: "
#define KILL   "ut of memory: Killed process "
#define HALF   (VM_CONSOLE_MAX / 2)


/* What doesn't look like one of ours is not gone on with. */
void
vm_console_open(vm_console *c, int file)
{
    struct stat  st;

    c->file = file;
    c->kept = 0;

    if (fstat(file, &st) == 0 && st.st_size <= VM_CONSOLE_MAX) {
        c->kept = (size_t) st.st_size;
    } else {
        (void) !ftruncate(file, 0);
    }
}


/* The last half, from the start of a line on, is the first one from now on. */
static void
console_drop(vm_console *c)
{
    char     text[HALF], *line;
    size_t   len;
    ssize_t  n;

    n = pread(c->file, text, sizeof(text), (off_t) (c->kept - HALF));
    line = n > 0 ? memchr(text, '\n', (size_t) n) : NULL;
    len = line != NULL ? (size_t) (text + n - line - 1) : 0;
    c->kept = 0;

    if (len != 0 && pwrite(c->file, line + 1, len, 0) == (ssize_t) len) {
        c->kept = len;
    }

    (void) !ftruncate(c->file, (off_t) c->kept);
}


/* A full disk keeps nothing, and nobody waiting. */
static void
console_keep(vm_console *c)
{
    ssize_t  n;

    if (c->file == 0) {
        return;
    }

    if (c->kept + c->len + 1 > VM_CONSOLE_MAX) {
        console_drop(c);
    }

    n = pwrite(c->file, c->line, c->len + 1, (off_t) c->kept);

    if (n > 0) {
        c->kept += (size_t) n;
    }
}


/* What sandboxd doesn't take in time is lost to its log: the guest must not be
 * kept waiting by it, nor the log be filled by the guest. */
static void
console_tell(vm_console *c)
{
    c->line[c->len] = '\n';
    console_keep(c);
    (void) !write(VM_FD_LOG, c->line, c->len + 1);
}


/* With blanks behind it: a shorter one leaves nothing of a longer one. */
static void
console_count(vm_console *c)
{
    int              n;
    char             text[128];
    struct timespec  now;

    c->kills++;

    if (c->kills_file == 0) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &now);
    n = snprintf(text, sizeof(text), "%u %lld %s", c->kills,
                 (long long) now.tv_sec * 1000 + now.tv_nsec / 1000000,
                 c->killed);
    memset(text + n, ' ', sizeof(text) - (size_t) n);
    text[sizeof(text) - 1] = '\n';
    (void) !pwrite(c->kills_file, text, sizeof(text), 0);
}


/* "... Killed process 123 (node) total-vm:1kB, ..." */
static void
console_killed(vm_console *c)
{
    char    *what, *end;
    size_t   len;

    what = strstr(c->line, KILL);

    if (what != NULL) {
        what += sizeof(KILL) - 1;
        end = strstr(what, " total-vm:");
        len = end != NULL ? (size_t) (end - what) : strcspn(what, ",");
        snprintf(c->killed, sizeof(c->killed), "%.*s",
                 len < sizeof(c->killed) ? (int) len
                                         : (int) sizeof(c->killed) - 1, what);
        console_count(c);
    }
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

    console_killed(c);
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


int
vm_console_end(const vm_console *c, int status, bool asked,
    char why[VM_WHY_MAX])
{
    int   rc;
    char  what[VM_WHY_MAX];

    what[0] = '\0';

    if (c->panic[0] != '\0') {
        snprintf(what, sizeof(what), "the guest's kernel panicked: %s",
                 c->panic);
        rc = 70;

    } else if (WIFSIGNALED(status)) {
        snprintf(what, sizeof(what), "the virtual machine was ended by signal "
                 "%d", WTERMSIG(status));
        rc = 128 + WTERMSIG(status);

    } else {
        rc = WEXITSTATUS(status);

        if (rc != 0) {
            snprintf(what, sizeof(what), "the virtual machine ended with "
                     "status %d: %s", rc, c->last);

        } else if (!asked) {
            snprintf(what, sizeof(what), "it was powered off");
        }
    }

    /* What may have brought it there. */
    if (what[0] != '\0' && c->killed[0] != '\0') {
        snprintf(why, VM_WHY_MAX, "%.120s; its kernel had ended process %s "
                 "for want of memory", what, c->killed);
    } else {
        memcpy(why, what, VM_WHY_MAX);
    }

    return rc;
}
