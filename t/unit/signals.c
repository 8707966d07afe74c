/* sources: agent/signals.c */
/* Signals by name and by number. */

#include <signal.h>
#include <string.h>

#include "agent/signals.h"
#include "t/unit/tap.h"


static int
named(int number, const char *want)
{
    char  text[16];

    signals_name(number, text, sizeof(text));

    return strcmp(text, want) == 0;
}


int
main(void)
{
    int   i, same;
    char  text[16];

    ok(signals_parse("SIGHUP") == SIGHUP && signals_parse("HUP") == SIGHUP
       && signals_parse("hup") == SIGHUP && signals_parse("sigHup") == SIGHUP
       && signals_parse("1") == SIGHUP, "a name in every form");
    ok(signals_parse("KILL") == 9 && signals_parse("9") == 9
       && signals_parse("64") == 64 && signals_parse("09") == 9, "numbers");
    ok(signals_parse("POLL") == SIGIO && signals_parse("SIGIOT") == SIGABRT
       && signals_parse("CLD") == SIGCHLD, "other names of the same");
    ok(signals_parse("RTMIN") == 34 && signals_parse("SIGRTMIN+3") == 37
       && signals_parse("RTMAX-1") == 63 && signals_parse("RTMAX") == 64,
       "real-time ones");
    ok(!signals_parse("") && !signals_parse("0") && !signals_parse("65")
       && !signals_parse("-9") && !signals_parse("9x") && !signals_parse("SIG")
       && !signals_parse("SIG9") && !signals_parse("NOPE")
       && !signals_parse(" HUP") && !signals_parse("100000000000")
       && !signals_parse("RTMIN+31") && !signals_parse("RTMIN-1")
       && !signals_parse("RTMIN+") && !signals_parse("RTMAX-31")
       && !signals_parse("SIGSIGHUP"), "no signal");
    ok(named(SIGTERM, "SIGTERM") && named(34, "SIGRTMIN")
       && named(40, "SIGRTMIN+6") && named(33, "33"), "names of numbers");

    same = 1;
    for (i = 1; i <= SIGNALS_MAX; i++) {
        signals_name(i, text, sizeof(text));
        same &= signals_parse(text) == i;
    }
    ok(same, "each can be said again");

    return done_testing();
}
