/* User namespaces; see userns.h. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/small_file.h"
#include "sandboxd/userns.h"

/* Fewer subordinate ids than this aren't worth having: Debian's static users
 * end at 999, nobody at 65534 is left out then. */
#define SUBID_MIN  1000


static bool
subid_read(const char *path, const char *name, uid_t uid, uint32_t *start,
    uint32_t *count)
{
    char  text[65536];

    return small_file_text(path, text, sizeof(text)) > 0
           && userns_subid_find(text, name, uid, SUBID_MIN, start, count);
}


void
userns_map_choose(userns_map *map)
{
    uint32_t        uids, gids;
    struct passwd  *pw;

    memset(map, 0, sizeof(userns_map));

    if (geteuid() == 0) {
        map->root = true;
        map->uid = USERNS_BASE;
        map->gid = USERNS_BASE;
        map->count = USERNS_COUNT;
        return;
    }

    map->uid = geteuid();
    map->gid = getegid();
    map->count = 1;

    pw = getpwuid(map->uid);

    if (access("/usr/bin/newuidmap", X_OK) == 0
        && access("/usr/bin/newgidmap", X_OK) == 0
        && subid_read("/etc/subuid", pw != NULL ? pw->pw_name : "",
                      map->uid, &map->subuid, &uids)
        && subid_read("/etc/subgid", pw != NULL ? pw->pw_name : "",
                      map->uid, &map->subgid, &gids))
    {
        map->count = uids < gids ? uids : gids;

        if (map->count > USERNS_COUNT - 1) {
            map->count = USERNS_COUNT - 1;
        }

        map->count++;
    }
}


/* The kernel counts what processes in a namespace use up (inotify instances,
 * pending signals, message queues) against who has made it as well: that is to
 * be the sandboxes' own user, not the host's root. */
static int
userns_unshare(const userns_map *map)
{
    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == -1
        || setresgid(map->gid, map->gid, map->gid) == -1
        || setresuid(map->uid, map->uid, map->uid) == -1)
    {
        return -1;
    }

    return unshare(CLONE_NEWUSER);
}


int
userns_create(const userns_map *map, error **err)
{
    int    fd, pipes[2];
    char   path[64], text[64], c;
    bool   done;
    pid_t  pid;

    if (pipe2(pipes, O_CLOEXEC) == -1) {
        return error_set(err, 500, "internal", "pipe: %s", strerror(errno));
    }

    pid = _Fork();

    if (pid == 0) {
        /* Lives until its parent has opened the namespace. */
        c = userns_unshare(map) == 0 ? '+' : '-';
        (void) !write(pipes[1], &c, 1);
        for ( ;; ) {
            pause();
        }
    }

    close(pipes[1]);

    fd = -1;
    done = pid != -1 && read(pipes[0], &c, 1) == 1 && c == '+';
    close(pipes[0]);

    if (done) {
        snprintf(path, sizeof(path), "/proc/%d/uid_map", (int) pid);
        snprintf(text, sizeof(text), "0 %u %u\n", map->uid, map->count);
        done = small_file_write(path, text) == 0;
    }

    if (done) {
        snprintf(path, sizeof(path), "/proc/%d/gid_map", (int) pid);
        snprintf(text, sizeof(text), "0 %u %u\n", map->gid, map->count);
        done = small_file_write(path, text) == 0;
    }

    if (done) {
        snprintf(path, sizeof(path), "/proc/%d/ns/user", (int) pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }

    if (fd == -1) {
        error_set(err, 500, "no_userns", "can't make a user namespace: %s",
                  strerror(errno));
    }

    if (pid != -1) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }

    return fd;
}


int
userns_enter(int fd, error **err)
{
    if (setns(fd, CLONE_NEWUSER) == -1 || setgroups(0, NULL) == -1
        || setresgid(0, 0, 0) == -1 || setresuid(0, 0, 0) == -1)
    {
        return error_set(err, 500, "no_userns",
                         "can't enter the user namespace: %s",
                         strerror(errno));
    }

    return 0;
}


