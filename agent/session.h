/*
 * Named sessions: each has a shell, a queue of commands that run one after
 * another, and what was asked for when it was made.  A shell that ends is
 * replaced by a fresh one; the loss is told once.
 */

#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H

#include "agent/run.h"

#define SESSION_MAX        512
#define SESSION_ID_MAX     256
#define SESSION_QUEUE_MAX  1024

#define SESSION_NONE       "__DISABLE_SESSION__"

session *session_find(const char *id);

/* Makes one, starting its shell.  cwd NULL: the default; env NULL: none;
 * timeout_ms 0: none.  The environment is borrowed.  NULL: error set; 409 if
 * there is a living session of that id. */
session *session_create(const char *id, const char *cwd, const json_t *env,
    uint64_t timeout_ms, error **err);

/* The session, made if need be. */
session *session_get(const char *id, const char *cwd, error **err);

const char *session_id(const session *s);

/* The directory its shell is in. */
const char *session_pwd(const session *s);

/* It has a shell. */
int session_lives(const session *s);

/* Runs a command when its turn comes (run->foreground says how).  Holds the
 * run as long as it needs.  Its end may be told during the call. */
void session_submit(session *s, run *r);

/* Takes a waiting run out of its queue and ends it. */
void session_unqueue(run *r);

/* Ends everything in it at once; done() when all of it is dead. */
void session_delete(session *s, void (*done)(void *), void *data);

/* Calls for each. */
void session_each(void (*cb)(session *s, void *data), void *data);

#endif
