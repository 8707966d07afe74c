/* Answers by Idempotency-Key; see idempotency.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "sandboxd/idempotency.h"

#define BUCKETS  16384


typedef struct entry  entry;

struct entry {
    entry     *next;                        /* in its bucket */
    entry     *older, *newer;
    int64_t    at;
    uint64_t   seq;                         /* 0: durable */
    char       key[STORE_DIGEST_LEN + 1];   /* of tenant and key */
    char       request[STORE_DIGEST_LEN + 1];
    char      *tenant;
    char      *answer;
};


struct idempotency {
    store   *s;
    size_t   count;
    entry   *oldest, *newest;
    entry   *buckets[BUCKETS];
};


static void
digest_hex(char dst[STORE_DIGEST_LEN + 1], const void *a, size_t a_len,
    const void *b, size_t b_len)
{
    int             i;
    char           *both;
    unsigned char   sum[SHA256_DIGEST_LENGTH];

    both = malloc(a_len + b_len + 1);
    if (both == NULL) {
        abort();
    }

    memcpy(both, a, a_len);
    memcpy(both + a_len, b, b_len);
    SHA256((unsigned char *) both, a_len + b_len, sum);
    free(both);

    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        snprintf(dst + 2 * i, 3, "%02x", sum[i]);
    }
}


/* The tenant's name ends with its NUL, so that no key reaches into it. */
static void
key_digest(char dst[STORE_DIGEST_LEN + 1], const char *tenant,
    const char *key)
{
    digest_hex(dst, tenant, strlen(tenant) + 1, key, strlen(key));
}


/* Members in another order are the same request. */
static void
request_digest(char dst[STORE_DIGEST_LEN + 1], const json_t *request)
{
    char  *text;

    text = request != NULL
           ? json_dumps(request, JSON_COMPACT | JSON_SORT_KEYS) : strdup("{}");

    if (text == NULL) {
        abort();
    }

    digest_hex(dst, text, strlen(text), "", 0);
    free(text);
}


static entry **
bucket_of(idempotency *im, const char *key)
{
    char  head[8];

    memcpy(head, key, 7);
    head[7] = '\0';

    return &im->buckets[strtoul(head, NULL, 16) % BUCKETS];
}


static void
entry_drop(idempotency *im, entry *e)
{
    entry  **p;

    for (p = bucket_of(im, e->key); *p != e; p = &(*p)->next) {
        /* void */
    }

    *p = e->next;

    *(e->older != NULL ? &e->older->newer : &im->oldest) = e->newer;
    *(e->newer != NULL ? &e->newer->older : &im->newest) = e->older;
    im->count--;

    free(e->tenant);
    free(e->answer);
    free(e);
}


static entry *
entry_add(idempotency *im, const char *key, const char *request,
    const char *tenant, const char *answer, int64_t at)
{
    entry  *e, **bucket;

    e = calloc(1, sizeof(entry));
    if (e == NULL) {
        abort();
    }

    snprintf(e->key, sizeof(e->key), "%s", key);
    snprintf(e->request, sizeof(e->request), "%s", request);
    e->tenant = strdup(tenant);
    e->answer = strdup(answer);
    e->at = at;

    if (e->tenant == NULL || e->answer == NULL) {
        abort();
    }

    bucket = bucket_of(im, key);
    e->next = *bucket;
    *bucket = e;

    e->older = im->newest;
    *(im->newest != NULL ? &im->newest->newer : &im->oldest) = e;
    im->newest = e;
    im->count++;

    return e;
}


static entry *
entry_find(idempotency *im, const char *key)
{
    entry  *e;

    for (e = *bucket_of(im, key); e != NULL; e = e->next) {
        if (strcmp(e->key, key) == 0) {
            return e;
        }
    }

    return NULL;
}


/* Those that are over, and the oldest where there are too many. */
static void
entries_trim(idempotency *im, const char *tenant, int64_t now)
{
    size_t   n;
    entry   *e, *older;

    while (im->oldest != NULL
           && (im->count > IDEMPOTENCY_ALL
               || now - im->oldest->at >= IDEMPOTENCY_MS))
    {
        store_delete_answer(im->s, im->oldest->key);
        entry_drop(im, im->oldest);
    }

    n = 0;

    for (e = im->newest; e != NULL; e = older) {
        older = e->older;

        if (strcmp(e->tenant, tenant) == 0 && ++n > IDEMPOTENCY_TENANT) {
            store_delete_answer(im->s, e->key);
            entry_drop(im, e);
        }
    }
}


static int
answer_loaded(void *data, const store_answer *row, error **err)
{
    entry_add(data, row->key, row->request, row->tenant, row->answer,
              row->at);

    return 0;
}


idempotency *
idempotency_create(store *s, error **err)
{
    idempotency  *im;

    im = calloc(1, sizeof(idempotency));
    if (im == NULL) {
        abort();
    }

    im->s = s;

    if (store_load_answers(s, answer_loaded, im, err) < 0) {
        idempotency_free(im);
        return NULL;
    }

    return im;
}


void
idempotency_free(idempotency *im)
{
    while (im->oldest != NULL) {
        entry_drop(im, im->oldest);
    }

    free(im);
}


int
idempotency_find(idempotency *im, const char *tenant, const char *key,
    const json_t *request, int64_t now, json_t **answer, uint64_t *seq,
    error **err)
{
    char    digest[STORE_DIGEST_LEN + 1];
    entry  *e;

    key_digest(digest, tenant, key);
    e = entry_find(im, digest);

    if (e == NULL || now - e->at >= IDEMPOTENCY_MS) {
        return 0;
    }

    request_digest(digest, request);

    if (strcmp(digest, e->request) != 0) {
        return error_set_field(err, 422, "idempotency_key_reused",
                               "Idempotency-Key", 0, "this Idempotency-Key "
                               "was used for another request");
    }

    *answer = json_loads(e->answer, 0, NULL);
    *seq = e->seq;

    return *answer != NULL ? 1 : 0;
}


void
idempotency_put(idempotency *im, const char *tenant, const char *key,
    const json_t *request, int64_t now, const json_t *answer, uint64_t seq)
{
    char          digest[STORE_DIGEST_LEN + 1], what[STORE_DIGEST_LEN + 1];
    char         *text;
    entry        *e;
    store_answer  row;

    key_digest(digest, tenant, key);
    request_digest(what, request);
    text = json_dumps(answer, JSON_COMPACT);

    if (text == NULL) {
        abort();
    }

    e = entry_find(im, digest);
    if (e != NULL) {
        entry_drop(im, e);
    }

    e = entry_add(im, digest, what, tenant, text, now);
    e->seq = seq;

    row.key = digest;
    row.request = what;
    row.tenant = tenant;
    row.answer = text;
    row.at = now;
    store_put_answer(im->s, &row);
    free(text);

    entries_trim(im, tenant, now);
}
