/* Answers with a run's output; see result.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/result.h"
#include "common/json_text.h"
#include "common/utf8.h"

#define RESULT_PIECE  (64 * 1024)
#define RESULT_WHOLE  (256 * 1024)      /* up to here in one piece */

typedef struct {
    http_request  *r;
    run           *of;
    char          *tail;
    uint64_t       off[2];
    uint64_t       end[2];
    int            phase;               /* 0 stdout, 1 stderr, 2 tail */
} result;

static char  result_raw[RESULT_PIECE];
static char  result_text[RESULT_PIECE * JSON_TEXT_GROWTH];


/* Where the output ends for the answer. */

static uint64_t
result_end(spool *s, int strip)
{
    char      last;
    uint64_t  off;

    if (!strip || s->end == s->start) {
        return s->end;
    }

    off = s->end - 1;

    return spool_read(s, &off, &last, 1) == 1 && last == '\n' ? s->end - 1
                                                               : s->end;
}


/* Where it begins: at most so many bytes before the end, and not in the
 * middle of a character. */

static uint64_t
result_start(spool *s, uint64_t end, uint64_t most)
{
    int       i;
    char      c;
    uint64_t  off, next;

    if (most == 0 || end - s->start <= most) {
        return s->start;
    }

    off = end - most;

    for (i = 0; i < 3; i++) {
        next = off;
        if (spool_read(s, &next, &c, 1) != 1 || (c & 0xc0) != 0x80) {
            break;
        }
        off++;
    }

    return off;
}


/* The next piece as JSON text, whole characters; 0 when the stream is done. */

static size_t
result_step(result *t)
{
    int       err;
    size_t    n, whole, used;
    uint64_t  off;

    err = t->phase;
    off = t->off[err];

    if (off >= t->end[err]) {
        return 0;
    }

    n = t->end[err] - off < RESULT_PIECE ? (size_t) (t->end[err] - off)
                                         : RESULT_PIECE;
    n = spool_read(err ? &t->of->err : &t->of->out, &off, result_raw, n);

    if (n == 0) {
        t->off[err] = t->end[err];
        return 0;
    }

    whole = off < t->end[err] ? utf8_complete(result_raw, n) : n;
    if (whole == 0) {
        whole = n;
    }

    t->off[err] = off - (n - whole);

    return json_text_escape(result_text, sizeof(result_text), result_raw,
                            whole, &used, true);
}


static void
result_free(result *t)
{
    run_release(t->of);
    free(t->tail);
    free(t);
}


static void
result_close(http_request *r)
{
    result_free(r->data);
}


static void
result_pump(http_request *r)
{
    int      stop;
    size_t   n;
    result  *t;

    t = r->data;

    while (t->phase < 2) {
        n = result_step(t);

        if (n == 0) {
            t->phase++;
            if (t->phase == 1) {
                http_write(r, "\",\"stderr\":\"", 12);
            }
            continue;
        }

        stop = http_write(r, result_text, n);
        if (stop) {
            return;
        }
    }

    http_write(r, "\"", 1);
    http_write(r, t->tail, strlen(t->tail));
    http_on_close(r, NULL);
    http_on_drain(r, NULL);
    result_free(t);
    http_end(r);
}


static void
result_whole(result *t, int status, const char *head)
{
    size_t         n;
    buffer         b;
    http_request  *r;

    memset(&b, 0, sizeof(b));
    buffer_puts(&b, head);
    buffer_puts(&b, ",\"stdout\":\"");

    for (t->phase = 0; t->phase < 2; t->phase++) {
        if (t->phase == 1) {
            buffer_puts(&b, "\",\"stderr\":\"");
        }
        while ((n = result_step(t)) != 0) {
            buffer_append(&b, result_text, n);
        }
    }

    buffer_puts(&b, "\"");
    buffer_puts(&b, t->tail);

    r = t->r;
    result_free(t);
    http_send(r, status, "application/json", buffer_bytes(&b), b.len);
    buffer_free(&b);
}


static void
result_begin(http_request *r, run *of, int status, const char *head,
    const char *tail, const uint64_t from[2], const uint64_t to[2])
{
    result  *t;

    t = calloc(1, sizeof(result));
    if (t == NULL) {
        abort();
    }

    run_hold(of);
    t->r = r;
    t->of = of;
    t->tail = strdup(tail);
    memcpy(t->off, from, sizeof(t->off));
    memcpy(t->end, to, sizeof(t->end));

    if (t->end[0] - t->off[0] + t->end[1] - t->off[1] <= RESULT_WHOLE) {
        result_whole(t, status, head);
        return;
    }

    r->data = t;
    http_on_close(r, result_close);
    http_on_drain(r, result_pump);
    http_begin(r, status, "application/json", -1);
    http_write(r, head, strlen(head));
    http_write(r, ",\"stdout\":\"", 11);
    result_pump(r);
}


void
result_send(http_request *r, run *of, int status, const char *head,
    const char *tail, int strip, uint64_t most)
{
    uint64_t  from[2], to[2];

    to[0] = result_end(&of->out, strip);
    to[1] = result_end(&of->err, strip);
    from[0] = result_start(&of->out, to[0], most);
    from[1] = result_start(&of->err, to[1], most);

    result_begin(r, of, status, head, tail, from, to);
}


void
result_send_range(http_request *r, run *of, const char *head,
    const char *tail, const uint64_t from[2], const uint64_t to[2])
{
    result_begin(r, of, 200, head, tail, from, to);
}
