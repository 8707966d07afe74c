/* sources: sandboxd/fc_keeper.c sandboxd/vm_vsock.c sandboxd/fc_args.c sandboxd/arg_list.c sandboxd/fc_api.c sandboxd/fc_answer.c common/error.c */
/* libs: -ljansson */

/* A jailer's arguments, what a keeper is told beside them, in which order it
 * saves and resumes, and what it takes for a connection to the agent. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/fc.h"
#include "sandboxd/fc_client.h"
#include "t/unit/tap.h"

static char  asked[4096];               /* of Firecracker, since the last look */
static int   answers;                   /* what fc_client_go() returns */


/* In the place of fc_client.c. */
void
fc_client_begin(fc_client *c, const char *path, fc_plan *plan, uint64_t now)
{
    size_t    len;
    unsigned  i;

    for (i = 0; i < plan->count; i++) {
        len = strlen(asked);
        snprintf(asked + len, sizeof(asked) - len, "%s %s\n",
                 plan->r[i].target,
                 plan->r[i].body != NULL ? plan->r[i].body : "");
    }

    c->fd = -1;
    fc_plan_free(plan);
}


int
fc_client_go(fc_client *c, uint64_t now, error **err)
{
    if (answers == -1) {
        error_set(err, 500, "internal", "refused");
    }

    return answers;
}


void
fc_client_end(fc_client *c)
{
}


static vmm_news
answered(int with)
{
    error     *err;
    vmm_news   news;

    err = NULL;
    answers = with;
    news = fc_event(&err);
    error_free(err);

    return news;
}


static int
asks(const char *text)
{
    int  rc;

    rc = strstr(asked, text) != NULL;
    asked[0] = '\0';

    return rc;
}


static void
file_place(int fd)
{
    int  file;

    file = memfd_create("file", 0);
    dup2(file, fd);
    close(file);
}


/* In the midst of what else is asked of it. */
static void
rates(void)
{
    fc_rate(0);
    ok(asked[0] == '\0', "no limit, where there was none");
    fc_rate(5000);
    ok(asks("\"size\":5000"), "a limit");
    fc_rate(6000);
    fc_rate(7000);
    ok(asked[0] == '\0', "others wait until it is there");
    ok(answered(1) == VMM_NOTHING && asks("\"size\":7000"), "the last counts");
    ok(fc_save() == 0 && asked[0] == '\0', "so does a save");
    ok(answered(-1) == VMM_NOTHING && asks("/snapshot/create"),
       "which comes when the limit is there, or can't be");
    fc_rate(8000);
    ok(answered(1) == VMM_SAVED && asked[0] == '\0', "it stands");
    fc_rate(0);
    ok(asked[0] == '\0', "and is left alone");
    fc_resume();
    ok(asks("Resumed"), "it goes on");
    ok(answered(1) == VMM_NOTHING && asks("\"size\":0"), "without one then");
    ok(answered(1) == VMM_NOTHING && asked[0] == '\0', "that is all");
    fc_rate(0);
    ok(asked[0] == '\0', "which stays as it is");
}


/* A machine that has begun: it is copied, and is to sleep right after that. */
static void
saves(void)
{
    error        *err;
    vm_order     *order;
    vmm_machine   m;

    err = NULL;
    memset(&m, 0, sizeof(m));
    m.program = "/opt/fc/firecracker";
    m.name = "/state/microvms/0000002a";
    m.memory = 512ull << 20;
    m.cpus = 1;
    order = calloc(1, sizeof(vm_order) + VM_TEXT_MAX);
    (void) fc_args(&m, (char *) (order + 1), VM_TEXT_MAX, &order->argc,
                   &order->args_len);
    file_place(VM_FD_LOG);
    file_place(VM_FD_MEMORY);
    file_place(VM_FD_STATE);

    ok(fc_begin(order, &err) != -1 && asks("InstanceStart"), "it starts");
    ok(fc_save() == -1, "it can't be saved yet");
    ok(answered(1) == VMM_NOTHING, "it runs");

    ok(fc_save() == 0 && asks("/snapshot/create"), "a save");
    ok(fc_save() == -1, "one at a time");
    ok(answered(1) == VMM_SAVED, "it is saved");

    fc_resume();
    ok(asks("Resumed") && fc_save() == 0 && asked[0] == '\0',
       "one that comes while it is resumed waits");
    ok(answered(1) == VMM_NOTHING && asks("/snapshot/create"),
       "and begins then");
    ok(answered(1) == VMM_SAVED, "it is saved again");

    fc_resume();
    ok(answered(1) == VMM_NOTHING && asks("Resumed") && asked[0] == '\0',
       "that was the only one");

    ok(fc_save() == 0 && answered(-1) == VMM_NOTHING && asks("Resumed")
       && answered(1) == VMM_NOT_SAVED, "what can't be saved goes on");

    rates();
    fc_resume();
    ok(fc_save() == 0 && answered(-1) == VMM_BROKEN, "or is broken");
    free(order);
}


