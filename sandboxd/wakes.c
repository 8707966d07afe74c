/* What visitors may start; see wakes.h. */

#include "sandboxd/wakes.h"


int
wakes_check(sandbox *sb, unsigned port, bool wake, uint64_t now, error **err)
{
    unsigned   wait;
    exposure  *ex;

    ex = exposure_of_port(sb, port);

    if (ex == NULL) {
        return error_set(err, 404, "port_not_exposed", "port %u is not "
                         "exposed", port);
    }

    /* What others run isn't started: somebody looks whether it is there. */
    if (sb->run.state == RUN_UP || spec_external(sb->spec)) {
        return 0;
    }

    if (ex->now.wake_off || !wake) {
        return error_set(err, 410, "STALE_PREVIEW_URL", "Preview URL is stale "
                         "because the sandbox runtime is not active");
    }

    /* What is refused anyway, since the last starts failed, costs nothing. */
    if (sb->run.state == RUN_SLEEPING || sb->run.waiters.first != NULL
        || now < sb->run.retry_at)
    {
        return 0;
    }

    /* A rate that was lowered holds for a minute, not until all that was taken
     * by the old one has worn off. */
    if (ex->woken.taken > ex->now.wakes) {
        ex->woken.taken = ex->now.wakes;
    }

    wait = bucket_take(&ex->woken, ex->now.wakes, now);

    if (wait == 0) {
        return 0;
    }

    error_set_field(err, 429, "wake_limited", "wakesPerMinute",
                    ex->now.wakes, "this sandbox is asleep, and the visitors "
                    "of port %u may wake it %u times a minute", port,
                    ex->now.wakes);

    if (err != NULL) {
        (*err)->retry_after = (int) wait;
    }

    return -1;
}
