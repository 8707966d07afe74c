/* Names of signals; see signals.h. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/signals.h"

/* The kernel's; the C library keeps the first two for itself and begins its
 * own SIGRTMIN behind them, as shells and people do. */
#define SIGNALS_RTMIN  34
#define SIGNALS_RTMAX  64

static const char *const  signals_names[] = {
    [SIGHUP] = "HUP", [SIGINT] = "INT", [SIGQUIT] = "QUIT", [SIGILL] = "ILL",
    [SIGTRAP] = "TRAP", [SIGABRT] = "ABRT", [SIGBUS] = "BUS",
    [SIGFPE] = "FPE", [SIGKILL] = "KILL", [SIGUSR1] = "USR1",
    [SIGSEGV] = "SEGV", [SIGUSR2] = "USR2", [SIGPIPE] = "PIPE",
    [SIGALRM] = "ALRM", [SIGTERM] = "TERM", [SIGSTKFLT] = "STKFLT",
    [SIGCHLD] = "CHLD", [SIGCONT] = "CONT", [SIGSTOP] = "STOP",
    [SIGTSTP] = "TSTP", [SIGTTIN] = "TTIN", [SIGTTOU] = "TTOU",
    [SIGURG] = "URG", [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ",
    [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH",
    [SIGIO] = "IO", [SIGPWR] = "PWR", [SIGSYS] = "SYS"
};

#define SIGNALS_NAMED  (sizeof(signals_names) / sizeof(signals_names[0]))


/* One or two digits, at most `most`; -1. */

static int
signals_number(const char *p, int most)
{
    int     n;
    size_t  len;

    len = strspn(p, "0123456789");
    if (len == 0 || len > 2 || p[len] != '\0') {
        return -1;
    }

    n = atoi(p);

    return n <= most ? n : -1;
}


int
signals_parse(const char *text)
{
    int     n;
    size_t  i;

    if (text[0] >= '0' && text[0] <= '9') {
        n = signals_number(text, SIGNALS_MAX);
        return n > 0 ? n : 0;
    }

    if (strncasecmp(text, "SIG", 3) == 0) {
        text += 3;
    }

    for (i = 1; i < SIGNALS_NAMED; i++) {
        if (signals_names[i] != NULL && strcasecmp(text, signals_names[i]) == 0)
        {
            return (int) i;
        }
    }

    if (strcasecmp(text, "POLL") == 0) {
        return SIGIO;
    }
    if (strcasecmp(text, "IOT") == 0) {
        return SIGABRT;
    }
    if (strcasecmp(text, "CLD") == 0) {
        return SIGCHLD;
    }

    if (strncasecmp(text, "RTMIN", 5) == 0) {
        n = text[5] == '\0' ? 0
            : text[5] == '+' ? signals_number(text + 6,
                                              SIGNALS_RTMAX - SIGNALS_RTMIN)
                             : -1;
        return n < 0 ? 0 : SIGNALS_RTMIN + n;
    }

    if (strncasecmp(text, "RTMAX", 5) == 0) {
        n = text[5] == '\0' ? 0
            : text[5] == '-' ? signals_number(text + 6,
                                              SIGNALS_RTMAX - SIGNALS_RTMIN)
                             : -1;
        return n < 0 ? 0 : SIGNALS_RTMAX - n;
    }

    return 0;
}


void
signals_name(int number, char *out, size_t size)
{
    if (number > 0 && (size_t) number < SIGNALS_NAMED
        && signals_names[number] != NULL)
    {
        snprintf(out, size, "SIG%s", signals_names[number]);

    } else if (number >= SIGNALS_RTMIN && number <= SIGNALS_RTMAX) {
        snprintf(out, size, number == SIGNALS_RTMIN ? "SIGRTMIN"
                 : "SIGRTMIN+%d", number - SIGNALS_RTMIN);

    } else {
        snprintf(out, size, "%d", number);
    }
}
