/* What this driver's boxes have of their own; see oci.h. */

#include <signal.h>
#include <unistd.h>

#include "sandboxd/oci.h"


static void
orphan_kill(void *data, pid_t pid)
{
    (void) kill(pid, SIGKILL);
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


bool
oci_box_kills(box_driver *bd, uint32_t slot, driver_kills *kills)
{
    int64_t  n;

    n = cgroup_kills(bd->cg, slot);
    kills->count = n > 0 ? (uint32_t) n : 0;

    return n > 0;
}


int
oci_box_kills_watch(box *b, bool *urgent)
{
    return cgroup_kills_watch(b->bd->cg, b->slot, urgent);
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
