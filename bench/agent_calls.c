/* The requests to the agent; see agent.h. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

const char   *bench_dir;
char         *bench_raw;
char          bench_small[1200];
static char  *big_text, *big_base64;        /* bodies of writes */
static size_t big_text_len, big_base64_len;


void
post(client *c, const char *path, const char *json)
{
    client_must(c, "POST", path, json, strlen(json), NULL, NULL);
}


double
rate(size_t bytes, double begun)
{
    return (double) bytes / 1e6 / ((now_ms() - begun) / 1e3);
}


/* What the agent is asked. */

double
timed(client *c, const char *path, const char *json)
{
    double  begun;

    begun = now_ms();
    post(c, path, json);

    return now_ms() - begun;
}


double
ping(client *c, int i)
{
    double  begun;

    begun = now_ms();
    client_must(c, "GET", "/api/ping", NULL, 0, NULL, NULL);

    return now_ms() - begun;
}


double
exec_true(client *c, int i)
{
    return timed(c, "/api/execute", "{\"command\":\"true\"}");
}


double
exec_bin_true(client *c, int i)
{
    return timed(c, "/api/execute", "{\"command\":\"/bin/true\"}");
}


double
exec_sessionless(client *c, int i)
{
    return timed(c, "/api/execute", "{\"command\":\"true\","
                 "\"sessionId\":\"__DISABLE_SESSION__\"}");
}


typedef struct {
    const char  *text;
    size_t       at;
    double       when;
} seen;


/* When the text first comes by; it may be cut in two. */

static void
look_for(void *ctx, const char *p, size_t n)
{
    seen    *s;
    size_t   i;

    s = ctx;

    for (i = 0; i < n && s->when == 0; i++) {
        s->at = p[i] == s->text[s->at] ? s->at + 1 : p[i] == s->text[0];
        if (s->text[s->at] == '\0') {
            s->when = now_ms();
        }
    }
}


static double
stream_until(client *c, const char *text)
{
    seen         s = { text, 0, 0 };
    double       begun;
    const char  *json;

    json = "{\"command\":\"echo hi\"}";
    begun = now_ms();
    client_must(c, "POST", "/api/execute/stream", json, strlen(json),
                look_for, &s);

    return (text[0] == '\0' ? c->first : s.when) - begun;
}


/* At a pace at which the last command's processes are gone. */

double
stream_byte(client *c, int i)
{
    usleep(PACE_US);

    return stream_until(c, "");
}


double
stream_stdout(client *c, int i)
{
    return stream_until(c, "\"stdout\"");
}


double
exec_output(client *c, int i)
{
    double  begun;

    begun = now_ms();
    post(c, "/api/execute", "{\"command\":\"" OUTPUT "\"}");

    return rate(OUTPUT_BYTES, begun);
}


double
stream_output(client *c, int i)
{
    double  begun;

    begun = now_ms();
    post(c, "/api/execute/stream", "{\"command\":\"" OUTPUT "\"}");

    if (c->received < OUTPUT_BYTES) {
        fprintf(stderr, "bench: a stream lost output\n");
        exit(1);
    }

    return rate(OUTPUT_BYTES, begun);
}


static double
path_call(client *c, const char *route, const char *file, const char *more)
{
    char  json[512];

    snprintf(json, sizeof(json), "{\"path\":\"%s/%s\"%s}", bench_dir, file, more);

    return timed(c, route, json);
}


double
write_small(client *c, int i)
{
    char    json[2048], *p;
    double  begun;

    p = json + sprintf(json, "{\"path\":\"%s/w%d\",\"content\":\"", bench_dir,
                       i % 100);
    memset(p, 'x', 1024);
    strcpy(p + 1024, "\"}");

    begun = now_ms();
    post(c, "/api/write", json);

    return now_ms() - begun;
}


double
read_small(client *c, int i)
{
    return path_call(c, "/api/read", "small.txt", "");
}


double
exists(client *c, int i)
{
    return path_call(c, "/api/exists", "small.txt", "");
}


double
write_text(client *c, int i)
{
    double  begun;

    begun = now_ms();
    client_must(c, "POST", "/api/write", big_text, big_text_len, NULL, NULL);

    return rate(MEGS8, begun);
}


double
write_base64(client *c, int i)
{
    double  begun;

    begun = now_ms();
    client_must(c, "POST", "/api/write", big_base64, big_base64_len, NULL,
                NULL);

    return rate(MEGS8, begun);
}


