/*
 * An agent for the driver's tests: answers the ping, runs what it is sent with
 * /bin/sh, and misbehaves on request.  Static and without libraries, so that
 * it runs in any image.
 *
 *   CONTROL <key>\nGET /api/ping HTTP/1.1...    200
 *   CONTROL <key>\nPOST /run HTTP/1.1..., a script as the body: its output,
 *   standard error too, then "\nexit <status>\n"
 *
 * The environment of the boot message may hold "AGENT": "exit" (status 3 at
 * once), "hang" (never answers), "deny" (answers 500), "stubborn" (ignores
 * SIGTERM).
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOOT_BYTES     1048576
#define REQUEST_BYTES  262144

static char  boot[BOOT_BYTES + 1], request[REQUEST_BYTES + 1];


static void
terminate(int signo)
{
    _exit(7);
}


static void
say(int fd, const char *text)
{
    (void) !write(fd, text, strlen(text));
}


static void
run(int conn, const char *script)
{
    int    status;
    char   text[32];
    pid_t  pid;

    say(conn, "OK\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");

    pid = fork();

    if (pid == 0) {
        dup2(conn, 1);
        dup2(conn, 2);
        execl("/bin/sh", "sh", "-c", script, (char *) NULL);
        say(2, "no /bin/sh");
        _exit(127);
    }

    if (waitpid(pid, &status, 0) != pid) {
        return;
    }

    snprintf(text, sizeof(text), "\nexit %d\n", WIFEXITED(status)
             ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    say(conn, text);
}


/* One connection, in a child of its own; the body ends where it says. */
static void
serve(int conn, const char *control)
{
    char         *body, *length;
    size_t        len, want;
    ssize_t       n;

    for (len = 0; len < REQUEST_BYTES; ) {
        n = read(conn, request + len, REQUEST_BYTES - len);
        if (n <= 0) {
            return;
        }

        len += (size_t) n;
        request[len] = '\0';

        body = strstr(request, "\r\n\r\n");
        if (body == NULL) {
            continue;
        }

        body += 4;

        if (strncmp(request, control, strlen(control)) != 0) {
            say(conn, "ERR key\n");
            return;
        }

        if (strstr(request, "\nGET /api/ping ") != NULL) {
            say(conn, strstr(boot, "\"AGENT\":\"deny\"") != NULL
                ? "OK\nHTTP/1.1 500 No\r\nConnection: close\r\n\r\n"
                : "OK\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            return;
        }

        length = strstr(request, "Content-Length: ");
        want = length != NULL ? strtoul(length + 16, NULL, 10) : 0;

        if (len - (size_t) (body - request) >= want) {
            run(conn, body);
            return;
        }
    }
}


static void
key_get(char *control, size_t size)
{
    size_t    len;
    char     *key;
    ssize_t   n;

    for (len = 0; len < BOOT_BYTES; len += (size_t) n) {
        n = read(4, boot + len, BOOT_BYTES - len);
        if (n <= 0) {
            break;
        }
    }

    close(4);

    /* Nobody's, and nobody is left who could tell whose. */
    if (len == 0) {
        _exit(4);
    }

    key = strstr(boot, "\"key\":\"");
    snprintf(control, size, "CONTROL %.32s\n", key != NULL ? key + 7 : "");
}


int
main(void)
{
    int   conn;
    char  control[64];

    key_get(control, sizeof(control));

    if (strstr(boot, "\"AGENT\":\"exit\"") != NULL) {
        return 3;
    }

    signal(SIGTERM, strstr(boot, "\"AGENT\":\"stubborn\"") != NULL
                    ? SIG_IGN : terminate);
    signal(SIGCHLD, SIG_IGN);
    fcntl(3, F_SETFD, FD_CLOEXEC);

    if (strstr(boot, "\"AGENT\":\"hang\"") != NULL) {
        for ( ;; ) {
            pause();
        }
    }

    for ( ;; ) {
        conn = accept4(3, NULL, NULL, SOCK_CLOEXEC);

        if (conn != -1 && fork() == 0) {
            signal(SIGTERM, SIG_DFL);
            signal(SIGCHLD, SIG_DFL);
            serve(conn, control);
            _exit(0);
        }

        close(conn);
    }
}
