/* What the agent is asked for by the keeper itself; see vm.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/vm.h"

#define EXPECTED  "OK\nHTTP/1.1 200"
#define HEAD_MAX  512


int
vm_ask_prepare(vm_ask *a, const char *key, const char *method,
    const char *path, const char *body, size_t len)
{
    int  n;

    memset(a, 0, sizeof(*a));
    a->fd = -1;
    a->text = malloc(HEAD_MAX + len);

    if (a->text == NULL) {
        return -1;
    }

    n = snprintf(a->text, HEAD_MAX, "CONTROL %s\n%s %s HTTP/1.1\r\n"
                 "Host: localhost\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n", key,
                 method, path, len);
    memcpy(a->text + n, body, len);
    a->len = (size_t) n + len;

    return 0;
}


int
vm_ask_begin(vm_ask *a, const char *key, const char *method, const char *path,
    const char *body, size_t len)
{
    return vm_ask_prepare(a, key, method, path, body, len) == 0
           && vm_ask_retry(a) ? 0 : -1;
}


int
vm_ask_event(vm_ask *a)
{
    int      rc;
    ssize_t  n;

    if (!a->through) {
        rc = vm_forward_connected(a->fd);
        if (rc != 1) {
            return rc;
        }

        a->through = true;
    }

    while (a->sent < a->len) {
        n = send(a->fd, a->text + a->sent, a->len - a->sent,
                 MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n == -1) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }

        a->sent += (size_t) n;
    }

    while (a->got < sizeof(EXPECTED) - 1) {
        n = recv(a->fd, a->answer + a->got, sizeof(EXPECTED) - 1 - a->got,
                 MSG_DONTWAIT);

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            return 0;
        }
        if (n <= 0) {
            return -1;
        }

        a->got += (size_t) n;
    }

    return memcmp(a->answer, EXPECTED, sizeof(EXPECTED) - 1) == 0 ? 1 : -1;
}


bool
vm_ask_retry(vm_ask *a)
{
    int  fd;

    if (a->sent != 0 || a->text == NULL) {
        return false;
    }

    fd = vm_forward_connect();

    if (fd == -1) {
        return false;
    }

    if (a->fd != -1) {
        close(a->fd);
    }

    a->fd = fd;
    a->through = false;

    return true;
}


bool
vm_ask_refused(const vm_ask *a)
{
    return a->got == sizeof(EXPECTED) - 1
           && memcmp(a->answer, EXPECTED, sizeof("OK\n") - 1) == 0;
}


void
vm_ask_anew(vm_ask *a, const char *key)
{
    if (a->fd != -1) {
        close(a->fd);
        a->fd = -1;
    }

    memcpy(a->text + sizeof("CONTROL ") - 1, key, strlen(key));
    a->sent = 0;
    a->got = 0;
}


void
vm_ask_end(vm_ask *a)
{
    if (a->fd != -1) {
        close(a->fd);
        a->fd = -1;
    }

    if (a->text != NULL) {
        explicit_bzero(a->text, a->len);
        free(a->text);
        a->text = NULL;
    }
}
