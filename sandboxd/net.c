/* Networks of sandboxes; see net.h. */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/net_link.h"
#include "sandboxd/net_part.h"

#define TICK_MS  1000


static bool
address_used(net *n, uint32_t i, int set)
{
    bool  used;

    used = n->used[i / 8] >> (i % 8) & 1;

    if (set == 1) {
        n->used[i / 8] |= (unsigned char) (1 << (i % 8));
    } else if (set == 0) {
        n->used[i / 8] &= (unsigned char) ~(1 << (i % 8));
    }

    return used;
}


/* Round and round: what is on its way to a former owner is long gone.  The
 * first is the net's, the second ours, the last nobody's. */
static int
address_take(net *n, uint32_t *address, error **err)
{
    uint32_t  i, size;

    size = n->rules->pool.last - n->rules->pool.first;

    for (i = 2; i < size; i++) {
        n->next = n->next + 1 < size ? n->next + 1 : 2;

        if (!address_used(n, n->next, 1)) {
            *address = n->rules->pool.first + n->next;
            return 0;
        }
    }

    return error_set_field(err, 503, "start_failed", "network.outbound",
                           size - 2, "all addresses of this host's sandboxes "
                           "are in use");
}


static member *
member_find(net *n, uint32_t slot)
{
    member  *m;

    for (m = n->members[slot % BUCKETS]; m != NULL; m = m->next) {
        if (m->slot == slot && !m->leaving) {
            return m;
        }
    }

    return NULL;
}


static member *
member_add(net *n, uint32_t slot, uint32_t address)
{
    member  *m;

    m = calloc(1, sizeof(member));
    if (m == NULL) {
        abort();
    }

    m->n = n;
    m->slot = slot;
    m->address = address;
    m->next = n->members[slot % BUCKETS];
    n->members[slot % BUCKETS] = m;
    n->count++;

    return m;
}


/* Once nobody is at it any more. */
static void
member_check(member *m)
{
    net      *n;
    member  **p;

    n = m->n;

    if (!m->leaving || m->jobs > 0 || m->asking) {
        return;
    }

    for (p = &n->members[m->slot % BUCKETS]; *p != m; p = &(*p)->next) {
        /* void */
    }

    *p = m->next;
    n->count--;
    address_used(n, m->address - n->rules->pool.first, 0);
    free(m);
}


static void
member_tell(member *m, error *err)
{
    void      *data;
    net_done   cb;

    cb = m->cb;
    data = m->data;
    m->cb = NULL;

    if (cb != NULL) {
        cb(data, err);

    } else if (err != NULL) {
        log_error("network of slot %08x: %s", m->slot, err->message);
        error_free(err);
    }
}


/* Who asked for something else before. */
static void
member_interrupt(member *m)
{
    error  *err;

    if (m->cb != NULL) {
        err = NULL;
        error_set(&err, 409, "operation_interrupted", "its network was "
                  "changed, or it ended, meanwhile");
        member_tell(m, err);
    }
}


static void
member_leave(member *m)
{
    if (!m->leaving) {
        m->leaving = true;
        net_jobs_add(m, JOB_DETACH, NULL, NULL);
    }
}


/* Without rules nobody may have a link. */
static void
rules_renewed(net *n, error *err)
{
    error     *why;
    member    *m;
    unsigned   i;

    n->renewing = false;

    if (err == NULL && n->watch_seen) {
        log_warn("network: another program has changed the rules of "
                 "sandboxes; they were made anew");

    } else if (err != NULL) {
        log_error("network: another program has changed the rules of "
                  "sandboxes, and they can't be made anew: all links are "
                  "taken away: %s", err->message);
    }

    n->watch_seen = false;

    for (i = 0; err != NULL && i < BUCKETS; i++) {
        for (m = n->members[i]; m != NULL; m = m->next) {
            if (m->leaving) {
                continue;
            }

            member_leave(m);

            if (m->cb != NULL) {
                why = NULL;
                error_set(&why, 503, "start_failed", "%s", err->message);
                member_tell(m, why);
            }
        }
    }

    error_free(err);

    if (n->renew_again) {
        n->renew_again = false;
        net_jobs_renew(n);
    }
}


