/* sources: agent/vm_config.c common/error.c */
/* libs: -ljansson */

#include <arpa/inet.h>
#include <string.h>

#include "agent/vm_config.h"
#include "t/unit/tap.h"


/* NULL if it is taken, else the field that is named. */

static const char *
refused(const char *json, vm_config *c)
{
    json_t       *o;
    error        *err;
    static char   field[64];

    o = json_loads(json, JSON_ALLOW_NUL, NULL);
    err = NULL;
    field[0] = '\0';

    if (vm_config_parse(c, o, &err) == 0) {
        json_decref(o);
        return NULL;
    }

    strcpy(field, err->field);
    error_free(err);
    json_decref(o);

    return field;
}


static int
names(const char *json, const char *field)
{
    vm_config    c;
    const char  *got;

    got = refused(json, &c);

    return got != NULL && strcmp(got, field) == 0;
}


int
main(void)
{
    vm_config  c;

    ok(refused("{}", &c) == NULL && c.interface[0] == '\0' && c.ndns == 0
       && c.time_ms == 0 && c.entropy_len == 0 && c.processes == 0,
       "nothing");

    ok(refused("{\"processes\":512}", &c) == NULL && c.processes == 512,
       "processes");
    ok(names("{\"processes\":-1}", "processes")
       && names("{\"processes\":\"1\"}", "processes")
       && names("{\"processes\":4194305}", "processes"), "no number of them");

    ok(refused("{\"time\":2000000000000,\"entropy\":\"00ff\","
               "\"dns\":[\"1.2.3.4\",\"::1\"],\"network\":{"
               "\"interface\":\"eth0\",\"address\":\"172.30.0.2\","
               "\"prefix\":30,\"gateway\":\"172.30.0.1\",\"mtu\":1400}}",
               &c) == NULL
       && c.time_ms == 2000000000000LL && c.entropy_len == 2
       && c.entropy[0] == 0 && c.entropy[1] == 0xff && c.ndns == 2
       && strcmp(c.dns[1], "::1") == 0 && strcmp(c.interface, "eth0") == 0
       && c.address == inet_addr("172.30.0.2")
       && c.netmask == inet_addr("255.255.255.252")
       && c.gateway == inet_addr("172.30.0.1") && c.mtu == 1400, "all");
    ok(refused("{\"network\":{\"interface\":\"e\",\"address\":\"1.2.3.4\","
               "\"prefix\":32}}", &c) == NULL
       && c.netmask == 0xffffffff && c.gateway == 0 && c.mtu == 0,
       "the least");

    ok(names("{\"time\":\"now\"}", "time")
       && names("{\"time\":-1}", "time"), "time");
    ok(names("{\"entropy\":\"0\"}", "entropy")
       && names("{\"entropy\":\"0g\"}", "entropy")
       && names("{\"entropy\":\"FF\"}", "entropy")
       && names("{\"entropy\":5}", "entropy"), "entropy");
    ok(names("{\"dns\":\"1.2.3.4\"}", "dns")
       && names("{\"dns\":[\"x\"]}", "dns")
       && names("{\"dns\":[5]}", "dns")
       && names("{\"dns\":[\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\","
                "\"1.1.1.1\"]}", "dns")
       && names("{\"dns\":[\"1.1.1.1\\nsearch x\"]}", "dns"), "dns");
    ok(names("{\"network\":5}", "network")
       && names("{\"network\":{}}", "network.interface")
       && names("{\"network\":{\"interface\":\"a/b\"}}", "network.interface")
       && names("{\"network\":{\"interface\":\"0123456789abcdef\"}}",
                "network.interface")
       && names("{\"network\":{\"interface\":\"e\",\"address\":\"x\"}}",
                "network.address"), "network");
    ok(names("{\"network\":{\"interface\":\"e\",\"address\":\"1.2.3.4\","
             "\"prefix\":33}}", "network.prefix")
       && names("{\"network\":{\"interface\":\"e\","
                "\"address\":\"1.2.3.4\",\"prefix\":8,\"gateway\":1}}",
                "network.gateway")
       && names("{\"network\":{\"interface\":\"e\","
                "\"address\":\"1.2.3.4\",\"prefix\":8,\"mtu\":0}}",
                "network.mtu"), "its members");

    return done_testing();
}
