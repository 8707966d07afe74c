/*
 * The bare work that a request to the agent is put beside: what the machine
 * needs for it without an agent.  Each returns when it is done; all end the
 * program if they can't.
 */

#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stddef.h>
#include <sys/types.h>

/* An interpreter that answers a line with a line. */
typedef struct {
    pid_t  pid;
    int    in, out;
} coproc;

void coproc_open(coproc *c, char *const argv[]);
void coproc_send(coproc *c, const char *line);
void coproc_receive(coproc *c);
void coproc_close(coproc *c);

/* Starts a program and waits for its end; its output is thrown away. */
void work_spawn(char *const argv[]);

/* Starts it, takes its output through a pipe up to the end; bytes. */
size_t work_drain(char *const argv[]);

/* Starts a bash and has it answer once. */
void work_shell(void);

void work_write(const char *file, const void *p, size_t n);
void work_read(const char *file, void *p, size_t n);

/* The proportional set size in kB, of one process or also of its children of
 * a name. */
long work_pss(pid_t pid);
long work_pss_children(pid_t pid, const char *name, int *count);

#endif
