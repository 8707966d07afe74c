/* What a sandbox has lost while it ran; see lifecycle.h. */

#include <inttypes.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"


void
lifecycle_on_killed(void *data, uint32_t slot, const driver_kills *kills)
{
    uint32_t    more;
    sandbox    *sb;
    lifecycle  *lc;

    lc = data;
    sb = registry_find_slot(lc->r, slot);
    more = sb != NULL ? registry_killed(lc->r, sb, kills) : 0;

    if (more > 0) {
        log_info("%s: %u of its processes were ended for want of memory, "
                 "%" PRIu64 " in all%s%s", sb->id, more, sb->kills->total,
                 sb->kills->process[0] != '\0' ? ", the last one " : "",
                 sb->kills->process);
    }
}
