/*
 * What the keeper tells QEMU, over its monitor: to write the machine into a
 * file, as it would to another host, or to take it from there, and to go on.
 * The guest's memory is no part of that: the keeper has it (vm_ram.c).  What
 * QEMU says is read as lines in which a word is looked for, since it is not
 * trusted.  See qemu.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/qemu.h"

#define LINE_BYTES  4096
#define STALE_MAX   64          /* times that much is left from before */
#define FILE_NAME   "file"

typedef enum {
    MONITOR_IDLE,
    MONITOR_LOADING,
    MONITOR_SAVING
} monitor_doing;

/* As fast as it can, and all at once: nobody waits for the machine.  Memory
 * that others can see is not QEMU's to carry. */
static const char  monitor_greeting[] =
    "{\"execute\":\"qmp_capabilities\"}\n"
    "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{"
        "\"capabilities\":[{\"capability\":\"events\",\"state\":true},"
        "{\"capability\":\"x-ignore-shared\",\"state\":true}]}}\n"
    "{\"execute\":\"migrate-set-parameters\",\"arguments\":{"
        "\"max-bandwidth\":1000000000000,\"downtime-limit\":100000}}\n";

static const char  monitor_getfd[] =
    "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"" FILE_NAME "\"}}\n";

static const char  monitor_save[] =
    "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:" FILE_NAME
    "\"}}\n";

static const char  monitor_load[] =
    "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:"
    FILE_NAME "\"}}\n";

static const char  monitor_why[] = "{\"execute\":\"query-migrate\"}\n";
static const char  monitor_cont[] = "{\"execute\":\"cont\"}\n";

static int     monitor_fd = -1;
static bool    monitor_greeted;
static monitor_doing  monitor_now;
static char    monitor_line[LINE_BYTES];
static size_t  monitor_len;

static ssize_t   monitor_read(void);
static vmm_news  monitor_lines(error **err);


int
qemu_monitor_open(const vm_order *order, error **err)
{
    int  pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return error_set(err, 500, "start_failed", "socketpair: %s",
                         strerror(errno));
    }

    /* Away from the numbers that have a meaning. */
    monitor_fd = fcntl(pair[0], F_DUPFD_CLOEXEC, VM_FD_LAST + 1);
    close(pair[0]);
    vm_fd_place(pair[1], VM_FD_MONITOR);

    return monitor_fd != -1 ? 0
           : error_set(err, 500, "start_failed", "descriptors: %s",
                       strerror(errno));
}


static void
monitor_say(const char *text, size_t len)
{
    (void) !send(monitor_fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}


/* It fits into the socket's buffer, and QEMU reads one after the other. */
static void
monitor_give(int fd)
{
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *c;
    union {
        struct cmsghdr  align;
        char            room[CMSG_SPACE(sizeof(int))];
    } control;

    if (!monitor_greeted) {
        monitor_greeted = true;
        monitor_say(monitor_greeting, sizeof(monitor_greeting) - 1);
    }

    memset(&msg, 0, sizeof(msg));
    memset(&control, 0, sizeof(control));
    iov.iov_base = (char *) monitor_getfd;
    iov.iov_len = sizeof(monitor_getfd) - 1;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));

    (void) !sendmsg(monitor_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}


/* While QEMU starts, its memory is filled. */
int
qemu_monitor_begin(const vm_order *order, error **err)
{
    if (order->boot_len != 0) {
        if (vm_ram_load(err) != 0) {
            return -1;
        }

        monitor_now = MONITOR_LOADING;
        monitor_give(VM_FD_KEPT_STATE);
        monitor_say(monitor_load, sizeof(monitor_load) - 1);
    }

    return monitor_fd;
}


int
qemu_monitor_save(void)
{
    int  i;

    if (monitor_now != MONITOR_IDLE || ftruncate(VM_FD_STATE, 0) != 0
        || lseek(VM_FD_STATE, 0, SEEK_SET) != 0)
    {
        return -1;
    }

    /* What was said until now is of an earlier save. */
    for (i = 0; i < STALE_MAX && monitor_read() > 0; i++) {
        (void) monitor_lines(NULL);
    }

    monitor_now = MONITOR_SAVING;
    monitor_give(VM_FD_STATE);
    monitor_say(monitor_save, sizeof(monitor_save) - 1);

    return 0;
}


void
qemu_monitor_resume(void)
{
    monitor_say(monitor_cont, sizeof(monitor_cont) - 1);
}


static void
monitor_complain(const char *line)
{
    int   n;
    char  text[512];

    n = snprintf(text, sizeof(text), "memory can't be kept: %.400s\n", line);
    (void) !write(VM_FD_LOG, text, (size_t) n);
}


/* The machine stands still. */
static vmm_news
monitor_saved(void)
{
    error  *err;

    err = NULL;

    if (vm_ram_save(&err) == 0) {
        return VMM_SAVED;
    }

    monitor_complain(err != NULL ? err->message : "out of memory");
    error_free(err);
    qemu_monitor_resume();

    return VMM_NOT_SAVED;
}


static vmm_news
monitor_failed(const char *line, error **err)
{
    if (monitor_now == MONITOR_LOADING) {
        error_set(err, 500, "start_failed", "the memory that was kept can't "
                  "be used: %.200s", line);
        return VMM_FAILED;
    }

    monitor_complain(line);

    return VMM_NOT_SAVED;
}


/* Once it has failed, QEMU is asked why. */
static vmm_news
monitor_hear(const char *line, error **err)
{
    if (monitor_now == MONITOR_IDLE) {
        return VMM_NOTHING;
    }

    if (strstr(line, "\"error\"") != NULL
        || strstr(line, "\"error-desc\"") != NULL)
    {
        return monitor_failed(line, err);
    }

    if (strstr(line, "\"MIGRATION\"") == NULL) {
        return strstr(line, "\"status\": \"failed\"") != NULL
               ? monitor_failed(line, err) : VMM_NOTHING;
    }

    if (strstr(line, "\"completed\"") != NULL) {
        return monitor_now == MONITOR_LOADING ? VMM_LOADED : monitor_saved();
    }

    if (strstr(line, "\"failed\"") != NULL) {
        monitor_say(monitor_why, sizeof(monitor_why) - 1);
    }

    return VMM_NOTHING;
}


static ssize_t
monitor_read(void)
{
    ssize_t  n;

    n = recv(monitor_fd, monitor_line + monitor_len,
             sizeof(monitor_line) - 1 - monitor_len, MSG_DONTWAIT);

    if (n > 0) {
        monitor_len += (size_t) n;
        monitor_line[monitor_len] = '\0';
    }

    return n;
}


/* None of them is left for later: what is behind a piece of news is of the same
 * as that. */
static vmm_news
monitor_lines(error **err)
{
    char      *end;
    vmm_news   news;

    news = VMM_NOTHING;

    while ((end = memchr(monitor_line, '\n', monitor_len)) != NULL) {
        *end = '\0';

        if (news == VMM_NOTHING) {
            news = monitor_hear(monitor_line, err);
        }

        monitor_len -= (size_t) (end + 1 - monitor_line);
        memmove(monitor_line, end + 1, monitor_len);
    }

    if (news != VMM_NOTHING) {
        monitor_now = MONITOR_IDLE;
    }

    /* Nothing that matters is so long. */
    if (monitor_len == sizeof(monitor_line) - 1) {
        monitor_len = 0;
    }

    return news;
}


vmm_news
qemu_monitor_event(error **err)
{
    ssize_t  n;

    n = monitor_read();

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return VMM_NOTHING;
    }

    return n <= 0 ? VMM_BROKEN : monitor_lines(err);
}
