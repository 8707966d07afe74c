/*
 * What git's messages (LC_ALL=C) mean.  Pure.
 */

#ifndef AGENT_GIT_ERROR_H
#define AGENT_GIT_ERROR_H

typedef struct {
    const char  *code;              /* of common/error.h */
    int          status;
} git_error_kind;

/* For a clone that ended with an exit code and these words. */
git_error_kind git_error_find(int exit_code, const char *text);

#endif
