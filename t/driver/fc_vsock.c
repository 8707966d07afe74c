/* The way to what plays a machine's agent: its vsock; see fc_stub.h. */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "t/driver/fc_stub.h"

#define CONNECTIONS  1023

unsigned  guest_port;

static atomic_int  guest_count, guest_mute;
static atomic_int  guest_asked;     /* to go on, since this VMM has begun */


void
guest_dead(void)
{
    guest_mute = 1;
}


int
guest_dial(void)
{
    int                 fd;
    struct sockaddr_un  un = { .sun_family = AF_UNIX,
                               .sun_path = GUEST_AGENT };

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *) &un, sizeof(un)) != 0) {
        close(fd);
        return -1;
    }

    return fd;
}


static bool
push(int fd, const char *p, ssize_t n)
{
    ssize_t  sent;

    while (n > 0) {
        sent = send(fd, p, (size_t) n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        p += sent;
        n -= sent;
    }

    return true;
}


/* The key of an agent that has gone on is in its memory, which isn't really
 * kept: what it was told is, instead of what it was told at first. */
static void
remember(const char *text, size_t len)
{
    FILE        *f;
    const char  *body;

    body = memmem(text, len, "\r\n\r\n", 4);

    if (body == NULL || text[len - 1] != '}') {
        return;
    }

    f = fopen("/guest/kept", "we");
    if (f != NULL) {
        fwrite(body + 4, 1, len - (size_t) (body + 4 - text), f);
        fclose(f);
    }
}


/* What may become of the first request to go on: true if that was all of its
 * connection. */
static bool
go_on(int a, int b, const char *text, ssize_t n)
{
    char  answer[4096];
    bool  cut;

    cut = guest_fault("cut");

    if (guest_asked++ != 0
        || (!cut && !guest_fault("lost") && !guest_fault("silent")))
    {
        remember(text, (size_t) n);
        return false;
    }

    if (!cut && push(b, text, n)) {
        remember(text, (size_t) n);
        (void) recv(b, answer, sizeof(answer), 0);
    }

    while (guest_fault("silent") && recv(a, answer, sizeof(answer), 0) > 0) {
        /* until nobody waits any more */
    }

    return true;
}


/* a: the host's side */
static void
carry(int a, int b)
{
    int            i, open_sides;
    char           block[65536];
    ssize_t        n;
    struct pollfd  p[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };

    for (open_sides = 2; open_sides > 0; ) {
        if (poll(p, 2, -1) < 0) {
            return;
        }

        for (i = 0; i < 2; i++) {
            if (p[i].fd == -1 || p[i].revents == 0) {
                continue;
            }

            n = recv(p[i].fd, block, sizeof(block), 0);

            if (n > 0 && i == 0
                && memmem(block, (size_t) n, "\nPUT /internal/restore HTTP", 27)
                   != NULL
                && go_on(a, b, block, n))
            {
                return;
            }

            if (n <= 0) {
                shutdown(i == 0 ? b : a, SHUT_WR);
                p[i].fd = -1;
                open_sides--;

            } else if (!push(i == 0 ? b : a, block, n)) {
                return;
            }
        }
    }
}


/* The line has to come in one piece, as it is read by the real one. */
static void *
connection(void *data)
{
    int       fd, agent;
    char      line[33], *end, ok[32];
    ssize_t   n;
    unsigned  port;

    fd = (int) (long) data;
    agent = -1;
    n = recv(fd, line, sizeof(line) - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    end = strchr(line, '\n');

    if (guest_mute) {
        (void) recv(fd, ok, 1, 0);

    } else if (end != NULL && sscanf(line, "CONNECT %u\n", &port) == 1
               && port == guest_port && (agent = guest_dial()) != -1)
    {
        snprintf(ok, sizeof(ok), "OK %d\n", 1073741824 + fd);

        if (push(fd, ok, (ssize_t) strlen(ok))
            && push(agent, end + 1, n - (end + 1 - line)))
        {
            carry(fd, agent);
        }
    }

    if (agent != -1) {
        close(agent);
    }
    close(fd);
    guest_count--;

    return NULL;
}


static void * __attribute__((noreturn))
accepts(void *data)
{
    int        fd;
    pthread_t  thread;

    for ( ;; ) {
        fd = accept4((int) (long) data, NULL, NULL, SOCK_CLOEXEC);

        if (fd == -1) {
            continue;
        }

        if (++guest_count > CONNECTIONS
            || pthread_create(&thread, NULL, connection, (void *) (long) fd)
               != 0)
        {
            guest_count--;
            close(fd);
            continue;
        }

        pthread_detach(thread);
    }
}


const char *
guest_vsock(const char *path)
{
    int                 fd;
    pthread_t           thread;
    struct sockaddr_un  un = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(un.sun_path)) {
        return "Cannot create backend for vsock device: path too long";
    }

    strcpy(un.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *) &un, sizeof(un)) != 0
        || listen(fd, 128) != 0
        || pthread_create(&thread, NULL, accepts, (void *) (long) fd) != 0)
    {
        return errno == EADDRINUSE
               ? "Cannot create backend for vsock device: Address in use"
               : "Cannot create backend for vsock device";
    }

    return NULL;
}
