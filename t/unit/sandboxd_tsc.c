/* sources: sandboxd/tsc.c common/small_file.c */

/* How fast the processor counts, beside a longer look at it; and not where the
 * host doesn't trust it. */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "sandboxd/tsc.h"
#include "t/unit/tap.h"


typedef struct {
    double              before, after;      /* ms */
    unsigned long long  ticks;
} reading;


static double
now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
}


static reading
look(void)
{
    reading  r;

    r.before = now_ms();
    r.ticks = __rdtsc();
    r.after = now_ms();

    return r;
}


static void
pass_ms(long ms)
{
    struct timespec  ts;

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = ms % 1000 * 1000000;
    nanosleep(&ts, NULL);
}


/* Between what it is at least and at most, and a thousandth more. */
static int
fits(unsigned khz, const reading *a, const reading *b)
{
    double  ticks;

    ticks = (double) (b->ticks - a->ticks);

    return khz > ticks / (b->after - a->before) * 0.999
           && khz < ticks / (b->before - a->after) * 1.001;
}


/* A host that says so, which only this process sees. */
static void
distrusted(void)
{
    int                fd;
    char               path[] = "/tmp/sources-XXXXXX";
    static const char  said[] = "kvm-clock acpi_pm \n";

    fd = mkstemp(path);

    if (fd == -1 || write(fd, said, strlen(said)) != (ssize_t) strlen(said)
        || unshare(CLONE_NEWNS) != 0
        || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
        || mount(path, "/sys/devices/system/clocksource/clocksource0/"
                 "available_clocksource", NULL, MS_BIND, NULL) != 0)
    {
        ok(geteuid() != 0, "no 0 where it isn't trusted # skip %s",
           strerror(errno));

    } else {
        ok(tsc_khz() == 0, "0 where it isn't trusted");
    }

    unlink(path);
}


int
main(void)
{
    double    begun;
    reading   first, last;
    unsigned  early, later;

    tsc_begin();
    begun = now_ms();
    first = look();
    early = tsc_khz();
    ok(now_ms() - begun > 40, "it takes its time");

    pass_ms(2100);
    later = tsc_khz();
    last = look();
    ok(fits(early, &first, &last), "%u kHz at once", early);
    ok(fits(later, &first, &last), "%u kHz later", later);

    pass_ms(20);
    ok(tsc_khz() == later, "and for good");
    distrusted();

    return done_testing();
}
