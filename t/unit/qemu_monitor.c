/* sources: sandboxd/qemu_monitor.c common/error.c */

/* What a keeper takes for the news of its QEMU: of two saves, each has its
 * own. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/qemu.h"
#include "t/unit/tap.h"

#define COMPLETED  "{\"event\": \"MIGRATION\", "                             \
                   "\"data\": {\"status\": \"completed\"}}\n"
#define FAILED     "{\"error\": {\"desc\": \"no\"}}\n"
#define DONE       "{\"return\": {}}\n"

static vm_order  order;
static error    *err;


void
vm_fd_place(int fd, int want)
{
    dup2(fd, want);
    close(fd);
}


int
vm_ram_load(error **e)
{
    return 0;
}


int
vm_ram_save(error **e)
{
    return 0;
}


static vmm_news
said(const char *text)
{
    (void) !write(VM_FD_MONITOR, text, strlen(text));

    return qemu_monitor_event(&err);
}


/* What it was told. */
static const char *
heard(void)
{
    size_t       len;
    ssize_t      n;
    static char  text[8192];

    /* A descriptor ends a piece. */
    for (len = 0; ; len += (size_t) n) {
        n = recv(VM_FD_MONITOR, text + len, sizeof(text) - 1 - len,
                 MSG_DONTWAIT);
        if (n <= 0) {
            break;
        }
    }

    text[len] = '\0';

    return text;
}


int
main(void)
{
    vm_fd_place(memfd_create("log", 0), VM_FD_LOG);
    vm_fd_place(memfd_create("state", 0), VM_FD_STATE);

    if (qemu_monitor_open(&order, &err) != 0
        || qemu_monitor_begin(&order, &err) == -1)
    {
        return 1;
    }

    ok(qemu_monitor_save() == 0 && strstr(heard(), "\"migrate\"") != NULL,
       "a save");
    ok(qemu_monitor_save() == -1, "one at a time");
    ok(said(DONE DONE) == VMM_NOTHING && said(COMPLETED) == VMM_SAVED,
       "it is saved");

    ok(qemu_monitor_save() == 0 && said(FAILED FAILED DONE) == VMM_NOT_SAVED,
       "another one isn't");
    ok(qemu_monitor_save() == 0 && said(DONE) == VMM_NOTHING,
       "what was said of that is not of the next one, in the same piece");
    ok(said(COMPLETED) == VMM_SAVED, "which is saved");

    (void) !write(VM_FD_MONITOR, FAILED, sizeof(FAILED) - 1);
    ok(qemu_monitor_save() == 0 && said(DONE) == VMM_NOTHING
       && said(COMPLETED) == VMM_SAVED, "nor in a piece of its own");

    close(VM_FD_MONITOR);
    ok(qemu_monitor_event(&err) == VMM_BROKEN, "it goes away");

    return done_testing();
}
