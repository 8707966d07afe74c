/* Rows on their way to the writer thread; see store_db.h. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/store_db.h"


static char *
text_copy(const char *text)
{
    char  *copy;

    if (text == NULL) {
        return NULL;
    }

    copy = strdup(text);
    if (copy == NULL) {
        abort();
    }

    return copy;
}


store_op *
store_op_new(store_op_kind kind)
{
    store_op  *op;

    op = calloc(1, sizeof(store_op));
    if (op == NULL) {
        abort();
    }

    op->kind = kind;

    return op;
}


store_op *
store_op_tenant(const store_tenant *row)
{
    store_op  *op;

    op = store_op_new(STORE_PUT_TENANT);
    op->seq = row->seq;
    op->name = text_copy(row->name);
    op->text = text_copy(row->prefix);

    return op;
}


store_op *
store_op_domain(const store_domain *row)
{
    store_op  *op;

    op = store_op_new(STORE_PUT_DOMAIN);
    op->seq = row->seq;
    op->name = text_copy(row->name);
    op->tenant = text_copy(row->tenant);
    op->created_at = row->created_at;

    return op;
}


store_op *
store_op_sandbox(store_op_kind kind, const store_sandbox *row)
{
    store_op  *op;

    op = store_op_new(kind);
    op->slot = row->slot;
    op->seq = row->seq;
    op->born = row->born;
    op->state = row->state;
    op->forked = row->forked;
    op->epoch = row->epoch;
    op->epoch_used = row->epoch_used;
    op->boot = row->boot;
    op->created_at = row->created_at;
    op->started_at = row->started_at;
    op->title = text_copy(row->reason);
    op->kills = text_copy(row->kills);

    if (kind == STORE_PUT_SANDBOX) {
        op->name = text_copy(row->id);
        op->text = text_copy(row->spec);
    }

    return op;
}


store_op *
store_op_exposure(const store_exposure *row)
{
    store_op  *op;

    op = store_op_new(STORE_PUT_EXPOSURE);
    op->slot = row->slot;
    op->seq = row->seq;
    op->port = row->port;
    op->access = row->access;
    op->gen = row->gen;
    op->host_public = row->host_public;
    op->wake_off = row->wake_off;
    op->wakes = row->wakes;
    op->by_admin = row->by_admin;
    op->created_at = row->created_at;
    op->name = text_copy(row->label);
    op->text = text_copy(row->token);
    op->title = text_copy(row->name);
    op->limits = text_copy(row->limits);

    return op;
}


store_op *
store_op_tombstone(const store_tombstone *row)
{
    store_op  *op;

    op = store_op_new(STORE_DELETE);
    op->slot = row->slot;
    op->seq = row->seq;
    op->exposure = row->exposure;
    op->name = text_copy(row->name);

    return op;
}


store_op *
store_op_answer(store_op_kind kind, const store_answer *row)
{
    store_op  *op;

    op = store_op_new(kind);
    op->name = text_copy(row->key);
    op->title = text_copy(row->request);
    op->tenant = text_copy(row->tenant);
    op->text = text_copy(row->answer);
    op->created_at = row->at;

    return op;
}


void
store_op_free(store_op *op)
{
    free(op->tenant);
    free(op->name);
    free(op->text);
    free(op->title);
    free(op->limits);
    free(op->kills);
    free(op);
}


void
store_ops_free(store_op *op)
{
    store_op  *next;

    for ( /* void */ ; op != NULL; op = next) {
        next = op->next;
        store_op_free(op);
    }
}