static void
arguments(void)
{
    char         path[64];
    fc_told      told;
    vm_order    *order;
    vmm_machine  m;

    memset(&m, 0, sizeof(m));
    m.program = "/opt/fc/firecracker";
    m.name = "/state/microvms/0000002a";
    m.memory = 512ull << 20;
    m.cpus = 64;
    m.uid = 5000;
    m.disk_rate = 1 << 20;
    m.disk_ops = 500;

    order = calloc(1, sizeof(vm_order) + VM_TEXT_MAX);
    ok(fc_args(&m, (char *) (order + 1), VM_TEXT_MAX, &order->argc,
               &order->args_len) == 0
       && strcmp((char *) (order + 1), FC_JAILER) == 0, "a jailer");
    ok(memmem(order + 1, order->args_len, "--uid\0" "5000", 11) != NULL
       && memmem(order + 1, order->args_len, "--enable-pci", 12) == NULL,
       "its user; nothing that isn't safe");
    ok(fc_args_told(order, &told) == 0
       && strcmp(told.program, m.program) == 0
       && strcmp(told.id, "0000002a") == 0 && told.cpus == 32
       && told.memory == m.memory && told.disk_rate == 1 << 20
       && told.disk_ops == 500, "what the keeper has to know");

    order->args_len -= 4;
    ok(fc_args_told(order, &told) == -1, "an order that is cut off");
    order->argc = 1u << 30;
    ok(fc_args_told(order, &told) == -1, "one that lies");
    ok(fc_args(&m, (char *) (order + 1), 60, &order->argc, &order->args_len)
       == -1, "no room");

    fc_jailer_path("/opt/fc/firecracker", path, sizeof(path));
    ok(strcmp(path, "/opt/fc/jailer") == 0, "the jailer beside it");
    free(order);
}


/* What is said, how it is taken, and what is left to be read. */
static void
greeting(const char *said, int want, const char *left)
{
    int      rc, pair[2];
    char     rest[64];
    ssize_t  n;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        exit(1);
    }

    (void) !write(pair[1], said, strlen(said));
    rc = vm_hybrid_connected(pair[0]);
    n = recv(pair[0], rest, sizeof(rest) - 1, MSG_DONTWAIT);
    rest[n > 0 ? n : 0] = '\0';
    ok(rc == want && (left == NULL || strcmp(rest, left) == 0),
       "%d for %zu bytes", want, strlen(said));
    close(pair[0]);
    close(pair[1]);
}


static void
connections(void)
{
    int  pair[2];

    greeting("OK 1073741824\n", 1, "");
    greeting("OK 5000\nmore\n", 1, "more\n");
    greeting("", 0, "");
    greeting("OK 50", 0, "OK 50");
    greeting("ERR\n", -1, NULL);
    greeting("OK\n", -1, NULL);
    greeting("\n", -1, NULL);
    greeting("OK 111111111111111111111111111111111111\n", -1, NULL);

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) {
        close(pair[1]);
        ok(vm_hybrid_connected(pair[0]) == -1, "a closed one");
        close(pair[0]);
    }
}


int
main(void)
{
    arguments();
    saves();
    connections();

    return done_testing();
}
