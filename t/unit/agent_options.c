/* sources: agent/options.c agent/env.c common/error.c */
/* libs: -ljansson */

#include <string.h>

#include "agent/options.h"
#include "t/unit/tap.h"

#define ARGS(...)  (char *[]) { (char *) "agent", __VA_ARGS__, NULL }
#define ENV(...)   (char *[]) { __VA_ARGS__, NULL }


/* Taken without an error? */

static int
taken(agent_options *o, char **argv, char **env)
{
    int     rc;
    error  *err;

    err = NULL;
    rc = options_parse(o, argv, env, &err);
    error_free(err);

    return rc == 0;
}


static int
listens(const char *text, listen_address *a)
{
    int     rc;
    error  *err;

    err = NULL;
    rc = options_listen(text, a, &err);
    error_free(err);

    return rc == 0;
}


static void
test_arguments(void)
{
    agent_options  o;

    ok(taken(&o, ARGS("--listen-fd", "3", "--boot-fd", "4"), ENV(NULL))
       && o.listen_fd == 3 && o.boot_fd == 4 && o.command == NULL,
       "descriptors");
    ok(taken(&o, ARGS("--listen-fd", "3", "--boot-fd", "4"),
             ENV("SANDBOX_LISTEN=unix:/x", "SANDBOX_KEY_FILE=/k"))
       && o.listen == NULL && o.key_file == NULL,
       "descriptors are stronger than the environment");
    ok(taken(&o, ARGS("--key-file", "/a"),
             ENV("SANDBOX_LISTEN=unix:/x", "SANDBOX_BOOT_FILE=/b"))
       && o.boot_file == NULL && strcmp(o.key_file, "/a") == 0,
       "and so is an argument");
    ok(!taken(&o, ARGS("--listen-fd", "3"), ENV(NULL)), "a key is needed");
    ok(!taken(&o, ARGS("--boot-fd", "3"), ENV(NULL)), "and an address");
    ok(!taken(&o, ARGS("--listen-fd", "2", "--boot-fd", "4"), ENV(NULL)),
       "standard descriptors are none");
    ok(!taken(&o, ARGS("--listen-fd"), ENV(NULL)), "a value is missing");
    ok(!taken(&o, ARGS("--listen-fd", "3", "--boot-fd", "4", "--key-file",
                       "/x"), ENV(NULL)), "two keys");
    ok(taken(&o, ARGS("--version", "--listen"), ENV(NULL)) == 0
       && taken(&o, ARGS("--version"), ENV(NULL)) && o.version, "--version");
    ok(!taken(&o, ARGS("--workspace", "relative", "--listen-fd", "3",
                       "--boot-fd", "4"), ENV(NULL)), "a relative workspace");
    ok(!taken(&o, (char *[]) { NULL }, ENV(NULL)), "no argument at all");
}


static void
test_command(void)
{
    char         **full, **plain;
    agent_options  o;

    full = ARGS("--listen-fd", "3", "--boot-fd", "4", "--", "--version", "x");
    plain = ARGS("--listen-fd", "3", "--boot-fd", "4", "node", "--", "x");

    ok(taken(&o, full, ENV(NULL)) && o.command == full + 6 && !o.version,
       "a command behind --");
    ok(taken(&o, plain, ENV(NULL)) && o.command == plain + 5,
       "and without");
    ok(taken(&o, ARGS("--listen-fd", "3", "--boot-fd", "4", "--"), ENV(NULL))
       && o.command == NULL, "none behind --");
}


static void
test_init(void)
{
    agent_options  o;

    ok(taken(&o, ARGS("stray", "--init", "--boot-file", "/b", "more"),
             ENV("SANDBOX_LISTEN=/s")) && o.init && o.command == NULL,
       "a kernel's stray words are no command");
    ok(taken(&o, ARGS("stray"), ENV("SANDBOX_INIT=1", "SANDBOX_LISTEN=/s",
             "SANDBOX_BOOT_FILE=/b", "SANDBOX_POWER=reboot"))
       && o.init && o.command == NULL && strcmp(o.power, "reboot") == 0,
       "told by the environment");
    ok(taken(&o, ARGS("--init", "--boot-file", "/b", "--", "x"),
             ENV("SANDBOX_LISTEN=/s")) && o.command != NULL,
       "dashes make one");
    ok(taken(&o, ARGS("--boot-file", "/b", "--", "--init"),
             ENV("SANDBOX_LISTEN=/s", "SANDBOX_INIT=0")) && !o.init,
       "a command's own option");
    ok(!taken(&o, ARGS("--boot-file", "/b"),
              ENV("SANDBOX_LISTEN=/s", "SANDBOX_POWER=up")),
       "no way to end");
}


