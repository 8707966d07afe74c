/* sources: sandboxd/image_hold.c */
/* libs: -luv */

/* Images that are used. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/image_hold.h"
#include "t/unit/tap.h"


static void
put(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}


/* As who wants to remove it sees it. */
static bool
used(const char *name)
{
    int  fd, rc;

    fd = open(name, O_RDONLY | O_CLOEXEC);
    rc = flock(fd, LOCK_EX | LOCK_NB);
    close(fd);

    return rc == -1;
}


int
main(void)
{
    int                  fd, copy;
    char                 dir[] = "/tmp/image-hold-XXXXXX";
    uv_loop_t            loop;
    const char          *paths[] = { "name", "directory", "missing" };
    static image_holds   h, none;

    if (mkdtemp(dir) == NULL || chdir(dir) == -1) {
        return 1;
    }

    put("one");
    put("two");
    mkdir("directory", 0700);
    ok(symlink("one", "name") == 0 && !used("one"), "a file that nobody uses");

    fd = open("one", O_RDONLY | O_CLOEXEC);
    ok(image_hold(fd) == 0 && used("one"), "one that is used");
    copy = dup(fd);
    close(fd);
    ok(used("one"), "by whoever has a descriptor");
    close(copy);
    ok(!used("one"), "and not after the last");

    fd = open("one", O_RDONLY | O_CLOEXEC);
    copy = open("one", O_RDONLY | O_CLOEXEC);
    flock(copy, LOCK_EX);
    ok(image_hold(fd) == -1 && errno == EWOULDBLOCK,
       "one that is being removed");
    close(copy);
    close(fd);

    uv_loop_init(&loop);
    image_holds_stop(&none);
    image_holds_start(&h, &loop, paths, 3);
    ok(used("one") && !used("directory"), "files among those of the daemon");

    unlink("name");
    ok(symlink("two", "name") == 0, "the name is another's");
    image_holds_look(&h);
    ok(used("two") && !used("one"), "which is held instead");
    unlink("name");
    image_holds_look(&h);
    ok(used("two"), "a name that is gone changes nothing");

    image_holds_stop(&h);
    ok(!used("two"), "not after the end");
    ok(uv_run(&loop, UV_RUN_DEFAULT) == 0 && uv_loop_close(&loop) == 0,
       "which leaves nothing in the loop");

    unlink("one");
    unlink("two");
    rmdir("directory");
    rmdir(dir);

    return done_testing();
}
