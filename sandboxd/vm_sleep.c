/*
 * Sleep with memory: QEMU is told, over its monitor, to write the machine into
 * a file, as it would to another host.  What it says is read as lines in which
 * a word is looked for, since it is not trusted.  See vm.h.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/vm.h"

#define LINE_BYTES  4096

/* As fast as it can, and all at once: nobody waits for the machine. */
static const char  sleep_words[] =
    "{\"execute\":\"qmp_capabilities\"}\n"
    "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{"
        "\"capabilities\":[{\"capability\":\"events\",\"state\":true}]}}\n"
    "{\"execute\":\"migrate-set-parameters\",\"arguments\":{"
        "\"max-bandwidth\":1000000000000,\"downtime-limit\":100000}}\n"
    "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"memory\"}}\n"
    "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:memory\"}}\n";

static int     sleep_fd = -1;
static bool    sleep_begun;
static char    sleep_line[LINE_BYTES];
static size_t  sleep_len;


void
vm_sleep_open(int fd)
{
    sleep_fd = fd;
}


/* It fits into the socket's buffer, and QEMU reads one after the other; the
 * file comes along. */
void
vm_sleep_begin(void)
{
    int              fd;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *c;
    union {
        struct cmsghdr  align;
        char            room[CMSG_SPACE(sizeof(int))];
    } control;

    if (sleep_begun) {
        return;
    }

    sleep_begun = true;
    fd = VM_FD_MEMORY;

    memset(&msg, 0, sizeof(msg));
    memset(&control, 0, sizeof(control));
    iov.iov_base = (char *) sleep_words;
    iov.iov_len = sizeof(sleep_words) - 1;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));

    (void) !sendmsg(sleep_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}


bool
vm_sleep_asked(void)
{
    return sleep_begun;
}


static void
sleep_complain(const char *line)
{
    char  text[512];
    int   n;

    n = snprintf(text, sizeof(text), "memory can't be kept: %.400s\n", line);
    (void) !write(VM_FD_LOG, text, (size_t) n);
}


/* Once it has failed, QEMU is asked why. */
static int
sleep_hear(const char *line)
{
    static const char  why[] = "{\"execute\":\"query-migrate\"}\n";

    if (!sleep_begun) {
        return 0;
    }

    if (strstr(line, "\"error\"") != NULL
        || strstr(line, "\"error-desc\"") != NULL)
    {
        sleep_complain(line);
        return -1;
    }

    if (strstr(line, "\"MIGRATION\"") == NULL) {
        return strstr(line, "\"status\": \"failed\"") != NULL ? -1 : 0;
    }

    if (strstr(line, "\"completed\"") != NULL) {
        return 1;
    }

    if (strstr(line, "\"failed\"") != NULL) {
        (void) !send(sleep_fd, why, sizeof(why) - 1, MSG_NOSIGNAL
                     | MSG_DONTWAIT);
    }

    return 0;
}


int
vm_sleep_event(void)
{
    int      rc;
    char    *end;
    ssize_t  n;

    n = recv(sleep_fd, sleep_line + sleep_len,
             sizeof(sleep_line) - 1 - sleep_len, MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0) {
        return -1;
    }

    sleep_len += (size_t) n;
    sleep_line[sleep_len] = '\0';
    rc = 0;

    while (rc == 0 && (end = memchr(sleep_line, '\n', sleep_len)) != NULL) {
        *end = '\0';
        rc = sleep_hear(sleep_line);
        sleep_len -= (size_t) (end + 1 - sleep_line);
        memmove(sleep_line, end + 1, sleep_len);
    }

    /* Nothing that matters is so long. */
    if (sleep_len == sizeof(sleep_line) - 1) {
        sleep_len = 0;
    }

    return rc;
}
