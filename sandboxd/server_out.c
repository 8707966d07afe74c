/* Writing to workers, with a bound; see conn.h. */

#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/conn.h"


/* One frame, for any number of connections. */
struct out {
    unsigned       refs;
    size_t         len;
    unsigned char  bytes[];
};

typedef struct {
    uv_write_t   req;
    conn        *c;
    out         *o;
} out_write;


out *
out_create(json_t *frame)
{
    out     *o;
    size_t   len;

    len = json_dumpb(frame, NULL, 0, JSON_COMPACT);
    if (len == 0 || len > FRAME_MAX) {
        return NULL;
    }

    o = malloc(sizeof(out) + FRAME_HEADER + len);
    if (o == NULL) {
        abort();
    }

    o->refs = 1;
    o->len = FRAME_HEADER + len;
    frame_put_header(o->bytes, len);
    json_dumpb(frame, (char *) o->bytes + FRAME_HEADER, len, JSON_COMPACT);

    return o;
}


void
out_unref(out *o)
{
    if (--o->refs == 0) {
        free(o);
    }
}


static void
on_written(uv_write_t *req, int status)
{
    conn       *c;
    out_write  *w;

    w = (out_write *) req;
    c = w->c;

    c->out_bytes -= w->o->len;
    out_unref(w->o);
    free(w);

    if (status < 0) {
        conn_close(c, uv_strerror(status));

    } else {
        c->progress = uv_now(c->s->loop);

        if (!c->closing && !c->reading
            && c->out_bytes < SERVER_OUT_PAUSE / 2)
        {
            conn_resume(c);
        }
    }

    conn_unref(c);
}


void
conn_send_out(conn *c, out *o)
{
    int         rc;
    uv_buf_t    buf;
    out_write  *w;

    if (c->closing) {
        return;
    }

    if (c->out_bytes + o->len > SERVER_OUT_MAX) {
        conn_close(c, "it does not read what it is told");
        return;
    }

    w = malloc(sizeof(out_write));
    if (w == NULL) {
        abort();
    }

    w->c = c;
    w->o = o;
    buf = uv_buf_init((char *) o->bytes, (unsigned int) o->len);

    rc = uv_write(&w->req, (uv_stream_t *) &c->pipe, &buf, 1, on_written);
    if (rc != 0) {
        free(w);
        conn_close(c, uv_strerror(rc));
        return;
    }

    o->refs++;
    c->refs++;
    c->out_bytes += o->len;

    if (c->out_bytes > SERVER_OUT_PAUSE) {
        conn_read(c, false);
    }
}


void
conn_send(conn *c, json_t *frame)
{
    out  *o;

    o = out_create(frame);

    if (o == NULL) {
        log_error("worker %ld: an answer is longer than a frame", c->pid);
        conn_close(c, "an answer that is too long");
        return;
    }

    conn_send_out(c, o);
    out_unref(o);
}
