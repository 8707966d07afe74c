/* Which VMMs there are; see vmm.h. */

#include <string.h>

#include "sandboxd/vmm.h"

static const vmm *const  vmm_all[] = { &vmm_qemu, &vmm_firecracker };


const vmm *
vmm_find(const char *name)
{
    size_t  i;

    for (i = 0; i < sizeof(vmm_all) / sizeof(vmm_all[0]); i++) {
        if (strcmp(vmm_all[i]->name, name) == 0) {
            return vmm_all[i];
        }
    }

    return NULL;
}
