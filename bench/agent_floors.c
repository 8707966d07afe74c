/* The floors; see agent.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

static coproc  shell, shells[PARALLEL];


void
bench_floors_open(void)
{
    int  k;

    coproc_open(&shell, (char *const []) { "bash", "--norc", NULL });
    for (k = 0; k < PARALLEL; k++) {
        coproc_open(&shells[k], (char *const []) { "bash", "--norc", NULL });
    }
}


void
bench_floors_close(void)
{
    int  k;

    coproc_close(&shell);
    for (k = 0; k < PARALLEL; k++) {
        coproc_close(&shells[k]);
    }
}


/* Floors.  An HTTP round trip to nginx first, then the work. */

double
floor_http(client *c, int i)
{
    return timed(c, "/small", "{\"command\":\"true\"}");
}


double
floor_http_paced(client *c, int i)
{
    usleep(PACE_US);

    return floor_http(c, i);
}


static double
floor_line(client *c, coproc *p, const char *line)
{
    double  begun;

    begun = now_ms();
    post(c, "/small", "{\"command\":\"true\"}");
    coproc_send(p, line);
    coproc_receive(p);

    return now_ms() - begun;
}


double
floor_true(client *c, int i)
{
    return floor_line(c, &shell, "true; echo $?\n");
}


double
floor_bin_true(client *c, int i)
{
    return floor_line(c, &shell, "/bin/true; echo $?\n");
}


static double
floor_spawn(client *c, char *const argv[])
{
    double  begun;

    begun = now_ms();
    post(c, "/small", "{\"command\":\"true\"}");
    work_spawn(argv);

    return now_ms() - begun;
}


double
floor_bash(client *c, int i)
{
    return floor_spawn(c, (char *const []) { "bash", "--norc", "-c", "true",
                       NULL });
}


double
floor_program(client *c, int i)
{
    return floor_spawn(c, (char *const []) { "/bin/true", NULL });
}


double
floor_output(client *c, int i)
{
    double  begun;

    begun = now_ms();

    return rate(work_drain((char *const []) { "sh", "-c", OUTPUT, NULL }),
                begun);
}


double
floor_write(client *c, int i)
{
    char    file[512];
    double  begun;

    snprintf(file, sizeof(file), "%s/f%d", bench_dir, i % 100);
    begun = now_ms();
    post(c, "/small", bench_small);
    work_write(file, bench_small, 1024);

    return now_ms() - begun;
}


double
floor_read(client *c, int i)
{
    char    file[512], buf[1024];
    double  begun;

    snprintf(file, sizeof(file), "%s/small.txt", bench_dir);
    begun = now_ms();
    post(c, "/kilo", "{\"path\":\"small.txt\"}");
    work_read(file, buf, sizeof(buf));

    return now_ms() - begun;
}


double
floor_exists(client *c, int i)
{
    char    file[512];
    double  begun;

    snprintf(file, sizeof(file), "%s/small.txt", bench_dir);
    begun = now_ms();
    post(c, "/small", "{\"path\":\"small.txt\"}");
    (void) !access(file, F_OK);

    return now_ms() - begun;
}


double
floor_put(client *c, int i)
{
    double  begun;

    begun = now_ms();
    client_must(c, "PUT", "/put/big.put", bench_raw, MEGS8, NULL, NULL);

    return rate(MEGS8, begun);
}


double
floor_get(client *c, int i)
{
    double  begun;

    begun = now_ms();
    client_must(c, "GET", "/files/big.bin", NULL, 0, NULL, NULL);

    return rate(MEGS8, begun);
}


double
floor_shell(client *c, int i)
{
    double  begun;

    begun = now_ms();
    post(c, "/small", "{\"command\":\"true\"}");
    work_shell();

    return now_ms() - begun;
}


static double
floor_code(client *c, coproc *p, char *const argv[])
{
    if (p->pid == 0) {
        coproc_open(p, argv);
        coproc_send(p, "1+1\n");
        coproc_receive(p);
    }

    return floor_line(c, p, "1+1\n");
}


double
floor_python(client *c, int i)
{
    static coproc  p;

    return floor_code(c, &p, (char *const []) { "python3", "-uc",
        "import sys\nfor l in sys.stdin:\n"
        "  print(repr(eval(compile(l.strip(), '', 'eval'))))", NULL });
}


double
floor_node(client *c, int i)
{
    static coproc  p;

    return floor_code(c, &p, (char *const []) { "node", "-e",
        "const vm=require('vm'),s=new (require('net').Socket)({fd:0});"
        "s.on('data',d=>process.stdout.write("
        "vm.runInThisContext(d.toString())+'\\n'))", NULL });
}


double
floor_python_start(client *c, int i)
{
    return floor_spawn(c, (char *const []) { "python3", "-c", "pass", NULL });
}


double
floor_parallel(client *c, int i)
{
    return parallel(c, shells, 200);
}