static void
test_environment(void)
{
    agent_options  o;

    ok(taken(&o, ARGS("x"), ENV("SANDBOX_LISTEN=/s", "SANDBOX_KEY_FILE=/k",
             "SANDBOX_RAW_CHILD_STDIO=1", "SANDBOX_STOP_MS=250",
             "SANDBOX_LOG_LEVEL=debug", "SANDBOX_WORKSPACE=/w"))
       && o.raw_stdio && o.stop_ms == 250 && strcmp(o.workspace, "/w") == 0
       && strcmp(o.log_level, "debug") == 0, "all of it");
    ok(taken(&o, ARGS("x"), ENV("SANDBOX_LISTEN=/s", "SANDBOX_KEY_FILE=/k",
             "SANDBOX_RAW_CHILD_STDIO=0", "SANDBOX_STOP_MS=-1",
             "SANDBOX_WORKSPACE="))
       && !o.raw_stdio && o.stop_ms == OPTIONS_STOP_MS
       && strcmp(o.workspace, "/workspace") == 0, "what counts as unset");
    ok(options_own_variable("SANDBOX_LISTEN=x")
       && options_own_variable("SANDBOX_DISKS=boot,root")
       && !options_own_variable("SANDBOX_LISTENER=x")
       && !options_own_variable("PATH=x"), "what is ours alone");
}


static void
test_numbers(void)
{
    int  bad;

    ok(options_number("0", 5) == 0 && options_number("5", 5) == 5
       && options_number("6", 5) == -1 && options_number("", 5) == -1
       && options_number("+1", 5) == -1 && options_number(" 1", 5) == -1
       && options_number("1x", 5) == -1 && options_number(NULL, 5) == -1
       && options_number("99999999999999999999999", 1LL << 40) == -1,
       "numbers");
    ok(options_timeout(NULL, &bad) == 0 && !bad
       && options_timeout("", &bad) == 0 && !bad
       && options_timeout("0", &bad) == 0 && !bad
       && options_timeout("1500", &bad) == 1500 && !bad
       && options_timeout("1.5", &bad) == 0 && bad
       && options_timeout("-1", &bad) == 0 && bad, "timeouts");
}


static void
test_addresses(void)
{
    char            path[200];
    listen_address  a;

    ok(listens("/s", &a) && a.kind == LISTEN_UNIX && strcmp(a.host, "/s") == 0,
       "a path");
    ok(listens("unix:/s", &a) && strcmp(a.host, "/s") == 0, "unix:");
    ok(!listens("unix:s", &a) && !listens("s", &a) && !listens("", &a),
       "a relative path");
    ok(listens("vsock:1024", &a) && a.kind == LISTEN_VSOCK && a.port == 1024,
       "vsock");
    ok(!listens("vsock:", &a) && !listens("vsock:0", &a)
       && !listens("vsock:4294967295", &a) && listens("vsock:4294967294", &a),
       "vsock ports");
    ok(listens("vsock:1024", &a) && a.peer == 2
       && listens("vsock:1024:3", &a) && a.port == 1024 && a.peer == 3
       && !listens("vsock:1024:", &a) && !listens("vsock:1024:0", &a)
       && !listens("vsock:1024:3:4", &a) && !listens("vsock::3", &a)
       && !listens("vsock:00000000000000001024", &a)
       && !listens("vsock:1024:4294967295", &a), "who is let in");
    ok(listens("tcp:127.0.0.1:80", &a) && a.kind == LISTEN_TCP && !a.ipv6
       && a.port == 80 && strcmp(a.host, "127.0.0.1") == 0, "tcp");
    ok(listens("tcp:[::1]:80", &a) && a.ipv6 && strcmp(a.host, "::1") == 0,
       "tcp with IPv6");
    ok(!listens("tcp:80", &a) && !listens("tcp::80", &a)
       && !listens("tcp:1.2.3.4:", &a) && !listens("tcp:1.2.3.4:65536", &a)
       && !listens("tcp:[]:80", &a) && !listens("tcp:[::1:80", &a),
       "what is no address");

    memset(path, '/', sizeof(path));
    path[108] = '\0';
    ok(!listens(path, &a), "a path that is too long");
    path[107] = '\0';
    ok(listens(path, &a), "and one that just fits");
}


int
main(void)
{
    test_arguments();
    test_command();
    test_init();
    test_environment();
    test_numbers();
    test_addresses();

    return done_testing();
}
