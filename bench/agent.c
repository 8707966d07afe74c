/*
 * The agent beside the floor: each line asks the agent on its own socket,
 * asks nginx on its socket and does the bare work itself, in turns, so that
 * both see the same machine.  bench/agent.pl starts what is asked.
 *
 *   agent AGENT_SOCKET KEY AGENT_PID NGINX_SOCKET NGINX_PID DIR
 *         [PORT PREFIX API_KEY]
 *
 * With the last three also through nginx.  Prints a table, or with BENCH_ONLY
 * in the environment the lines whose names hold that text.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

#define ROUNDS    5
#define SAMPLES   4096

typedef double (*op)(client *c, int i);

typedef struct {
    const char  *name;
    const char  *unit;          /* "ms", or "MB/s" or "op/s": more is better */
    op           agent;
    op           floor;         /* asks `plain` */
    const char  *floor_name;
    int          n;             /* all rounds together */
    double       ratio;         /* of the floor; 0: none */
    double       limit;         /* absolute; 0: none */
    int          front;         /* worth a look through nginx */
} row;

static peer         at_agent, at_nginx, at_front;
static client       direct, plain, front;
static int          missed;


static int
compare(const void *a, const void *b)
{
    double  x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}


static double
quantile(double *times, int n, double q)
{
    qsort(times, (size_t) n, sizeof(double), compare);

    return times[(int) (q * (n - 1) + 0.5)];
}


/* The table. */

static const row  rows[] = {
    { "ping", "ms", ping, floor_http, "HTTP", 2000, 0, 0, 1 },
    { "exec `true` in a session", "ms", exec_true, floor_true,
      "HTTP + bash coprocess", 2000, 1.5, 0, 1 },
    { "exec `/bin/true`", "ms", exec_bin_true, floor_bin_true,
      "HTTP + bash coprocess", 500, 1.3, 0, 1 },
    { "exec without a session", "ms", exec_sessionless, floor_bash,
      "HTTP + spawn of bash", 300, 1.2, 0, 1 },
    { "exec, 16 sessions at once", "op/s", exec_parallel, floor_parallel,
      "HTTP + 16 coprocesses", 5, 0.6, 0, 1 },
    { "stream: first byte", "ms", stream_byte, floor_http_paced, "HTTP", 300, 1.5,
      0, 1 },
    { "stream: first stdout", "ms", stream_stdout, floor_program,
      "HTTP + spawn of a program", 300, 1.5, 0, 1 },
    { "stream output", "MB/s", stream_output, floor_output, "pipe", 5, 0,
      100, 1 },
    { "exec output", "MB/s", exec_output, floor_output, "pipe", 5, 0, 100,
      1 },
    { "write 1 KiB", "ms", write_small, floor_write, "HTTP + write", 1000,
      1.3, 0, 1 },
    { "read 1 KiB", "ms", read_small, floor_read, "HTTP + read", 1000, 1.3,
      0, 1 },
    { "exists", "ms", exists, floor_exists, "HTTP + access", 1000, 1.3, 0,
      1 },
    { "write 8 MiB utf-8", "MB/s", write_text, floor_put, "nginx PUT", 25,
      0.6, 0, 0 },
    { "write 8 MiB base64", "MB/s", write_base64, floor_put, "nginx PUT", 25,
      0.4, 0, 0 },
    { "read 8 MiB utf-8", "MB/s", read_text, floor_get, "nginx static", 25,
      0.6, 0, 0 },
    { "read 8 MiB base64", "MB/s", read_base64, floor_get, "nginx static",
      25, 0.4, 0, 0 },
    { "read 8 MiB stream", "MB/s", read_stream, floor_get, "nginx static",
      25, 0.4, 0, 0 },
    { "raw upload", "MB/s", upload, floor_put, "nginx PUT", 25, 0.8, 0, 0 },
    { "raw download", "MB/s", download, floor_get, "nginx static", 25, 0.8,
      0, 0 },
    { "startProcess", "ms", process_start, floor_program,
      "HTTP + spawn of a program", 300, 2, 0, 1 },
    { "kill of `sleep`", "ms", process_kill, NULL, "", 50, 0, 5, 1 },
    { "session create", "ms", session_make, floor_shell,
      "HTTP + start of bash", 50, 1.1, 0.5, 0 },
    { "session create, ten in a row", "ms", session_burst, floor_shell,
      "HTTP + start of bash", 50, 1.1, 0, 0 },
    { "python context", "ms", context_python, floor_python_start,
      "HTTP + start of python", 20, 0, 1, 0 },
    { "runCode `1+1` python", "ms", code_python, floor_python,
      "HTTP + bare python", 300, 1.3, 0, 0 },
    { "runCode `1+1` javascript", "ms", code_javascript, floor_node,
      "HTTP + bare node", 300, 1.3, 0, 0 },
};


