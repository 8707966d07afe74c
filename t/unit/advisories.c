/* sources: sandboxd/advisories.c sandboxd/program.c */

/* Versions, and what is known against them. */

#include <string.h>

#include "sandboxd/advisories.h"
#include "t/unit/tap.h"


static int
found(const char *text, unsigned a, unsigned b, unsigned c)
{
    version  v, w = { { a, b, c } };

    return version_find(text, &v) == 0 && version_compare(&v, &w) == 0;
}


/* How often something is known, and whether any of it concerns. */
static unsigned
known(const char *program, const char *text, bool *concerns)
{
    version          v;
    unsigned         n;
    const advisory  *a;

    *concerns = false;
    (void) version_find(text, &v);

    for (n = 0, a = NULL; (a = advisory_next(a, program, &v)) != NULL; n++) {
        *concerns |= a->concerns;
    }

    return n;
}


int
main(void)
{
    bool     concerns;
    version  v;

    ok(found("Firecracker v1.16.1\n\nexiting\n", 1, 16, 1), "Firecracker's");
    ok(found("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)",
             7, 2, 22), "QEMU's");
    ok(found("nginx version: nginx/1.22.1", 1, 22, 1), "nginx's");
    ok(found("crun version 1.21\ncommit: 10269840aa07fb7e6b7e1acff6198692d8ff5c88\n",
             1, 21, 0), "one of two parts");
    ok(found("Jailer v1.17.0-dev", 1, 17, 0), "one that is not out yet");
    ok(found("4 is 2.5", 2, 5, 0), "no number without a point");
    ok(version_find("", &v) == -1 && version_find("12", &v) == -1
       && version_find("1.", &v) == -1 && version_find("v.1", &v) == -1,
       "none");

    ok(known("crun", "1.19.1", &concerns) == 3 && !concerns,
       "those that don't concern");
    ok(known("firecracker", "1.14.3", &concerns) == 2, "two");
    ok(known("firecracker", "1.14.4", &concerns) == 1, "one is repaired");
    ok(known("firecracker", "1.15.0", &concerns) == 2, "in two branches");
    ok(known("firecracker", "1.15.1", &concerns) == 1 && concerns,
       "in both; the other one concerns");
    ok(known("firecracker", "1.16.1", &concerns) == 2 && concerns, "so later");
    ok(known("firecracker", "1.16.2", &concerns) == 0, "none");
    ok(known("jailer", "1.14.0", &concerns) == 1
       && known("jailer", "1.14.1", &concerns) == 0
       && known("jailer", "1.13.2", &concerns) == 0, "of another program");
    ok(known("nginx", "1.0.0", &concerns) == 0, "of one that isn't listed");

    return done_testing();
}
