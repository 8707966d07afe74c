/*
 * Processes that the kernel has ended for want of memory, while their sandbox
 * runs on: who counts them is asked when there is a sign of any, which may come
 * a moment before; then not again for a while, however many there are.  See
 * box.h.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandboxd/box.h"

#define SOON_MS   500
#define PAUSE_MS  10000
#define LOOKS     2         /* after a sign, and when nothing else comes */

struct box_kills {
    box         *b;
    int          fd;        /* -1: the log is the only sign */
    int          events;
    uint32_t     count;     /* as it was told */
    unsigned     looks;     /* that are still to come */
    unsigned     closing;
    uv_poll_t    poll;
    uv_timer_t   timer;
};


bool
box_kills_take(box_driver *bd, uint32_t slot, driver_kills *kills)
{
    memset(kills, 0, sizeof(*kills));

    return bd->ops->kills != NULL && bd->ops->kills(bd, slot, kills);
}


void
box_kills_tell(box_driver *bd, uint32_t slot, const driver_kills *kills)
{
    if (bd->host.killed != NULL) {
        bd->host.killed(bd->host.told_data, slot, kills);
    }
}


static void kills_sign(uv_poll_t *poll, int status, int events);


static void
kills_wait(box_kills *k)
{
    if (k->fd != -1) {
        uv_poll_start(&k->poll, k->events, kills_sign);
    }
}


static void
kills_due(uv_timer_t *timer)
{
    box_kills     *k;
    driver_kills   now;

    k = timer->data;

    if (box_kills_take(k->b->bd, k->b->slot, &now) && now.count != k->count) {
        k->count = now.count;
        k->looks = LOOKS;
        box_kills_tell(k->b->bd, k->b->slot, &now);
    }

    if (--k->looks > 0) {
        uv_timer_start(&k->timer, kills_due, PAUSE_MS, 0);
    } else {
        kills_wait(k);
    }
}


void
box_kills_look(box *b)
{
    box_kills  *k;

    k = b->kills;

    if (k != NULL) {
        if (k->looks == 0) {
            uv_timer_start(&k->timer, kills_due, SOON_MS, 0);
        }

        k->looks = LOOKS;
    }
}


static void
kills_sign(uv_poll_t *poll, int status, int events)
{
    box_kills  *k;

    k = poll->data;
    uv_poll_stop(poll);
    cgroup_kills_seen(k->fd);
    box_kills_look(k->b);
}


static void
log_said(void *data)
{
    box_kills_look(data);
}


static void
kills_watch(box_kills *k)
{
    bool  urgent;

    k->fd = k->b->ops->kills_watch != NULL
            ? k->b->ops->kills_watch(k->b, &urgent) : -1;

    if (k->fd == -1) {
        return;
    }

    if (uv_poll_init(k->b->bd->host.loop, &k->poll, k->fd) != 0) {
        close(k->fd);
        k->fd = -1;
        return;
    }

    k->events = urgent ? UV_PRIORITIZED : UV_READABLE;
    k->poll.data = k;
    kills_wait(k);
}


void
box_listen(box *b, int log)
{
    box_kills  *k;

    b->log = agent_log_start(b->bd->host.loop, b->slot, log, log_said, b);
    k = calloc(1, sizeof(box_kills));

    if (k == NULL) {
        abort();
    }

    k->b = b;
    uv_timer_init(b->bd->host.loop, &k->timer);
    k->timer.data = k;
    kills_watch(k);
    b->kills = k;
}


static void
kills_closed(uv_handle_t *handle)
{
    box_kills  *k;

    k = handle->data;

    if (--k->closing == 0) {
        if (k->fd != -1) {
            close(k->fd);
        }

        free(k);
    }
}


void
box_kills_end(box *b)
{
    box_kills  *k;

    k = b->kills;
    b->kills = NULL;

    if (k == NULL) {
        return;
    }

    k->closing = 1;
    uv_close((uv_handle_t *) &k->timer, kills_closed);

    if (k->fd != -1) {
        k->closing++;
        uv_close((uv_handle_t *) &k->poll, kills_closed);
    }
}
