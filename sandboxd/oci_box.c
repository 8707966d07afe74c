/* The end of a box whose launch died; see oci.h. */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/oci.h"
#include "sandboxd/oci_launch.h"

/* crun dies with its launch, and what it was making with it. */
#define ORPHANS_TRIES       50
#define ORPHANS_WAIT_US     20000


static void
orphan_kill(void *data, pid_t pid)
{
    (void) kill(pid, SIGKILL);
}


/* Reaps a child that was crun, or was to become it; false: it isn't dead yet.
 * Only the name tells it from children that others wait for. */
static bool
orphan_reap(pid_t pid)
{
    int       fd;
    char      path[64], text[256], state, *p;
    long      ppid;
    ssize_t   n;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd == -1 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd != -1) {
        close(fd);
    }

    text[n > 0 ? n : 0] = '\0';
    p = strrchr(text, ')');

    if (p == NULL || sscanf(p, ") %c %ld", &state, &ppid) != 2
        || ppid != getpid()
        || (strstr(text, OCI_CRUN_NAME_END) == NULL
            && strstr(text, OCI_CRUN_NAME_NEW) == NULL))
    {
        return true;
    }

    return state == 'Z' && waitpid(pid, NULL, WNOHANG) == pid;
}


/* What a dead launch has left became children of this process. */
static void
orphans_reap(void)
{
    DIR            *proc;
    bool            all;
    int             tries;
    pid_t           pid;
    struct dirent  *entry;

    for (tries = 0, all = false; !all && tries < ORPHANS_TRIES; tries++) {
        usleep(ORPHANS_WAIT_US);

        proc = opendir("/proc");
        all = true;

        while (proc != NULL && (entry = readdir(proc)) != NULL) {
            pid = (pid_t) atoi(entry->d_name);

            if (pid > 1 && !orphan_reap(pid)) {
                all = false;
            }
        }

        if (proc != NULL) {
            closedir(proc);
        }
    }
}


void
oci_box_init(box *b)
{
    oci_driver  *o;

    o = (oci_driver *) b->bd;
    ((oci_box *) b)->boot = -1;
    o->sizes[b->slot % OCI_SIZES].stale = true;
}


void
oci_box_clean(box *b)
{
    if (((oci_box *) b)->orphaned) {
        cgroup_processes(b->bd->cg, b->slot, orphan_kill, NULL);
    }
}


void
oci_box_cleaned(box *b)
{
    if (((oci_box *) b)->orphaned) {
        orphans_reap();
    }
}


void
oci_box_free(box *b)
{
    oci_box  *ob;

    ob = (oci_box *) b;

    if (ob->boot != -1) {
        close(ob->boot);
    }
}
