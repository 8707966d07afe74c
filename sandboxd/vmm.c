/* Which VMMs there are; see vmm.h. */

#include <string.h>

#include "sandboxd/vmm.h"

static const vmm *const  vmm_all[] = {
    &vmm_qemu, &vmm_qemu_vhost_user, &vmm_qemu_vhost, &vmm_firecracker
};

#define VMMS  (sizeof(vmm_all) / sizeof(vmm_all[0]))


const vmm *
vmm_find(const char *name)
{
    size_t  i;

    for (i = 0; i < VMMS; i++) {
        if (strcmp(vmm_all[i]->name, name) == 0) {
            return vmm_all[i];
        }
    }

    return NULL;
}


const vmm *
vmm_of(const char *driver, const char *channel)
{
    size_t  i;

    for (i = 0; i < VMMS; i++) {
        if (strcmp(vmm_all[i]->driver, driver) == 0
            && (channel == NULL
                || strcmp(vmm_all[i]->channel, channel) == 0))
        {
            return vmm_all[i];
        }
    }

    return NULL;
}
