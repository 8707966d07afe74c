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

    if (m->filtered
        && net_filter_remove(n->filter, m->slot, m->address, &m->in_force,
                             &err) == -1)
    {
        log_error("network of slot %08x: %s", m->slot, err->message);
        error_free(err);
    }

    m->filtered = false;
}


/* The rules come first: a link never has more than they say. */
static void
job_apply(net *n, job *j)
{
    int      rc;
    member  *m;

    m = j->m;

    if (m->filtered) {
        rc = net_filter_change(n->filter, m->slot, &m->in_force, &j->policy,
                               &j->err);
    } else {
        rc = net_filter_add(n->filter, m->slot, m->address, &j->policy,
                            &j->err);
        m->filtered = rc == 0;
    }

    if (rc == 0) {
        m->in_force = j->policy;

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
