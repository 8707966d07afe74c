/* sources: common/error.c */
/* libs: -ljansson */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/vm.h"

static int  nobody = -1, memory = -1, theirs = -1;

#undef VM_FD_LOG
#undef VM_FD_MEMORY
#undef VM_FD_STATE
#define VM_FD_LOG     nobody        /* instead of standard error */
#define VM_FD_MEMORY  memory
#define VM_FD_STATE   memory

#include "sandboxd/qemu_monitor.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* QEMU's end stays here. */
void
vm_fd_place(int fd, int want)
{
    theirs = fd;
}


/* Nor is there any memory that the keeper would write. */
int
vm_ram_save(error **err)
{
    return 0;
}


int
vm_ram_load(error **err)
{
    return 0;
}


static void
take_all(int fd)
{
    char  text[4096];

    while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0) {
        /* what it is told, with descriptors that are closed */
    }
}


/* A VMM that was broken out of says anything, at any time, in any pieces: its
 * keeper is asked to keep the memory now and then, and lives on. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t    i, n;
    error    *err;
    vmm_news  news;

    static vm_order  order;

    err = NULL;

    if (nobody == -1) {
        nobody = open("/dev/null", O_WRONLY | O_CLOEXEC);
        memory = memfd_create("memory", MFD_CLOEXEC);

        if (qemu_monitor_open(&order, &err) != 0
            || qemu_monitor_begin(&order, &err) == -1)
        {
            abort();
        }
    }

    for (i = 0; i < size; i += n) {
        n = 1 + data[i] % 200;
        n = n < size - i ? n : size - i;

        if (data[i] & 1) {
            (void) qemu_monitor_save();
        }

        if (data[i] % 16 == 2) {
            qemu_monitor_resume();
        }

        if (send(theirs, data + i, n, MSG_DONTWAIT | MSG_NOSIGNAL)
            != (ssize_t) n)
        {
            abort();
        }

        do {
            news = qemu_monitor_event(&err);

            if (news == VMM_BROKEN || news == VMM_FAILED || err != NULL) {
                abort();
            }
        } while (news != VMM_NOTHING);

        take_all(theirs);
    }

    return 0;
}
