/* What is done to the kernel, in a thread; see net_part.h. */

#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/net_link.h"
#include "sandboxd/net_part.h"


static int
apply_link(net *n, member *m, error **err)
{
    int       ns, back, rc;
    net_link  l;

    l.slot = m->slot;
    l.address = m->address;
    l.gateway = n->rules->pool.first + 1;
    l.machine = m->machine;

    ns = net_link_namespace(&m->handle, err);
    if (ns == -1) {
        return -1;
    }

    rc = 0;

    if (m->machine && net_link_enter(ns, &back, err) == 0) {
        rc = net_filter_keeper(err);
        net_link_leave(back);
    } else if (m->machine) {
        rc = -1;
    }

    if (rc == 0) {
        rc = net_link_make(&l, ns, err);
    }

    close(ns);
    m->up = rc == 0;

    return rc;
}


static void
filtered_add(net *n, member *m)
{
    m->filtered = true;
    m->filtered_next = n->filtered;
    m->filtered_prev = &n->filtered;

    if (n->filtered != NULL) {
        n->filtered->filtered_prev = &m->filtered_next;
    }

    n->filtered = m;
    n->filtered_count++;
}


static void
filtered_remove(net *n, member *m)
{
    m->filtered = false;
    *m->filtered_prev = m->filtered_next;

    if (m->filtered_next != NULL) {
        m->filtered_next->filtered_prev = m->filtered_prev;
    }

    n->filtered_count--;
}


static int
rules_renew(net *n, error **err)
{
    int                rc;
    size_t             i;
    member            *m;
    net_filter_entry  *all;

    all = calloc(n->filtered_count + 1, sizeof(net_filter_entry));
    if (all == NULL) {
        abort();
    }

    for (i = 0, m = n->filtered; m != NULL; m = m->filtered_next, i++) {
        all[i].slot = m->slot;
        all[i].address = m->address;
        all[i].policy = &m->in_force;
    }

    rc = net_filter_renew(n->filter, n->rules, all, i, err);
    free(all);

    return rc;
}


static void
job_detach(net *n, member *m)
{
    error  *err;

    err = NULL;

    if (m->up && net_link_remove(m->slot, &err) == -1) {
        log_error("network of slot %08x: %s", m->slot, err->message);
        error_free(err);
        err = NULL;
    }

    m->up = false;

    if (!m->filtered) {
        return;
    }

    filtered_remove(n, m);

    /* Without the others' rules it can't be taken out of them. */
    if (net_filter_remove(n->filter, m->slot, m->address, &m->in_force, NULL)
        == -1
        && rules_renew(n, &err) == -1)
    {
        log_error("network of slot %08x: %s", m->slot, err->message);
        error_free(err);
    }
}


static int
filter_apply(net *n, member *m, const net_policy *policy, error **err)
{
    if (m->filtered) {
        return net_filter_change(n->filter, m->slot, &m->in_force, policy,
                                 err);
    }

    return net_filter_add(n->filter, m->slot, m->address, policy, err);
}


/* The rules come first: a link never has more than they say.  They may not be
 * what they were, which nobody has heard of yet. */
static void
job_apply(net *n, job *j)
{
    int      rc;
    member  *m;

    m = j->m;
    rc = filter_apply(n, m, &j->policy, &j->err);

    if (rc == -1 && rules_renew(n, NULL) == 0) {
        error_free(j->err);
        j->err = NULL;
        rc = filter_apply(n, m, &j->policy, &j->err);
    }

    if (rc == 0) {
        m->in_force = j->policy;

        if (!m->filtered) {
            filtered_add(n, m);
        }

        if (!m->up) {
            rc = apply_link(n, m, &j->err);
        }
    }

    if (rc == -1) {
        job_detach(n, m);
    }
}


void *
net_jobs_run(void *data)
{
    job  *j;
    net  *n;

    n = data;
    pthread_mutex_lock(&n->mutex);

    for ( ;; ) {
        while (n->queue == NULL && !n->ending) {
            pthread_cond_wait(&n->cond, &n->mutex);
        }

        if (n->queue == NULL) {
            break;
        }

        j = n->queue;
        n->queue = j->next;

        if (n->queue == NULL) {
            n->queue_end = &n->queue;
        }

        pthread_mutex_unlock(&n->mutex);

        if (j->kind == JOB_APPLY) {
            job_apply(n, j);
        } else if (j->kind == JOB_RENEW) {
            (void) rules_renew(n, &j->err);
        } else {
            job_detach(n, j->m);
        }

        pthread_mutex_lock(&n->mutex);
        j->next = NULL;
        *n->done_end = j;
        n->done_end = &j->next;
        uv_async_send(&n->async);
    }

    pthread_mutex_unlock(&n->mutex);

    return NULL;
}


void
net_jobs_add(member *m, job_kind kind, const net_policy *policy, error *err)
{
    job  *j;
    net  *n;

    n = m->n;
    j = calloc(1, sizeof(job));

    if (j == NULL) {
        abort();
    }

    j->kind = kind;
    j->m = m;
    j->err = err;
    m->jobs++;

    if (policy != NULL) {
        j->policy = *policy;
    }

    pthread_mutex_lock(&n->mutex);
    *n->queue_end = j;
    n->queue_end = &j->next;
    pthread_cond_signal(&n->cond);
    pthread_mutex_unlock(&n->mutex);
}


void
net_jobs_renew(net *n)
{
    job  *j;

    if (n->renewing) {
        n->renew_again = true;
        return;
    }

    j = calloc(1, sizeof(job));
    if (j == NULL) {
        abort();
    }

    j->kind = JOB_RENEW;
    n->renewing = true;

    pthread_mutex_lock(&n->mutex);
    j->next = n->queue;
    n->queue = j;

    if (j->next == NULL) {
        n->queue_end = &j->next;
    }

    pthread_cond_signal(&n->cond);
    pthread_mutex_unlock(&n->mutex);
}
