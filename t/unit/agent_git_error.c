/* sources: agent/git_error.c */
/* libs: */

#include <string.h>

#include "agent/git_error.h"
#include "t/unit/tap.h"


static int
means(const char *text, const char *code, int status)
{
    git_error_kind  k;

    k = git_error_find(128, text);

    return strcmp(k.code, code) == 0 && k.status == status;
}


int
main(void)
{
    ok(means("fatal: destination path '/x' already exists and is not an empty "
             "directory.", "git_clone_failed", 500), "taken");
    ok(means("fatal: Remote branch x not found in upstream origin",
             "git_branch_not_found", 404), "branch");
    ok(means("fatal: repository 'http://h/x.git/' not found",
             "git_repository_not_found", 404), "repository");
    ok(means("ERROR: Repository not found.\nfatal: Could not read from remote "
             "repository.\n\nPlease make sure you have the correct access "
             "rights\nand the repository exists.",
             "git_repository_not_found", 404), "repository, by ssh");
    ok(means("git@h: Permission denied (publickey).\nfatal: Could not read "
             "from remote repository.", "git_auth_failed", 401), "key");
    ok(means("remote: HTTP Basic: Access denied\nfatal: Authentication failed "
             "for 'https://h/x'", "git_auth_failed", 401), "password");
    ok(means("fatal: could not read Username for 'https://h': terminal "
             "prompts disabled", "git_auth_failed", 401), "none");
    ok(means("fatal: unable to access 'https://h/x/': The requested URL "
             "returned error: 403", "git_auth_failed", 401), "403");
    ok(means("fatal: unable to access 'https://h/x/': The requested URL "
             "returned error: 503", "git_network_error", 502), "503");
    ok(means("fatal: unable to access 'https://h/x/': Could not resolve host: "
             "h", "git_network_error", 502), "resolver");
    ok(means("error: RPC failed; curl 28 Operation too slow. Less than 1024 "
             "bytes/sec transferred the last 30 seconds\nfatal: early EOF",
             "git_network_error", 502), "slow");
    ok(means("fatal: something else", "git_operation_failed", 500), "other");
    ok(means("", "git_operation_failed", 500), "nothing");
    ok(git_error_find(127, "").status == 501, "no git");

    return done_testing();
}
