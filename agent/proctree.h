/*
 * Who descends from whom, read from /proc.  Used by the shim; knows nothing of
 * the agent.
 */

#ifndef AGENT_PROCTREE_H
#define AGENT_PROCTREE_H

#include <stddef.h>
#include <sys/types.h>

#define PROCTREE_MAX  8192

/* Appends the children of pid, of all its threads, to out[n..max); returns
 * the new count. */
size_t proctree_children(pid_t pid, pid_t *out, size_t n, size_t max);

/* Appends all descendants of out[from..n) behind them, but not those in
 * spare[0..spared) nor what is below them. */
size_t proctree_below(pid_t *out, size_t from, size_t n, size_t max,
    const pid_t *spare, size_t spared);

/* The state letter of a process ('Z': dead and not waited for), and its
 * process group; 0 if there is no such process. */
char proctree_state(pid_t pid, pid_t *pgrp);

/* 0: there is no such process. */
pid_t proctree_parent(pid_t pid);

/* Has the process a handler for this signal? */
int proctree_catches(pid_t pid, int sig);

/* Was the process started with this environment entry ("NAME=value")? */
int proctree_env_has(pid_t pid, const char *entry);

#endif