static int
wanted(const char *name)
{
    const char  *only;

    only = getenv("BENCH_ONLY");

    return only == NULL || strstr(name, only) != NULL;
}


/* Parts that a build doesn't have are said to be missing. */

static int
answers(const row *r)
{
    int          status;
    const char  *path;

    path = r->agent == context_python ? "/api/contexts"
           : r->agent == code_python || r->agent == code_javascript
           ? "/api/contexts" : NULL;

    if (path == NULL) {
        return 1;
    }

    status = client_ask(&direct, "POST", path, "{}", 2, NULL, NULL);

    return status != 405 && status != 501
           && strstr(direct.start, "endpoint was not found") == NULL;
}


static void
report(const row *r, double *t, double *f, double *n, int count)
{
    int     more, bad, k;
    FILE   *out;
    double  p50, p99, base, ratio;
    char    through[16], floor[16], text[16], aim[32];

    more = strcmp(r->unit, "ms") != 0;
    p50 = quantile(t, count, 0.5);
    p99 = quantile(t, count, more ? 0.01 : 0.99);
    base = r->floor == NULL ? 0 : quantile(f, count, 0.5);
    ratio = base == 0 ? 0 : p50 / base;
    bad = (r->ratio != 0 && (more ? ratio < r->ratio : ratio > r->ratio))
          || (r->limit != 0 && (more ? p50 < r->limit : p50 > r->limit));
    missed += bad;

    if (getenv("BENCH_FLOORS") != NULL
        && (out = fopen(getenv("BENCH_FLOORS"), "a")) != NULL)
    {
        fprintf(out, "%s\t%.4f\t%g\n", r->name, base, r->ratio);
        fclose(out);
    }

    snprintf(floor, sizeof(floor), base == 0 ? "" : more ? "%.0f" : "%.3f",
             base);
    snprintf(text, sizeof(text), base == 0 ? "" : "%.2f", ratio);
    snprintf(through, sizeof(through), n == NULL ? "" : more ? "%.0f"
             : "%.3f", n == NULL ? 0.0 : quantile(n, count, 0.5));
    k = 0;
    if (r->ratio != 0) {
        k = snprintf(aim, sizeof(aim), "%.1fx ", r->ratio);
    }
    if (r->limit != 0) {
        k += snprintf(aim + k, sizeof(aim) - (size_t) k, "%g", r->limit);
    }
    aim[k] = '\0';

    printf(more ? "%-29s %-5s %9.0f %9.0f %9s  %-26s %9s %6s  %-9s %s\n"
                : "%-29s %-5s %9.3f %9.3f %9s  %-26s %9s %6s  %-9s %s\n",
           r->name, r->unit, p50, p99, through, r->floor_name, floor, text,
           aim, bad ? "missed" : "");
    fflush(stdout);
}


static void
measure(const row *r)
{
    int     i, k, each, count;
    double  *t, *f, *n;

    if (!answers(r)) {
        printf("%-29s not measured: the agent has no such route\n", r->name);
        return;
    }

    t = calloc(3 * SAMPLES, sizeof(double));
    if (t == NULL) {
        exit(1);
    }
    f = t + SAMPLES;
    n = front.to != NULL && r->front ? f + SAMPLES : NULL;

    each = r->n / ROUNDS;
    count = 0;

    for (i = 0; i < each && i < 5; i++) {       /* warm */
        r->agent(&direct, i);
    }

    for (k = 0; k < ROUNDS; k++) {
        for (i = 0; i < each; i++) {
            f[count + i] = r->floor == NULL ? 0 : r->floor(&plain, i);
        }
        for (i = 0; i < each; i++) {
            t[count + i] = r->agent(&direct, i);
        }
        for (i = 0; n != NULL && i < each; i++) {
            n[count + i] = r->agent(&front, i);
        }
        count += each;
    }

    report(r, t, f, n, count);
    free(t);
}


/* Memory. */

static void
memory(const char *name, pid_t agent, pid_t nginx, double limit)
{
    int   shims, workers;
    long  own, all, floor;

    own = work_pss(agent);
    all = own + work_pss_children(agent, "sandbox-shim", &shims);
    floor = work_pss(nginx);
    floor += work_pss_children(nginx, "nginx", &workers);
    missed += own / 1000.0 > limit;

    printf("%-29s %-5s %9.2f %9.2f %9s  %-26s %9.2f %6.2f  %-9g %s\n", name,
           "MB", (double) own / 1e3, (double) all / 1e3, "",
           "nginx (second: with shims)", (double) floor / 1e3,
           (double) own / (double) floor, limit,
           own / 1000.0 > limit ? "missed" : "");
    fflush(stdout);
}


