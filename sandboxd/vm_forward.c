/*
 * Connections between the agent's socket and its port in the guest.  Bytes go
 * through one buffer of all; a connection has memory of its own only while one
 * side takes them more slowly than the other gives them, and then that other
 * has to wait.  See vm.h.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/vm.h"

#define CONNS_MAX     4000      /* two descriptors each */
#define ACCEPTS       64        /* at a time */
#define ROUNDS        8         /* of the buffer, before others have a turn */
#define BUFFER_BYTES  32768     /* and so many are kept of one at most */
#define SYN_TRIES     4

/* For as long as the machine may stand still to be copied, and twice that. */
#define SILENCE_S     (2 * VM_CONTROL_S)
#define PROBE_S       20

#define CLIENT        0
#define GUEST         1

typedef struct conn  conn;

/* One side of a connection, and what has been read from it but not yet been
 * taken by the other. */
typedef struct {
    conn      *c;
    int        fd;
    uint32_t   events;          /* that are waited for */
    bool       polled;
    bool       ended;           /* nothing more will be read */
    bool       told;            /* and the other side knows */
    char      *data;
    size_t     off, len;
} side;

struct conn {
    side       s[2];
    bool       connecting;
    bool       closed;          /* freed when the events are done with */
    conn      *next;            /* of those */
};

static int       forward_epoll = -1;
static vm_way    forward_way;
static int       forward_listen;        /* its address is our pointer */
static bool      forward_paused;
static unsigned  forward_count;
static conn     *forward_closed;
static char      forward_buffer[BUFFER_BYTES];


static void
listen_poll(bool on)
{
    struct epoll_event  ev;

    ev.events = EPOLLIN;
    ev.data.ptr = &forward_listen;

    (void) epoll_ctl(forward_epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                     VM_FD_LISTEN, &ev);
    forward_paused = !on;
}


static void
conn_close(conn *c)
{
    int  i;

    if (c->closed) {
        return;
    }

    for (i = 0; i < 2; i++) {
        close(c->s[i].fd);
        free(c->s[i].data);
        c->s[i].data = NULL;
    }

    c->closed = true;
    c->next = forward_closed;
    forward_closed = c;
    forward_count--;

    if (forward_paused) {
        listen_poll(true);
    }
}


static void
side_poll(side *s)
{
    side                *other;
    uint32_t             events;
    struct epoll_event   ev;

    if (!s->polled) {
        return;
    }

    other = &s->c->s[s == &s->c->s[0]];
    events = 0;

    if (s->c->connecting) {
        events = s == &s->c->s[GUEST] ? vm_forward_wait() : 0;

    } else {
        if (!s->ended && s->len == 0) {
            events |= EPOLLIN;
        }
        if (other->len != 0) {
            events |= EPOLLOUT;
        }
    }

    if (events != s->events) {
        s->events = events;
        ev.events = events;
        ev.data.ptr = s;
        (void) epoll_ctl(forward_epoll, EPOLL_CTL_MOD, s->fd, &ev);
    }
}


/* -1: it doesn't take anything any more. */
static ssize_t
side_write(side *to, const char *p, size_t len)
{
    ssize_t  n;

    n = send(to->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }

    return n;
}


static int
side_keep(side *from, const char *p, size_t len)
{
    from->data = malloc(len);
    if (from->data == NULL) {
        return -1;
    }

    memcpy(from->data, p, len);
    from->off = 0;
    from->len = len;

    return 0;
}


/* Gives what was kept; 1: all of it. */
static int
side_give(side *from, side *to)
{
    ssize_t  n;

    n = side_write(to, from->data + from->off, from->len);
    if (n < 0) {
        return -1;
    }

    from->off += (size_t) n;
    from->len -= (size_t) n;

    if (from->len != 0) {
        return 0;
    }

    free(from->data);
    from->data = NULL;

    return 1;
}


/* Carries what there is from one side to the other.  -1: the connection is
 * over. */
static int
side_pump(side *from)
{
    int      rounds;
    side    *to;
    ssize_t  n, taken;

    to = &from->c->s[from == &from->c->s[0]];

    for (rounds = 0; rounds < ROUNDS || !from->polled; rounds++) {

        if (from->len != 0) {
            switch (side_give(from, to)) {
            case -1:
                return -1;
            case 0:
                return 0;
            }
        }

        if (from->ended) {
            if (!from->told) {
                from->told = true;
                (void) shutdown(to->fd, SHUT_WR);
            }
            return 0;
        }

        n = recv(from->fd, forward_buffer, sizeof(forward_buffer),
                 MSG_DONTWAIT);

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n == -1 && errno == EAGAIN) {
            return 0;
        }
        if (n == -1) {
            return -1;
        }
        if (n == 0) {
            from->ended = true;
            continue;
        }

        taken = side_write(to, forward_buffer, (size_t) n);

        if (taken < 0
            || (taken < n && side_keep(from, forward_buffer + taken,
                                       (size_t) (n - taken)) != 0))
        {
            return -1;
        }
    }

    return 0;
}


static void
conn_update(conn *c)
{
    side  *client, *guest;

    client = &c->s[CLIENT];
    guest = &c->s[GUEST];

    /* A side that has gone for good takes nothing, and has told all. */
    if ((client->told && guest->told)
        || (!client->polled && client->ended && client->len == 0)
        || (!guest->polled && guest->ended && guest->len == 0))
    {
        conn_close(c);
        return;
    }

    side_poll(client);
    side_poll(guest);
}


