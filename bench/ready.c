/*
 * From exec to the first 200:
 *
 *   ready N SOCKET KEY PATH COMMAND...
 *
 * starts the command N times; each time asks for the path on the socket until
 * it answers (KEY "" without a first line), then ends it with SIGTERM.  Prints
 * the median in milliseconds.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

#define READY_MAX  1000


static int
compare(const void *a, const void *b)
{
    double  x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}


static double
start(const peer *to, const char *path, char **command)
{
    int      status;
    pid_t    pid;
    client   c;
    double   begun, took;

    unlink(to->path);
    begun = now_ms();
    pid = fork();

    if (pid == 0) {
        execvp(command[0], command);
        _exit(127);
    }

    do {
        usleep(100);
        took = now_ms() - begun;
        client_open(&c, to);
        status = c.fd == -1 ? -1 : client_ask(&c, "GET", path, NULL, 0, NULL,
                                              NULL);
        if (status == 200) {
            took = now_ms() - begun;
        }
        client_close(&c);
    } while (status != 200 && took < 10000);

    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);

    if (status != 200) {
        fprintf(stderr, "bench: %s doesn't answer\n", command[0]);
        exit(1);
    }

    return took;
}


int
main(int argc, char **argv)
{
    int     i, n;
    char    preface[256];
    peer    to = { NULL, 0, NULL, "", "" };
    double  times[READY_MAX];

    n = argc > 5 ? atoi(argv[1]) : 0;
    if (n < 1 || n > READY_MAX) {
        fprintf(stderr, "usage: ready N SOCKET KEY PATH COMMAND...\n");
        return 2;
    }

    to.path = argv[2];
    if (argv[3][0] != '\0') {
        snprintf(preface, sizeof(preface), "CONTROL %s\n", argv[3]);
        to.preface = preface;
    }

    signal(SIGPIPE, SIG_IGN);

    for (i = 0; i < n; i++) {
        times[i] = start(&to, argv[4], argv + 5);
    }

    qsort(times, (size_t) n, sizeof(double), compare);
    printf("%.2f\n", times[n / 2]);

    return 0;
}
