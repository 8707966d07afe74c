/* Names to addresses; see net_names.h. */

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sandboxd/net_names.h"


typedef struct lookup  lookup;

struct lookup {
    lookup           *next;
    const net_rules  *rules;
    unsigned          count;
    char              names[NET_NAMES_MAX][NET_NAME_MAX + 1];
    net_answer        answer;
    error            *err;
    net_answered      cb;
    void             *data;
    bool              told;         /* the time was over */
    unsigned          closing;
    uv_async_t        done;
    uv_timer_t        deadline;
};


static lookup    *waiting;
static lookup   **waiting_end = &waiting;
static unsigned   running;

static void  lookups_pump(void);


static int
lookup_name(lookup *l, unsigned i)
{
    int                  rc;
    uint32_t             address;
    unsigned             n;
    struct addrinfo      hints, *all, *a;
    struct sockaddr_in   in;

    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;

    rc = getaddrinfo(l->names[i], NULL, &hints, &all);

    if (rc != 0) {
        return error_set_field(&l->err, 503, "start_failed",
                               "network.outbound", 0, "the name %s has no "
                               "address: %s", l->names[i], gai_strerror(rc));
    }

    n = 0;

    for (a = all; a != NULL && n < NET_ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_family != AF_INET || a->ai_addrlen < sizeof(in)) {
            continue;
        }

        memcpy(&in, a->ai_addr, sizeof(in));
        address = ntohl(in.sin_addr.s_addr);

        if (net_address_public(l->rules, address)) {
            l->answer.addresses[i][n++] = address;
        }
    }

    freeaddrinfo(all);
    l->answer.count[i] = n;

    if (n == 0) {
        return error_set_field(&l->err, 503, "start_failed",
                               "network.outbound", 0, "the name %s has no "
                               "public address", l->names[i]);
    }

    return 0;
}


static void *
lookup_run(void *data)
{
    lookup    *l;
    unsigned   i;

    l = data;

    for (i = 0; i < l->count && lookup_name(l, i) == 0; i++) {
        /* void */
    }

    uv_async_send(&l->done);

    return NULL;
}


static void
lookup_closed(uv_handle_t *handle)
{
    lookup  *l;

    l = handle->data;

    if (--l->closing == 0) {
        error_free(l->err);
        free(l);
    }
}


static void
lookup_tell(lookup *l, error *err)
{
    if (!l->told) {
        l->told = true;
        l->cb(l->data, err == NULL ? &l->answer : NULL, err);

    } else {
        error_free(err);
    }
}


static void
lookup_done(uv_async_t *handle)
{
    error   *err;
    lookup  *l;

    l = handle->data;
    running--;
    err = l->err;
    l->err = NULL;
    lookup_tell(l, err);

    l->closing = 2;
    uv_close((uv_handle_t *) &l->done, lookup_closed);
    uv_close((uv_handle_t *) &l->deadline, lookup_closed);

    lookups_pump();
}


static void
lookup_late(uv_timer_t *timer)
{
    error   *err;
    lookup  *l;

    l = timer->data;
    err = NULL;
    error_set_field(&err, 503, "start_failed", "network.outbound", 0,
                    "the names were not resolved within %d s",
                    NET_LOOKUP_MS / 1000);
    lookup_tell(l, err);
}


static void
lookups_pump(void)
{
    lookup          *l;
    pthread_t        thread;
    pthread_attr_t   attr;

    while (waiting != NULL && running < NET_LOOKUPS_MAX) {
        l = waiting;
        waiting = l->next;

        if (waiting == NULL) {
            waiting_end = &waiting;
        }

        running++;
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attr, 256 * 1024);

        if (pthread_create(&thread, &attr, lookup_run, l) != 0) {
            error_set(&l->err, 503, "start_failed", "no thread for names");
            uv_async_send(&l->done);
        }

        pthread_attr_destroy(&attr);
    }
}


void
net_names_ask(uv_loop_t *loop, const net_policy *policy,
    const net_rules *rules, net_answered cb, void *data)
{
    lookup  *l;

    l = calloc(1, sizeof(lookup));
    if (l == NULL) {
        abort();
    }

    l->rules = rules;
    l->cb = cb;
    l->data = data;
    l->count = policy->name_count;
    memcpy(l->names, policy->names, sizeof(l->names));

    uv_async_init(loop, &l->done, lookup_done);
    l->done.data = l;
    uv_timer_init(loop, &l->deadline);
    l->deadline.data = l;
    uv_timer_start(&l->deadline, lookup_late, NET_LOOKUP_MS, 0);

    *waiting_end = l;
    waiting_end = &l->next;
    lookups_pump();
}


char *
net_names_hosts(const net_policy *policy, const net_answer *answer)
{
    char      *text;
    FILE      *out;
    size_t     len;
    uint32_t   a;
    unsigned   i, j;

    text = NULL;

    if (policy->name_count == 0
        || (out = open_memstream(&text, &len)) == NULL)
    {
        return NULL;
    }

    for (i = 0; i < policy->name_count; i++) {
        for (j = 0; j < answer->count[i]; j++) {
            a = answer->addresses[i][j];
            fprintf(out, "%u.%u.%u.%u\t%s\n", a >> 24, a >> 16 & 255,
                    a >> 8 & 255, a & 255, policy->names[i]);
        }
    }

    fclose(out);

    return text;
}