static void
jobs_done(uv_async_t *async)
{
    job     *j, *next;
    net     *n;
    error   *err;
    member  *m;

    n = async->data;

    pthread_mutex_lock(&n->mutex);
    j = n->done;
    n->done = NULL;
    n->done_end = &n->done;
    pthread_mutex_unlock(&n->mutex);

    for ( ; j != NULL; j = next) {
        next = j->next;

        if (j->kind == JOB_RENEW) {
            rules_renewed(n, j->err);
            free(j);
            continue;
        }

        m = j->m;
        m->jobs--;
        err = j->err;

        if (j->kind == JOB_APPLY) {
            if (err != NULL) {
                member_leave(m);
            }

            if (m->cb != NULL && err == NULL && m->jobs > 0) {
                /* A later one says how it went. */

            } else if (m->cb != NULL || err != NULL) {
                member_tell(m, err);

            } else if (m->answered && !m->leaving) {
                n->changed(n->data, m->slot);
            }

        } else if (m->jobs == 0) {
            member_tell(m, err);
        }

        free(j);
        member_check(m);
    }
}


/* What was asked for, with the addresses of its names. */
static void
member_apply(member *m)
{
    unsigned     i, j;
    net_policy  *p;

    p = malloc(sizeof(net_policy));
    if (p == NULL) {
        abort();
    }

    *p = m->asked;

    for (i = 0; i < p->name_count; i++) {
        for (j = 0; j < m->answer.count[i]; j++) {
            p->ranges[p->range_count].first = m->answer.addresses[i][j];
            p->ranges[p->range_count].last = m->answer.addresses[i][j];
            p->range_count++;
        }
    }

    p->range_count = net_ranges_merge(p->ranges, p->range_count);
    net_jobs_add(m, JOB_APPLY, p, NULL);
    free(p);
}


static void  member_begin(member *m);


/* Names keep the addresses that they had while nobody knows better. */
static void
member_answered(void *data, const net_answer *answer, error *err)
{
    member  *m;

    m = data;
    m->asking = false;
    m->refresh_at = uv_now(m->n->loop) + m->n->refresh_ms;

    if (m->leaving) {
        error_free(err);

    } else if (m->again) {
        error_free(err);
        m->again = false;
        member_begin(m);

    } else if (err != NULL && m->cb != NULL) {
        member_leave(m);
        member_tell(m, err);

    } else if (err != NULL) {
        log_info("network of slot %08x: %s", m->slot, err->message);
        error_free(err);

    } else if (m->cb != NULL
               || memcmp(&m->answer, answer, sizeof(net_answer)) != 0)
    {
        m->answer = *answer;
        m->answered = true;
        member_apply(m);
    }

    member_check(m);
}


static void
member_ask(member *m)
{
    m->asking = true;
    net_names_ask(m->n->loop, &m->asked, m->n->rules, member_answered, m);
}


static void
member_begin(member *m)
{
    if (m->asking) {
        m->again = true;

    } else if (m->asked.name_count > 0) {
        member_ask(m);

    } else {
        member_apply(m);
    }
}


static void
names_tick(uv_timer_t *timer)
{
    net       *n;
    member    *m;
    unsigned   i;

    n = timer->data;

    for (i = 0; i < BUCKETS; i++) {
        for (m = n->members[i]; m != NULL; m = m->next) {
            if (m->asked.name_count > 0 && !m->asking && !m->leaving
                && m->jobs == 0 && uv_now(n->loop) >= m->refresh_at)
            {
                member_ask(m);
            }
        }
    }
}


void
net_attach(net *n, uint32_t slot, const driver_handle *handle, bool machine,
    const net_policy *policy, net_done cb, void *data)
{
    error     *err;
    member    *m;
    uint32_t   address;

    err = NULL;
    m = member_find(n, slot);

    if (m != NULL && (m->handle.pid != handle->pid
                      || m->handle.start_time != handle->start_time))
    {
        net_detach(n, slot, NULL, NULL);
        m = NULL;
    }

    if (m == NULL) {
        address = n->rules->pool.first;
        (void) address_take(n, &address, &err);
        m = member_add(n, slot, address);
    }

    member_interrupt(m);
    m->handle = *handle;
    m->machine = machine;
    m->asked = *policy;
    m->answered = false;
    m->cb = cb;
    m->data = data;
    memset(&m->answer, 0, sizeof(m->answer));

    if (err != NULL) {
        m->leaving = true;
        net_jobs_add(m, JOB_DETACH, NULL, err);

    } else {
        member_begin(m);
    }
}


