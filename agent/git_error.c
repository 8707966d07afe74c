/* What git's messages mean; see git_error.h. */

#include <string.h>
#include <strings.h>

#include "agent/git_error.h"

#define GIT_AUTH     { "git_auth_failed", 401 }
#define GIT_BRANCH   { "git_branch_not_found", 404 }
#define GIT_EXISTS   { "git_clone_failed", 500 }
#define GIT_MISSING  { "git_repository_not_found", 404 }
#define GIT_NETWORK  { "git_network_error", 502 }

/* The first that is found counts: what a server says of a repository comes
 * with remarks on rights and connections that fit everything. */
static const struct {
    const char      *words;
    git_error_kind   kind;
} git_errors[] = {
    { "already exists and is not an empty directory", GIT_EXISTS },
    { "remote branch", GIT_BRANCH },
    { "pathspec", GIT_BRANCH },
    { "authentication failed", GIT_AUTH },
    { "could not read username", GIT_AUTH },
    { "could not read password", GIT_AUTH },
    { "permission denied (", GIT_AUTH },
    { "access denied", GIT_AUTH },
    { "returned error: 401", GIT_AUTH },
    { "returned error: 403", GIT_AUTH },
    { "returned error: 404", GIT_MISSING },
    { "returned error: 5", GIT_NETWORK },
    { "could not resolve", GIT_NETWORK },
    { "failed to connect", GIT_NETWORK },
    { "couldn't connect", GIT_NETWORK },
    { "unable to connect", GIT_NETWORK },
    { "connection refused", GIT_NETWORK },
    { "connection reset", GIT_NETWORK },
    { "connection timed out", GIT_NETWORK },
    { "network is unreachable", GIT_NETWORK },
    { "no route to host", GIT_NETWORK },
    { "operation too slow", GIT_NETWORK },
    { "operation timed out", GIT_NETWORK },
    { "empty reply from server", GIT_NETWORK },
    { "unexpected disconnect", GIT_NETWORK },
    { "hung up unexpectedly", GIT_NETWORK },
    { "early eof", GIT_NETWORK },
    { "rpc failed", GIT_NETWORK },
    { "unable to access", GIT_NETWORK },
    { "repository not found", GIT_MISSING },
    { "does not appear to be a git repository", GIT_MISSING },
    { "not found", GIT_MISSING },
    { "does not exist", GIT_MISSING },
    { "not exported", GIT_MISSING }
};


git_error_kind
git_error_find(int exit_code, const char *text)
{
    size_t                       i;
    static const git_error_kind  missing = { "git_not_available", 501 };
    static const git_error_kind  other = { "git_operation_failed", 500 };

    if (exit_code == 127) {
        return missing;
    }

    for (i = 0; i < sizeof(git_errors) / sizeof(git_errors[0]); i++) {
        if (strcasestr(text, git_errors[i].words) != NULL) {
            return git_errors[i].kind;
        }
    }

    return other;
}
