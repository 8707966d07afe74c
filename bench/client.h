/*
 * The benchmarks' HTTP client: one connection, blocking, no copies, so that
 * what is measured is the server.  The same code asks the agent, nginx and
 * the way through both.
 */

#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stddef.h>

typedef struct {
    const char  *path;          /* Unix socket; NULL: 127.0.0.1:port */
    int          port;
    const char  *preface;       /* sent first, answered by one line; NULL */
    const char  *prefix;        /* before every path */
    const char  *headers;       /* each ended by CR LF */
} peer;

/* Called with each piece of the body; may be NULL. */
typedef void (*client_data)(void *ctx, const char *p, size_t n);

typedef struct {
    const peer  *to;
    int          fd;
    char        *buf;
    size_t       pos, len;
    int          status;
    size_t       received;      /* bytes of the last body */
    double       first;         /* when its head came */
    char         start[512];    /* the beginning of the body */
} client;

double now_ms(void);

/* Both end the program with a message if they can't. */
void client_open(client *c, const peer *to);
void client_must(client *c, const char *method, const char *path,
    const void *body, size_t len, client_data cb, void *ctx);

/* Returns the status; -1 if the connection broke. */
int client_ask(client *c, const char *method, const char *path,
    const void *body, size_t len, client_data cb, void *ctx);

/* In two steps, for many connections at once. */
void client_send(client *c, const char *method, const char *path,
    const void *body, size_t len);
int client_receive(client *c, client_data cb, void *ctx);

void client_close(client *c);

#endif