double
read_text(client *c, int i)
{
    return MEGS8 / 1e3 / path_call(c, "/api/read", "big.txt",
                                   ",\"encoding\":\"utf-8\"");
}


double
read_base64(client *c, int i)
{
    return MEGS8 / 1e3 / path_call(c, "/api/read", "big.bin",
                                   ",\"encoding\":\"base64\"");
}


double
read_stream(client *c, int i)
{
    return MEGS8 / 1e3 / path_call(c, "/api/read/stream", "big.bin", "");
}


static const char *
raw_path(client *c)
{
    static char  path[512];

    snprintf(path, sizeof(path), "%s/file%s/big.bin",
             c->to->port != 0 ? "" : "/bridge", bench_dir);

    return path;
}


double
download(client *c, int i)
{
    double  begun;

    begun = now_ms();
    client_must(c, "GET", raw_path(c), NULL, 0, NULL, NULL);

    return rate(MEGS8, begun);
}


double
upload(client *c, int i)
{
    char    path[520];
    double  begun;

    snprintf(path, sizeof(path), "%s.up", raw_path(c));
    begun = now_ms();
    client_must(c, "PUT", path, bench_raw, MEGS8, NULL, NULL);

    return rate(MEGS8, begun);
}


double
process_start(client *c, int i)
{
    return timed(c, "/api/process/start", "{\"command\":\"true\"}");
}


double
process_kill(client *c, int i)
{
    char         path[128];
    double       begun;
    const char  *id;

    post(c, "/api/process/start", "{\"command\":\"sleep 100\"}");
    id = strstr(c->start, "\"processId\":\"");
    if (id == NULL) {
        exit(1);
    }
    id += 13;
    snprintf(path, sizeof(path), "/api/process/%.*s", (int) strcspn(id, "\""),
             id);

    begun = now_ms();
    client_must(c, "DELETE", path, NULL, 0, NULL, NULL);

    return now_ms() - begun;
}


/* One after another, at a pace at which the pool can follow. */

double
session_make(client *c, int i)
{
    char        json[128];
    double      took;
    static int  serial;

    usleep(20000);
    snprintf(json, sizeof(json), "{\"id\":\"made%d\"}", ++serial);
    took = timed(c, "/api/session/create", json);
    snprintf(json, sizeof(json), "{\"sessionId\":\"made%d\"}", serial);
    post(c, "/api/session/delete", json);

    return took;
}


double
session_burst(client *c, int i)
{
    int         k;
    char        json[128];
    double      took;
    static int  serial;

    snprintf(json, sizeof(json), "{\"id\":\"burst%d\"}", serial);
    took = timed(c, "/api/session/create", json);

    if (++serial == 10) {
        for (k = 0; k < 10; k++) {
            snprintf(json, sizeof(json), "{\"sessionId\":\"burst%d\"}", k);
            post(c, "/api/session/delete", json);
        }
        serial = 0;
    }

    return took;
}


static char  context[2][128];


static double
context_make(client *c, const char *language, int keep)
{
    char         json[128];
    double       took;
    const char  *id;

    snprintf(json, sizeof(json), "{\"language\":\"%s\"}", language);
    took = timed(c, "/api/contexts", json);

    id = strstr(c->start, "\"contextId\":\"");
    if (id == NULL) {
        return took;
    }
    id += 13;

    if (keep >= 0) {
        snprintf(context[keep], sizeof(context[keep]), "%.*s",
                 (int) strcspn(id, "\""), id);
        return took;
    }

    snprintf(json, sizeof(json), "/api/contexts/%.*s",
             (int) strcspn(id, "\""), id);
    client_must(c, "DELETE", json, NULL, 0, NULL, NULL);
    usleep(300000);

    return took;
}


double
context_python(client *c, int i)
{
    return context_make(c, "python", -1);
}


static double
run_code(client *c, int which, const char *language)
{
    char  json[256];

    if (context[which][0] == '\0') {
        context_make(c, language, which);
    }

    snprintf(json, sizeof(json), "{\"context_id\":\"%s\",\"code\":\"1+1\"}",
             context[which]);

    return timed(c, "/api/execute/code", json);
}


double
code_python(client *c, int i)
{
    return run_code(c, 0, "python");
}


double
code_javascript(client *c, int i)
{
    return run_code(c, 1, "javascript");
}


/* Sixteen at once: answers are taken as they come. */

static void
all_sessions(client *c, int k, int make)
{
    char  json[128];

    snprintf(json, sizeof(json), make
             ? "{\"command\":\"true\",\"sessionId\":\"par%d\"}"
             : "{\"sessionId\":\"par%d\"}", k);
    post(c, make ? "/api/execute" : "/api/session/delete", json);
}