static void
side_event(side *s, uint32_t events)
{
    int    rc;
    side  *other;
    conn  *c;

    c = s->c;
    other = &c->s[s == &c->s[0]];

    if (c->closed) {
        return;
    }

    if (c->connecting) {
        rc = s == &c->s[CLIENT] ? -1 : vm_forward_connected(s->fd);

        if (rc == -1) {
            conn_close(c);
        }
        if (rc != 1) {
            return;
        }

        c->connecting = false;
        conn_update(c);
        return;
    }

    /* Nothing is waited for there any more; what is left is read as the other
     * side takes it. */
    if (events & (EPOLLHUP | EPOLLERR)) {
        (void) epoll_ctl(forward_epoll, EPOLL_CTL_DEL, s->fd, NULL);
        s->polled = false;
    }

    if (side_pump(s) != 0
        || ((events & EPOLLOUT) && side_pump(other) != 0))
    {
        conn_close(c);
        return;
    }

    conn_update(c);
}


/* A guest may take its network away: then nothing says that its connections
 * are over. */
static void
connect_tune(int fd)
{
    size_t  i;

    static const struct {
        int  level;
        int  name;
        int  value;
    } options[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },
        { IPPROTO_TCP, TCP_SYNCNT, SYN_TRIES },
        { IPPROTO_TCP, TCP_USER_TIMEOUT, SILENCE_S * 1000 },
        { IPPROTO_TCP, TCP_KEEPIDLE, SILENCE_S / 2 },
        { IPPROTO_TCP, TCP_KEEPINTVL, PROBE_S },
        { SOL_SOCKET, SO_KEEPALIVE, 1 }
    };

    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        (void) setsockopt(fd, options[i].level, options[i].name,
                          &options[i].value, sizeof(int));
    }
}


int
vm_forward_connect(void)
{
    int                 fd;
    struct sockaddr_in  in;

    if (forward_way.connect != NULL) {
        return forward_way.connect();
    }

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1) {
        return -1;
    }

    connect_tune(fd);

    memset(&in, 0, sizeof(in));
    in.sin_family = AF_INET;
    in.sin_port = htons(VM_GUEST_PORT);
    inet_pton(AF_INET, VM_GUEST_ADDRESS, &in.sin_addr);

    if (connect(fd, (struct sockaddr *) &in, sizeof(in)) == -1
        && errno != EINPROGRESS)
    {
        close(fd);
        return -1;
    }

    return fd;
}


uint32_t
vm_forward_wait(void)
{
    return forward_way.connected != NULL ? EPOLLIN : EPOLLOUT;
}


int
vm_forward_connected(int fd)
{
    int        why;
    socklen_t  len;

    if (forward_way.connected != NULL) {
        return forward_way.connected(fd);
    }

    len = sizeof(why);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && why == 0
           ? 1 : -1;
}


static void
conn_open(int client)
{
    int                  i, guest;
    conn                *c;
    struct epoll_event   ev;

    guest = vm_forward_connect();
    c = guest != -1 ? calloc(1, sizeof(conn)) : NULL;

    if (c == NULL) {
        close(client);
        if (guest != -1) {
            close(guest);
        }
        return;
    }

    c->connecting = true;
    c->s[CLIENT].fd = client;
    c->s[GUEST].fd = guest;
    forward_count++;

    for (i = 0; i < 2; i++) {
        c->s[i].c = c;
        c->s[i].polled = true;
        c->s[i].events = i == GUEST ? vm_forward_wait() : 0;
        ev.events = c->s[i].events;
        ev.data.ptr = &c->s[i];

        if (epoll_ctl(forward_epoll, EPOLL_CTL_ADD, c->s[i].fd, &ev) != 0) {
            conn_close(c);
            return;
        }
    }
}


static void
listen_event(void)
{
    int  i, fd;

    for (i = 0; i < ACCEPTS; i++) {

        if (forward_count >= forward_way.max) {
            listen_poll(false);
            return;
        }

        fd = accept4(VM_FD_LISTEN, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd == -1) {
            /* Out of descriptors: until a connection gives two back. */
            if ((errno == EMFILE || errno == ENFILE) && forward_count > 0) {
                listen_poll(false);
            }
            return;
        }

        conn_open(fd);
    }
}


/* Until the agent listens, clients wait in the socket's own queue. */
int
vm_forward_open(int epoll, const vm_way *way, error **err)
{
    int  rc;

    forward_way = *way;

    if (forward_way.max == 0 || forward_way.max > CONNS_MAX) {
        forward_way.max = CONNS_MAX;
    }

    forward_epoll = epoll;
    rc = fcntl(VM_FD_LISTEN, F_SETFL, O_NONBLOCK);

    return rc == 0 ? 0 : error_set(err, 500, "internal", "fcntl: %s",
                                   strerror(errno));
}


void
vm_forward_ready(void)
{
    listen_poll(true);
}


bool
vm_forward_event(void *ptr, uint32_t events)
{
    conn  *c;

    if (ptr == NULL) {
        /* All events of a turn have been looked at. */
        while ((c = forward_closed) != NULL) {
            forward_closed = c->next;
            free(c);
        }
        return true;
    }

    if (ptr == &forward_listen) {
        listen_event();
    } else {
        side_event(ptr, events);
    }

    return true;
}