void
net_detach(net *n, uint32_t slot, net_done cb, void *data)
{
    member  *m;

    m = member_find(n, slot);

    if (m == NULL) {
        /* Something has to be told, and later. */
        if (cb == NULL) {
            return;
        }

        m = member_add(n, slot, n->rules->pool.first);
    }

    member_interrupt(m);
    m->cb = cb;
    m->data = data;
    m->leaving = true;
    net_jobs_add(m, JOB_DETACH, NULL, NULL);
}


bool
net_adopt(net *n, uint32_t slot, const driver_handle *handle, bool machine,
    const net_policy *policy)
{
    member    *m;
    uint32_t   address;

    if (!net_link_address(slot, &address)) {
        return false;
    }

    /* Of another pool: it makes room for a new one. */
    if (address <= n->rules->pool.first + 1
        || address >= n->rules->pool.last
        || address_used(n, address - n->rules->pool.first, 1))
    {
        (void) net_link_remove(slot, NULL);
        return false;
    }

    m = member_add(n, slot, address);
    m->handle = *handle;
    m->machine = machine;
    m->asked = *policy;
    m->up = true;
    member_apply(m);

    return true;
}


static void
sweep_found(void *data, uint32_t slot)
{
    net    *n;
    error  *err;

    n = data;
    err = NULL;

    if (member_find(n, slot) == NULL) {
        log_info("network of slot %08x: nobody has it any more", slot);

        if (net_link_remove(slot, &err) == -1) {
            log_error("network of slot %08x: %s", slot, err->message);
            error_free(err);
        }
    }
}


void
net_sweep(net *n)
{
    net_link_each(sweep_found, n);
}


char *
net_hosts(net *n, uint32_t slot)
{
    member  *m;

    m = member_find(n, slot);

    return m != NULL && m->answered
           ? net_names_hosts(&m->asked, &m->answer) : NULL;
}


net *
net_open(uv_loop_t *loop, const net_rules *rules, unsigned refresh,
    net_changed changed, void *data, error **err)
{
    net  *n;

    n = calloc(1, sizeof(net));

    if (n == NULL) {
        abort();
    }

    n->loop = loop;
    n->rules = rules;
    n->refresh_ms = (uint64_t) refresh * 1000;
    n->changed = changed;
    n->data = data;
    n->next = 1;
    n->queue_end = &n->queue;
    n->done_end = &n->done;
    n->lock = -1;
    n->watch_fd = -1;
    n->used = calloc((rules->pool.last - rules->pool.first) / 8 + 1, 1);

    if (n->used == NULL) {
        abort();
    }

    /* Nobody waits for a resolver for long. */
    setenv("RES_OPTIONS", "timeout:2 attempts:2", 0);

    if ((n->lock = net_host_lock(err)) == -1 || net_host_forwards(err) == -1
        || net_watch_open(n, err) == -1
        || (n->filter = net_filter_open(rules, err)) == NULL)
    {
        if (n->lock != -1) {
            close(n->lock);
        }

        if (n->watch_fd != -1) {
            close(n->watch_fd);
        }

        free(n->used);
        free(n);
        return NULL;
    }

    pthread_mutex_init(&n->mutex, NULL);
    pthread_cond_init(&n->cond, NULL);
    uv_async_init(loop, &n->async, jobs_done);
    n->async.data = n;
    uv_timer_init(loop, &n->tick);
    n->tick.data = n;
    uv_timer_start(&n->tick, names_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *) &n->async);
    uv_unref((uv_handle_t *) &n->tick);
    net_watch_begin(n);

    if (pthread_create(&n->thread, NULL, net_jobs_run, n) != 0) {
        abort();
    }

    return n;
}


void
net_close(net *n)
{
    bool       empty;
    member    *m;
    unsigned   i;

    net_watch_close(n);
    pthread_mutex_lock(&n->mutex);
    n->ending = true;
    pthread_cond_signal(&n->cond);
    pthread_mutex_unlock(&n->mutex);
    pthread_join(n->thread, NULL);

    empty = true;

    for (i = 0; i < BUCKETS; i++) {
        for (m = n->members[i]; m != NULL; m = m->next) {
            empty = empty && m->leaving;
            /* An answer about names may still come. */
            m->cb = NULL;
        }
    }

    if (empty) {
        net_filter_drop(n->filter);
    }

    net_filter_close(n->filter);
    close(n->lock);
    uv_close((uv_handle_t *) &n->async, NULL);
    uv_close((uv_handle_t *) &n->tick, NULL);
}
