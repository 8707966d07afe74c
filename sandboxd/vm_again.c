/*
 * A machine that goes on with its memory.  What was kept of the machine itself
 * is used once: up to the moment in which the machine goes on it can be used
 * again, whatever is killed; from then on it is of no use, since the disk is
 * another one.  What its agent has to know comes with the order, and is told
 * before anybody else speaks to it.  See vm.h.
 */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/vm.h"

/* For a connection, and then for the answer, before another one is tried: each
 * time twice as long, up to the most. */
#define AGAIN_CONNECT_MS  100
#define AGAIN_ANSWER_MS   3000
#define AGAIN_MOST_MS     8000
#define AGAIN_KEYS_MAX    4         /* that aren't the agent's */

static int       again_epoll;
static vm_ask    again_ask = { .fd = -1 };
static uint64_t  again_end, again_next, again_connect_ms, again_answer_ms;
static bool      again_kept, again_goes, again_sent, again_done;
static char      again_keys[2][33]; /* the former one, and the new one */
static unsigned  again_refused;     /* of them */
static unsigned  again_cuts;        /* of requests */
static pid_t     again_marks = -1;  /* puts the mark on the disk */
static pid_t     again_pid = -1;    /* gives back what was used up */


static void
again_marked(int status)
{
    again_marks = -1;

    if (status != 0) {
        vm_end(1, "what was kept can't be marked");
    }
}


/* Who comes after a crash of the host can't know whether the machine has gone
 * on: what has happened since is not on the disk in any order.  So it is
 * marked, by a process of its own while others are at work; in the same boot,
 * the mark alone says that it has not. */
static void
again_mark(const vm_order *order)
{
    int     rc;
    size_t  len;

    len = strlen(order->woken);

    if (pwrite(VM_FD_END, order->woken, len, (off_t) strlen(order->asleep))
        != (ssize_t) len)
    {
        again_marked(1);
    }

    again_marks = fork();

    if (again_marks <= 0) {
        rc = fdatasync(VM_FD_END);

        if (again_marks == 0) {
            _exit(rc != 0);
        }

        again_marked(rc);
    }
}


void
vm_again_open(const vm_order *order, int epoll)
{
    again_epoll = epoll;
    again_end = vm_now_ms() + order->again_ms;
    again_connect_ms = AGAIN_CONNECT_MS;
    again_answer_ms = AGAIN_ANSWER_MS;
    memcpy(again_keys[0], order->former, sizeof(again_keys[0]));
    memcpy(again_keys[1], order->key, sizeof(again_keys[1]));

    if (order->woken[0] != '\0') {
        again_kept = true;
        again_mark(order);
    }

    if (vm_ask_prepare(&again_ask, order->former, "PUT", "/internal/restore",
                       (const char *) (order + 1) + order->args_len,
                       order->boot_len) != 0)
    {
        vm_end(1, "out of memory");
    }
}


bool
vm_again_kept(void)
{
    return again_kept;
}


bool
vm_again_waits(void)
{
    return again_end != 0 && !again_done;
}


static void
again_longer(uint64_t *ms)
{
    *ms = *ms < AGAIN_MOST_MS / 2 ? 2 * *ms : AGAIN_MOST_MS;
}


static void
again_connect(void)
{
    struct epoll_event  ev;

    again_sent = false;
    again_next = vm_now_ms() + again_connect_ms;

    if (vm_ask_retry(&again_ask)) {
        ev.events = EPOLLIN | EPOLLOUT | EPOLLET;
        ev.data.ptr = &again_ask;
        (void) epoll_ctl(again_epoll, EPOLL_CTL_ADD, again_ask.fd, &ev);
    }
}


/* From here on it is another machine than the one that was kept. */
void
vm_again_go(void)
{
    int  status;

    if (again_marks > 0) {
        status = 1;
        (void) waitpid(again_marks, &status, 0);
        again_marked(status);
    }

    if (again_kept && ftruncate(VM_FD_END, 0) != 0) {
        vm_end(1, "what was kept can't be used up");
    }

    again_kept = false;
    again_goes = true;
    again_connect();
}


void
vm_again_look(void)
{
    if (again_done) {
        return;
    }

    if (vm_now_ms() >= again_end) {
        vm_end(1, "the agent didn't go on in time");
    }

    if (!again_goes
        || (again_ask.fd != -1 && vm_now_ms() < again_next))
    {
        return;
    }

    /* It may never have come, or its answer may be lost. */
    if (again_sent) {
        again_longer(&again_answer_ms);
        vm_ask_anew(&again_ask, again_keys[again_refused % 2]);

    } else if (again_ask.fd != -1) {
        again_longer(&again_connect_ms);
    }

    again_connect();
}


/* A vsock's connections are cut off by the guest when it hears that it is
 * another machine now, which is at any moment after it goes on; so the request
 * is made again, as it does no harm to be told the same twice.  An agent that
 * has taken it knows the new key alone. */
static void
again_failed(void)
{
    bool  sent;

    sent = again_ask.sent != 0;
    again_refused += again_ask.got != 0;

    if (vm_ask_refused(&again_ask) || again_refused == AGAIN_KEYS_MAX) {
        vm_end(1, "the agent didn't go on");
    }

    vm_ask_anew(&again_ask, again_keys[again_refused % 2]);

    /* Usually it is once. */
    if (sent && again_cuts++ == 0) {
        again_connect();
    }
}


/* What was used up takes long to be given back: by a process of its own, that
 * nobody waits for. */
static void
again_empty(void)
{
    again_pid = fork();

    if (again_pid <= 0) {
        (void) !ftruncate(VM_FD_MEMORY, 0);
        (void) !ftruncate(VM_FD_STATE, 0);
    }

    if (again_pid == 0) {
        _exit(0);
    }
}


void
vm_again_reaped(pid_t pid, int status)
{
    if (pid == again_marks) {
        again_marked(status);
    }

    if (pid == again_pid) {
        again_pid = -1;
    }
}


void
vm_again_settle(void)
{
    if (again_pid > 0) {
        (void) waitpid(again_pid, NULL, 0);
        again_pid = -1;
    }
}


bool
vm_again_event(void *ptr)
{
    if (ptr != &again_ask) {
        return false;
    }

    if (again_ask.fd == -1) {
        return true;
    }

    switch (vm_ask_event(&again_ask)) {
    case -1:
        again_failed();
        break;
    case 0:
        if (again_ask.sent != 0 && !again_sent) {
            again_sent = true;
            again_next = vm_now_ms() + again_answer_ms;
        }
        break;
    case 1:
        again_done = true;
        vm_ask_end(&again_ask);
        explicit_bzero(again_keys, sizeof(again_keys));
        vm_ready_now();
        again_empty();
    }

    return true;
}
