/*
 * What bench/agent.c measures: requests to the agent (agent_calls.c) and the
 * floors beside them (agent_floors.c).  Each call does one and returns what it
 * took, in milliseconds, or what it reached, in MB/s or operations a second.
 */

#ifndef BENCH_AGENT_H
#define BENCH_AGENT_H

#include "client.h"
#include "work.h"

#define MEGS8     (8 * 1024 * 1024)
#define PACE_US   3000
#define PARALLEL  16

extern const char  *bench_dir;
extern char        *bench_raw;      /* 8 MiB of noise */
extern char         bench_small[];  /* 1 KiB of text */

/* Makes the files and bodies, and starts the floors' interpreters. */
void bench_prepare(const char *dir);
void bench_floors_open(void);
void bench_floors_close(void);

void post(client *c, const char *path, const char *json);
double timed(client *c, const char *path, const char *json);
double rate(size_t bytes, double begun);
double parallel(client *from, coproc *shells, int each);

#define OUTPUT        "head -c 48000000 /dev/zero | base64"
#define OUTPUT_BYTES  64842106

double ping(client *c, int i);
double exec_true(client *c, int i);
double exec_bin_true(client *c, int i);
double exec_sessionless(client *c, int i);
double stream_byte(client *c, int i);
double stream_stdout(client *c, int i);
double exec_output(client *c, int i);
double stream_output(client *c, int i);
double write_small(client *c, int i);
double read_small(client *c, int i);
double exists(client *c, int i);
double write_text(client *c, int i);
double write_base64(client *c, int i);
double read_text(client *c, int i);
double read_base64(client *c, int i);
double read_stream(client *c, int i);
double download(client *c, int i);
double upload(client *c, int i);
double process_start(client *c, int i);
double process_kill(client *c, int i);
double session_make(client *c, int i);
double session_burst(client *c, int i);
double context_python(client *c, int i);
double code_python(client *c, int i);
double code_javascript(client *c, int i);
double exec_parallel(client *c, int i);

/* These ask nginx. */
double floor_http(client *c, int i);
double floor_http_paced(client *c, int i);
double floor_true(client *c, int i);
double floor_bin_true(client *c, int i);
double floor_bash(client *c, int i);
double floor_program(client *c, int i);
double floor_output(client *c, int i);
double floor_write(client *c, int i);
double floor_read(client *c, int i);
double floor_exists(client *c, int i);
double floor_put(client *c, int i);
double floor_get(client *c, int i);
double floor_shell(client *c, int i);
double floor_python(client *c, int i);
double floor_node(client *c, int i);
double floor_python_start(client *c, int i);
double floor_parallel(client *c, int i);

#endif