static int
run_mapper(const char *program, pid_t target, unsigned own, unsigned sub,
    unsigned count)
{
    int    status;
    char   text[5][16];
    pid_t  pid;

    snprintf(text[0], sizeof(text[0]), "%d", (int) target);
    snprintf(text[1], sizeof(text[1]), "%u", own);
    snprintf(text[2], sizeof(text[2]), "%u", sub);
    snprintf(text[3], sizeof(text[3]), "%u", count);

    pid = _Fork();

    if (pid == 0) {
        execl(program, program, text[0], "0", text[1], "1", "1", text[2],
              text[3], (char *) NULL);
        _exit(127);
    }

    if (pid == -1 || waitpid(pid, &status, 0) != pid) {
        return -1;
    }

    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}


/* A child outside of the new namespace, since newuidmap works from there. */
static pid_t
mapper_start(const userns_map *map, int *go, int *answer)
{
    int    in[2], out[2];
    char   c;
    pid_t  pid, target;

    if (pipe2(in, O_CLOEXEC) == -1) {
        return -1;
    }

    if (pipe2(out, O_CLOEXEC) == -1) {
        close(in[0]);
        close(in[1]);
        return -1;
    }

    target = getpid();
    pid = _Fork();

    if (pid == 0) {
        close(in[1]);

        if (read(in[0], &c, 1) != 1) {
            _exit(1);
        }

        c = run_mapper("/usr/bin/newuidmap", target, map->uid, map->subuid,
                       map->count - 1) == 0
            && run_mapper("/usr/bin/newgidmap", target, map->gid, map->subgid,
                          map->count - 1) == 0 ? '+' : '-';

        (void) !write(out[1], &c, 1);
        _exit(0);
    }

    close(in[0]);
    close(out[1]);

    *go = in[1];
    *answer = out[0];

    return pid;
}


static int
map_single(const userns_map *map, error **err)
{
    char  text[64];

    /* Fails where setgroups was denied already, which is as good. */
    (void) small_file_write("/proc/self/setgroups", "deny");

    snprintf(text, sizeof(text), "0 %u 1\n", map->uid);

    if (small_file_write("/proc/self/uid_map", text) == -1) {
        return error_set(err, 500, "no_userns", "uid_map: %s",
                         strerror(errno));
    }

    snprintf(text, sizeof(text), "0 %u 1\n", map->gid);

    if (small_file_write("/proc/self/gid_map", text) == -1) {
        return error_set(err, 500, "no_userns", "gid_map: %s",
                         strerror(errno));
    }

    return 0;
}


int
userns_enter_new(userns_map *map, error **err)
{
    int    go, answer, failed;
    char   c;
    pid_t  mapper;

    go = -1;
    answer = -1;
    mapper = -1;

    if (map->count > 1) {
        mapper = mapper_start(map, &go, &answer);
    }

    failed = unshare(CLONE_NEWUSER) == -1 ? errno : 0;

    if (mapper != -1) {
        if (failed || write(go, "+", 1) != 1 || read(answer, &c, 1) != 1) {
            c = '-';
        }

        close(go);
        close(answer);
        waitpid(mapper, NULL, 0);

        if (c != '+') {
            map->count = 1;
        }
    }

    if (failed) {
        return error_set(err, 500, "no_userns", "an ordinary user can't make "
                         "user namespaces here: %s", strerror(failed));
    }

    if (map->count == 1 && map_single(map, err) == -1) {
        return -1;
    }

    if (map->count > 1
        && (setgroups(0, NULL) == -1 || setresgid(0, 0, 0) == -1
            || setresuid(0, 0, 0) == -1))
    {
        return error_set(err, 500, "no_userns", "can't become root of the "
                         "user namespace: %s", strerror(errno));
    }

    return 0;
}
