/*
 * One bash under a shim: runs foreground commands one at a time, with real
 * ends and its state kept, and starts background jobs that inherit the state.
 * Owns the pipes to the shell and what runs in it.  session.c gives it work
 * and learns when it is free or dead.  How it works: docs/sessions.md.
 */

#ifndef AGENT_SHELL_H
#define AGENT_SHELL_H

#include "agent/run.h"

/* Free for the next command; or dead (exit code, -1 if unknown): the shell is
 * not the session's any more. */
typedef struct {
    void  (*idle)(session *s);
    void  (*dead)(session *s, int exit_code);
} shell_owner;

/* Starts in cwd with the environment; NULL: error set.  The name is the
 * session's, for messages. */
shell *shell_start(session *s, const shell_owner *owner, const char *name,
    const char *cwd, char *const *env, error **err);

/* Gives a shell that was started for nobody (s and owner NULL) to a session:
 * into its directory, with its environment over the one it has. */
void shell_adopt(shell *sh, session *s, const shell_owner *owner,
    const char *name, const char *cwd, const json_t *env);

int shell_busy(const shell *sh);

/* Takes over the caller's hold on the run.  Only when not busy. */
void shell_begin(shell *sh, run *r);

/* Ends a foreground command, the session staying usable (SIGINT, 100 ms,
 * SIGTERM, 2 s, SIGKILL), or a background job (SIGTERM, grace, SIGKILL). */
void shell_kill(shell *sh, run *r, int grace_ms);

/* A signal to a background job of the shell: to its process, or to its whole
 * tree.  -1: it isn't there. */
int shell_signal(shell *sh, const run *r, int sig, int tree);

/* Kills the shell and all that runs in it, runs that are under way ending
 * with err (taken; foreground) or their status (background); then done(). */
void shell_destroy(shell *sh, error *err, void (*done)(void *), void *data);

/* The directory that the shell is in. */
const char *shell_pwd(const shell *sh);

#endif
