/* sources: sandboxd/fc_client.c sandboxd/fc_api.c sandboxd/fc_answer.c common/error.c */
/* libs: -ljansson */

/* The client of Firecracker's API, against a socket that answers as told. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/fc_client.h"
#include "t/unit/tap.h"

#define DONE  "HTTP/1.1 204 \r\n\r\n"

static char       dir[] = "/tmp/fc-client.XXXXXX", path[64], seen[8192];
static int        listener = -1, peer = -1;
static fc_client  c;
static error     *err;


static void
listens(void)
{
    struct sockaddr_un  un = { .sun_family = AF_UNIX };

    strcpy(un.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    unlink(path);
    if (bind(listener, (struct sockaddr *) &un, sizeof(un)) != 0
        || listen(listener, 5) != 0)
    {
        perror(path);
        exit(1);
    }
}


static void
begin(uint64_t now)
{
    fc_plan  plan;

    fc_client_end(&c);
    do {
        if (peer != -1) {
            close(peer);
        }
        peer = accept(listener, NULL, NULL);
    } while (peer != -1);
    fc_plan_save(&plan, "/state", "/memory", 30000);
    fc_client_begin(&c, path, &plan, now);
}


/* What the other side has got since the last time, and then says. */
static const char *
hears(const char *answer)
{
    ssize_t  n;

    if (peer == -1) {
        peer = accept(listener, NULL, NULL);
    }

    n = recv(peer, seen, sizeof(seen) - 1, MSG_DONTWAIT);
    seen[n > 0 ? n : 0] = '\0';
    if (answer != NULL) {
        (void) !write(peer, answer, strlen(answer));
    }

    return seen;
}


static int
go(uint64_t now)
{
    error_free(err);
    err = NULL;

    return fc_client_go(&c, now, &err);
}


static int
says(const char *text)
{
    return err != NULL && strstr(err->message, text) != NULL;
}


int
main(void)
{
    size_t  i;
    char    flood[FC_HEAD_MAX + 2];

    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/api", dir);

    begin(0);
    ok(fc_client_busy(&c) && go(0) == 0 && c.fd == -1, "nobody listens yet");
    ok(go(FC_CONNECT_MS - 1) == 0, "it waits");
    ok(go(FC_CONNECT_MS) == -1 && says("doesn't listen"), "not for ever");

    listens();
    begin(0);
    ok(go(10) == 0 && c.fd != -1, "somebody does");
    ok(strncmp(hears(NULL), "PATCH /vm HTTP/1.1\r\n", 20) == 0, "a request");
    ok(go(20) == 0 && hears(NULL)[0] == '\0', "one at a time");
    hears("HTTP/1.1 204 \r\n");
    ok(go(30) == 0, "half an answer");
    hears("\r\n");
    ok(go(40) == 0
       && strncmp(hears(DONE), "PUT /snapshot/create ", 21) == 0,
       "the next one");
    ok(go(50) == 1, "all is done");
    fc_client_end(&c);
    ok(!fc_client_busy(&c), "and over");

    begin(0);
    (void) go(0);
    hears("HTTP/1.1 400 \r\nContent-Length: 23\r\n\r\n"
          "{\"fault_message\":\"not\"}");
    ok(go(0) == -1 && says("PATCH /vm: not"), "refused, with the reason");

    begin(0);
    (void) go(0);
    ok(go(4999) == 0 && go(5000) == -1 && says("not in time"),
       "a deadline");

    begin(0);
    (void) go(0);
    hears(DONE);
    (void) go(5000);
    ok(go(34999) == 0 && go(35000) == -1 && says("/snapshot/create"),
       "each has its own");

    begin(0);
    (void) go(0);
    hears(NULL);
    close(peer);
    peer = -1;
    ok(go(0) == -1 && says("no answer"), "it goes away");

    begin(0);
    (void) go(0);
    hears("HELLO\r\n\r\n");
    ok(go(0) == -1 && says("no valid answer"), "it talks nonsense");

    begin(0);
    (void) go(0);
    hears(DONE "HTTP/1.1 204 \r\n\r\n");
    ok(go(0) == -1 && says("no valid answer"), "it answers too much");

    begin(0);
    (void) go(0);
    memset(flood, 'x', sizeof(flood));
    flood[sizeof(flood) - 1] = '\0';
    hears(flood);
    ok(go(0) == -1 && says("no valid answer"), "it floods");

    memset(flood, 'x', sizeof(flood));
    fc_client_end(&c);
    for (i = 0; i < 2; i++) {
        fc_plan  plan;

        flood[i == 0 ? 107 : 108] = '\0';
        fc_plan_resume(&plan);
        fc_client_begin(&c, flood, &plan, 0);
        ok(go(0) == -(int) i, i == 0 ? "a long name" : "too long a name");
        fc_client_end(&c);
        flood[107] = 'x';
    }

    error_free(err);
    close(listener);
    unlink(path);
    rmdir(dir);

    return done_testing();
}
