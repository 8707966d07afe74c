/*
 * Shells that are ready before anybody asks, so that a session costs a line of
 * text instead of the start of a bash.  There are none until the first session
 * is made, but in a virtual machine, where a start takes long; how many are
 * kept follows what is asked for, and after a while without use there are none
 * again: a waiting shell is memory.
 */

#ifndef AGENT_SHELL_POOL_H
#define AGENT_SHELL_POOL_H

#include "agent/shell.h"

/* As shell_start(), with the agent's environment and, over it, the session's
 * own (NULL: none).  If cwd isn't from, which is there, it may be anything: the
 * shell itself goes there, if it can. */
shell *shell_pool_get(session *s, const shell_owner *owner, const char *name,
    const char *from, const char *cwd, const json_t *env, error **err);

/* One before the first session, where its start would be waited for. */
void shell_pool_start(void);

/* Those that wait were started on another machine: there will be others. */
void shell_pool_renew(void);

/* It died, or is about to be freed. */
void shell_pool_lost(shell *sh);

#endif
