/*
 * What the keeper tells QEMU, over its monitor: to write the machine into a
 * file, as it would to another host, and to go on.  What it says is read as
 * lines in which a word is looked for, since it is not trusted.  See qemu.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/qemu.h"

#define LINE_BYTES  4096

/* As fast as it can, and all at once: nobody waits for the machine. */
static const char  monitor_greeting[] =
    "{\"execute\":\"qmp_capabilities\"}\n"
    "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{"
        "\"capabilities\":[{\"capability\":\"events\",\"state\":true}]}}\n"
    "{\"execute\":\"migrate-set-parameters\",\"arguments\":{"
        "\"max-bandwidth\":1000000000000,\"downtime-limit\":100000}}\n";

static const char  monitor_save[] =
    "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"memory\"}}\n"
    "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:memory\"}}\n";

static const char  monitor_why[] = "{\"execute\":\"query-migrate\"}\n";
static const char  monitor_cont[] = "{\"execute\":\"cont\"}\n";

static int     monitor_fd = -1;
static bool    monitor_greeted, monitor_saving;
static char    monitor_line[LINE_BYTES];
static size_t  monitor_len;


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


int
qemu_monitor_begin(const vm_order *order, error **err)
{
    return monitor_fd;
}


static void
monitor_say(const char *text, size_t len)
{
    (void) !send(monitor_fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}


/* It fits into the socket's buffer, and QEMU reads one after the other; the
 * file comes along. */
int
qemu_monitor_save(void)
{
    int              fd;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *c;
    union {
        struct cmsghdr  align;
        char            room[CMSG_SPACE(sizeof(int))];
    } control;

    fd = VM_FD_MEMORY;

    if (monitor_saving || ftruncate(fd, 0) != 0
        || lseek(fd, 0, SEEK_SET) != 0)
    {
        return -1;
    }

    if (!monitor_greeted) {
        monitor_greeted = true;
        monitor_say(monitor_greeting, sizeof(monitor_greeting) - 1);
    }

    monitor_saving = true;
    memset(&msg, 0, sizeof(msg));
    memset(&control, 0, sizeof(control));
    iov.iov_base = (char *) monitor_save;
    iov.iov_len = sizeof(monitor_save) - 1;
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


/* Once it has failed, QEMU is asked why. */
static vmm_news
monitor_hear(const char *line)
{
    if (!monitor_saving) {
        return VMM_NOTHING;
    }

    if (strstr(line, "\"error\"") != NULL
        || strstr(line, "\"error-desc\"") != NULL)
    {
        monitor_complain(line);
        return VMM_NOT_SAVED;
    }

    if (strstr(line, "\"MIGRATION\"") == NULL) {
        return strstr(line, "\"status\": \"failed\"") != NULL ? VMM_NOT_SAVED
               : VMM_NOTHING;
    }

    if (strstr(line, "\"completed\"") != NULL) {
        return VMM_SAVED;
    }

    if (strstr(line, "\"failed\"") != NULL) {
        monitor_say(monitor_why, sizeof(monitor_why) - 1);
    }

    return VMM_NOTHING;
}


vmm_news
qemu_monitor_event(error **err)
{
    char      *end;
    ssize_t    n;
    vmm_news   news;

    n = recv(monitor_fd, monitor_line + monitor_len,
             sizeof(monitor_line) - 1 - monitor_len, MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return VMM_NOTHING;
    }
    if (n <= 0) {
        return VMM_BROKEN;
    }

    monitor_len += (size_t) n;
    monitor_line[monitor_len] = '\0';
    news = VMM_NOTHING;

    while (news == VMM_NOTHING
           && (end = memchr(monitor_line, '\n', monitor_len)) != NULL)
    {
        *end = '\0';
        news = monitor_hear(monitor_line);
        monitor_len -= (size_t) (end + 1 - monitor_line);
        memmove(monitor_line, end + 1, monitor_len);
    }

    if (news != VMM_NOTHING) {
        monitor_saving = false;
    }

    /* Nothing that matters is so long. */
    if (monitor_len == sizeof(monitor_line) - 1) {
        monitor_len = 0;
    }

    return news;
}