/* Cheap requests of every kind, over several connections, for a while. */

static long
mixed(long count, double seconds)
{
    int      k;
    long     done;
    char     file[2][512];
    client   c[8];
    double   end;

    snprintf(file[0], sizeof(file[0]), "{\"path\":\"%s/small.txt\"}", bench_dir);
    snprintf(file[1], sizeof(file[1]), "{\"path\":\"%s/none\"}", bench_dir);
    end = now_ms() + seconds * 1e3;

    for (k = 0; k < 8; k++) {
        client_open(&c[k], &at_agent);
    }

    for (done = 0; done < count && now_ms() < end; done += 8) {
        client_send(&c[0], "GET", "/api/ping", NULL, 0);
        client_send(&c[1], "POST", "/api/exists", file[1], strlen(file[1]));
        client_send(&c[2], "GET", "/api/session/list", NULL, 0);
        client_send(&c[3], "GET", "/no/such/route", NULL, 0);
        client_send(&c[4], "POST", "/api/execute", "{bad", 4);
        client_send(&c[5], "POST", "/api/read", file[0], strlen(file[0]));
        client_send(&c[6], "POST", "/api/execute",
                    "{\"command\":\"true\",\"sessionId\":\"mix\"}", 37);
        client_send(&c[7], "GET", "/api/process/none", NULL, 0);

        for (k = 0; k < 8; k++) {
            if (client_receive(&c[k], NULL, NULL) <= 0) {
                fprintf(stderr, "bench: a mixed request has no answer\n");
                exit(1);
            }
        }
    }

    for (k = 0; k < 8; k++) {
        client_close(&c[k]);
    }

    return done;
}


static void
memory_rows(pid_t agent, pid_t nginx)
{
    int   i;
    long  done;
    char  json[128], name[64];

    for (i = 0; i < 50; i++) {
        snprintf(json, sizeof(json), "{\"id\":\"mem%d\"}", i);
        post(&direct, "/api/session/create", json);
    }
    usleep(300000);
    memory("memory, 50 sessions", agent, nginx, 4);
    for (i = 0; i < 50; i++) {
        snprintf(json, sizeof(json), "{\"sessionId\":\"mem%d\"}", i);
        post(&direct, "/api/session/delete", json);
    }

    for (i = 0; i < 1000; i++) {
        exec_true(&direct, i);
    }
    memory("memory after 1000 commands", agent, nginx, 4);

    done = mixed(1000000, getenv("BENCH_MIXED") == NULL
                          ? 60 : atof(getenv("BENCH_MIXED")));
    snprintf(name, sizeof(name), "memory after %ld requests", done);
    memory(name, agent, nginx, 4);
}


int
main(int argc, char **argv)
{
    pid_t   agent, nginx;
    size_t  i;
    char    preface[256], prefix[256], headers[512];

    if (argc != 7 && argc != 10) {
        fprintf(stderr, "usage: agent AGENT KEY PID NGINX PID DIR "
                        "[PORT PREFIX API_KEY]\n");
        return 2;
    }

    snprintf(preface, sizeof(preface), "CONTROL %s\n", argv[2]);
    at_agent = (peer) { argv[1], 0, preface, "", "" };
    at_nginx = (peer) { argv[4], 0, NULL, "", "" };
    agent = atoi(argv[3]);
    nginx = atoi(argv[5]);

    if (argc == 10) {
        snprintf(prefix, sizeof(prefix), "%s", argv[8]);
        snprintf(headers, sizeof(headers), "Authorization: Bearer %s\r\n",
                 argv[9]);
        at_front = (peer) { NULL, atoi(argv[7]), NULL, prefix, headers };
        client_open(&front, &at_front);
    }

    client_open(&direct, &at_agent);
    client_open(&plain, &at_nginx);
    bench_prepare(argv[6]);

    bench_floors_open();

    printf("%-29s %-5s %9s %9s %9s  %-26s %9s %6s  %s\n", "", "", "p50",
           "p99", "by nginx", "floor", "p50", "ratio", "aim");

    if (wanted("memory")) {
        memory("memory idle", agent, nginx, 3);
    }

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (wanted(rows[i].name)) {
            measure(&rows[i]);
        }
    }

    if (wanted("memory")) {
        memory_rows(agent, nginx);
    }

    bench_floors_close();

    if (missed != 0) {
        printf("# %d missed\n", missed);
    }

    return 0;
}