double
parallel(client *from, coproc *shells, int each)
{
    int            k, left[PARALLEL], todo;
    char           json[PARALLEL][128];
    client         c[PARALLEL];
    double         begun;
    const char    *path;
    struct pollfd  p[2 * PARALLEL];

    path = shells != NULL ? "/small" : "/api/execute";

    for (k = 0; k < PARALLEL; k++) {
        client_open(&c[k], from->to);
        left[k] = each;
        p[k].fd = c[k].fd;
        p[k].events = POLLIN;
        p[PARALLEL + k].fd = shells != NULL ? shells[k].out : -1;
        p[PARALLEL + k].events = POLLIN;
        snprintf(json[k], sizeof(json[k]),
                 "{\"command\":\"true\",\"sessionId\":\"par%d\"}", k);
        if (shells == NULL) {
            all_sessions(&c[k], k, 1);
        }
    }

    begun = now_ms();

    for (k = 0; k < PARALLEL; k++) {
        client_send(&c[k], "POST", path, json[k], strlen(json[k]));
    }

    for (todo = PARALLEL * each; todo != 0; ) {
        poll(p, 2 * PARALLEL, 30000);

        for (k = 0; k < PARALLEL; k++) {
            if (p[k].revents != 0) {
                if (client_receive(&c[k], NULL, NULL) != 200) {
                    fprintf(stderr, "bench: %s: %s\n", path, c[k].start);
                    exit(1);
                }
                if (shells != NULL) {
                    coproc_send(&shells[k], "true; echo $?\n");
                    continue;
                }

            } else if (p[PARALLEL + k].revents != 0) {
                coproc_receive(&shells[k]);

            } else {
                continue;
            }

            todo--;
            if (--left[k] != 0) {
                client_send(&c[k], "POST", path, json[k], strlen(json[k]));
            }
        }
    }

    begun = PARALLEL * each / ((now_ms() - begun) / 1e3);

    for (k = 0; k < PARALLEL; k++) {
        if (shells == NULL) {
            all_sessions(&c[k], k, 0);
        }
        client_close(&c[k]);
    }

    return begun;
}


double
exec_parallel(client *c, int i)
{
    return parallel(c, NULL, 200);
}


/* Bodies and files. */

static char *
write_body(const char *file, const char *more, const char *content, size_t n,
    size_t *len)
{
    char   *p;
    size_t  head;

    p = malloc(n + 1024);
    if (p == NULL) {
        exit(1);
    }

    head = (size_t) sprintf(p, "{\"path\":\"%s/%s\"%s,\"content\":\"", bench_dir,
                            file, more);
    memcpy(p + head, content, n);
    memcpy(p + head + n, "\"}", 2);
    *len = head + n + 2;

    return p;
}


void
bench_prepare(const char *where)
{
    char                file[512], *text;
    size_t              i;
    static const char   line[] = "abcdefghijklmnopqrstuvwxyz0123456789"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ,.\\n";

    bench_dir = where;
    bench_raw = malloc(MEGS8);
    text = malloc(2 * MEGS8);
    if (bench_raw == NULL || text == NULL) {
        exit(1);
    }

    for (i = 0; i < MEGS8; i++) {
        bench_raw[i] = (char) ((i * 2654435761u) >> 13);
    }
    snprintf(file, sizeof(file), "%s/big.bin", bench_dir);
    work_write(file, bench_raw, MEGS8);

    /* As JSON, with a line feed in two bytes; as a file, with a blank. */
    for (i = 0; i < MEGS8 / 64 * (sizeof(line) - 1); i++) {
        text[i] = line[i % (sizeof(line) - 1)];
    }
    big_text = write_body("big.put.txt", "", text, i, &big_text_len);
    for (i = 0; i < MEGS8; i++) {
        text[i] = i % 64 == 63 ? '\n' : line[i % 64];
    }
    snprintf(file, sizeof(file), "%s/big.txt", bench_dir);
    work_write(file, text, MEGS8);

    for (i = 0; i < MEGS8 / 3 * 4; i++) {
        text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                  "0123456789+/"[(i * 2654435761u) >> 13 & 63];
    }
    big_base64 = write_body("big.put.bin", ",\"encoding\":\"base64\"", text,
                            i - i % 4, &big_base64_len);
    free(text);

    memset(bench_small, 'x', 1024);
    snprintf(file, sizeof(file), "%s/small.txt", bench_dir);
    work_write(file, bench_small, 1024);
}
