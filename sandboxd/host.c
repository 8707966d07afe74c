/* Directories, locks, the secret and the socket; see host.h. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/host.h"
#include "sandboxd/names.h"

#define SECRET_BYTES   32

#define LOCK_TRIES     10
#define LOCK_PAUSE_US  100000


/* Nobody else may be able to change what is in a directory of ours. */
static int
dir_check(const char *path, error **err)
{
    struct stat  st;

    if (lstat(path, &st) == -1) {
        return error_set(err, 500, "host", "%s: %s", path, strerror(errno));
    }

    if (!S_ISDIR(st.st_mode)) {
        return error_set(err, 500, "host", "%s is no directory", path);
    }

    if (st.st_uid != geteuid()) {
        return error_set(err, 500, "host", "%s belongs to user %u, not to "
                         "%u", path, (unsigned) st.st_uid,
                         (unsigned) geteuid());
    }

    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return error_set(err, 500, "host", "%s has mode %04o: others may "
                         "write to it; chmod go-w it", path,
                         (unsigned) st.st_mode & 07777);
    }

    return 0;
}


static int
dir_make(const char *path, mode_t mode, gid_t gid, error **err)
{
    if (mkdir(path, 0700) == 0) {

        if ((gid != (gid_t) -1 && lchown(path, (uid_t) -1, gid) == -1)
            || chmod(path, mode) == -1)
        {
            return error_set(err, 500, "host", "%s: %s", path,
                             strerror(errno));
        }

    } else if (errno != EEXIST) {
        return error_set(err, 500, "host", "%s can't be made: %s", path,
                         strerror(errno));
    }

    return dir_check(path, err);
}


static char *
dir_absolute(const char *path, error **err)
{
    char  *absolute;

    absolute = realpath(path, NULL);

    if (absolute == NULL) {
        error_set(err, 500, "host", "%s: %s", path, strerror(errno));
    }

    return absolute;
}


static int
dir_lock(const char *dir, error **err)
{
    int   fd, tries;
    char  path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/lock", dir);

    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        return error_set(err, 500, "host", "%s: %s", path, strerror(errno));
    }

    for (tries = 0; flock(fd, LOCK_EX | LOCK_NB) == -1; tries++) {

        /* A process of one that was just killed may not have ended yet. */
        if (errno == EWOULDBLOCK && tries < LOCK_TRIES) {
            usleep(LOCK_PAUSE_US);
            continue;
        }

        error_set(err, 500, "host", errno == EWOULDBLOCK
                  ? "another sandboxd uses %s" : "%s can't be locked", dir);
        close(fd);
        return -1;
    }

    return fd;
}


static int
group_find(const char *name, gid_t *gid, error **err)
{
    char           *end;
    unsigned long   n;
    struct group   *group;

    group = getgrnam(name);

    if (group != NULL) {
        *gid = group->gr_gid;
        return 0;
    }

    n = strtoul(name, &end, 10);

    if (name[0] < '0' || name[0] > '9' || *end != '\0' || n >= UINT32_MAX) {
        return error_set(err, 500, "host", "--socket-group: there is no group "
                         "\"%s\"", name);
    }

    *gid = (gid_t) n;

    return 0;
}


/* Written under another name first: nginx never sees half of it. */
static int
secret_make(const char *path, error **err)
{
    int   fd;
    char  temp[PATH_MAX], hex[2 * SECRET_BYTES + 2];

    if (random_hex(hex, SECRET_BYTES, err) < 0) {
        return -1;
    }

    strcat(hex, "\n");
    snprintf(temp, sizeof(temp), "%s.new", path);
    unlink(temp);

    fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd == -1 || write(fd, hex, strlen(hex)) != (ssize_t) strlen(hex)
        || fsync(fd) == -1 || rename(temp, path) == -1)
    {
        error_set(err, 500, "host", "the secret file %s can't be made: %s",
                  path, strerror(errno));
        if (fd != -1) {
            close(fd);
            unlink(temp);
        }

        return -1;
    }

    close(fd);
    log_info("made the secret file %s", path);

    return 0;
}


static int
secret_read(const char *path, int fd, char *dst, error **err)
{
    size_t       len;
    ssize_t      n;
    struct stat  st;

    if (fstat(fd, &st) == -1) {
        return error_set(err, 500, "host", "%s: %s", path, strerror(errno));
    }

    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0
        || (st.st_uid != geteuid() && st.st_uid != 0))
    {
        return error_set(err, 500, "host", "the secret file %s must be a "
                         "regular file of its own user alone, mode 0600; it "
                         "has mode %04o", path,
                         (unsigned) st.st_mode & 07777);
    }

    n = read(fd, dst, FRAME_SECRET_MAX + 1);
    len = n > 0 ? (size_t) n : 0;

    if (len > 0 && dst[len - 1] == '\n') {
        len--;
    }

    if (len < FRAME_SECRET_MIN || len > FRAME_SECRET_MAX
        || memchr(dst, '\0', len) != NULL)
    {
        return error_set(err, 500, "host", "the secret in %s must have %d to "
                         "%d bytes", path, FRAME_SECRET_MIN,
                         FRAME_SECRET_MAX);
    }

    dst[len] = '\0';

    return 0;
}


static int
secret_load(const char *path, char *dst, error **err)
{
    int  fd, rc;

    if (access(path, F_OK) == -1 && errno == ENOENT
        && secret_make(path, err) < 0)
    {
        return -1;
    }

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1) {
        return error_set(err, 500, "host", "the secret file %s: %s", path,
                         strerror(errno));
    }

    rc = secret_read(path, fd, dst, err);
    close(fd);

    return rc;
}


static int
run_dir_open(host *h, const config *cf, error **err)
{
    char    path[PATH_MAX];
    mode_t  mode;

    mode = h->socket_gid == (gid_t) -1 ? 0700 : 0750;

    if (dir_make(cf->run_dir, mode, h->socket_gid, err) < 0) {
        return -1;
    }

    h->run_dir = dir_absolute(cf->run_dir, err);
    if (h->run_dir == NULL) {
        return -1;
    }

    if (strlen(h->run_dir) + strlen("/control.sock") > CONFIG_SOCKET_MAX) {
        return error_set(err, 500, "host", "the run directory %s is too long: "
                         "the paths of sockets below it may have %d bytes",
                         h->run_dir, CONFIG_SOCKET_MAX);
    }

    h->run_lock = dir_lock(h->run_dir, err);
    if (h->run_lock == -1) {
        return -1;
    }

    snprintf(path, sizeof(path), "%s/s", h->run_dir);
    if (dir_make(path, mode, h->socket_gid, err) < 0) {
        return -1;
    }

    snprintf(path, sizeof(path), "%s/r", h->run_dir);
    if (dir_make(path, 0700, (gid_t) -1, err) < 0) {
        return -1;
    }

    h->runs_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return h->runs_dir != -1 ? 0
           : error_set(err, 500, "host", "%s: %s", path, strerror(errno));
}


int
host_open(host *h, const config *cf, error **err)
{
    memset(h, 0, sizeof(*h));
    h->state_lock = -1;
    h->run_lock = -1;
    h->runs_dir = -1;
    h->socket_gid = (gid_t) -1;

    if (cf->socket_group != NULL
        && group_find(cf->socket_group, &h->socket_gid, err) < 0)
    {
        return -1;
    }

    if (access(cf->agent, X_OK) == -1) {
        return error_set(err, 500, "host", "the agent %s can't be run: %s",
                         cf->agent, strerror(errno));
    }

    if (dir_make(cf->state_dir, 0700, (gid_t) -1, err) < 0) {
        return -1;
    }

    h->state_dir = dir_absolute(cf->state_dir, err);
    if (h->state_dir == NULL) {
        return -1;
    }

    h->state_lock = dir_lock(h->state_dir, err);
    if (h->state_lock == -1) {
        return -1;
    }

    if (run_dir_open(h, cf, err) < 0) {
        return -1;
    }

    return secret_load(cf->secret_file, h->secret, err);
}


int
host_socket(host *h, error **err)
{
    int                 fd;
    struct sockaddr_un  addr;

    memset(&addr, 0, sizeof(addr));
    addr.sun_family = AF_UNIX;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control.sock",
             h->run_dir);

    /* We hold the lock: a socket that is there belongs to nobody. */
    unlink(addr.sun_path);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1 || bind(fd, (struct sockaddr *) &addr, sizeof(addr)) == -1
        || (h->socket_gid != (gid_t) -1
            && lchown(addr.sun_path, (uid_t) -1, h->socket_gid) == -1)
        || chmod(addr.sun_path, 0660) == -1)
    {
        error_set(err, 500, "host", "%s: %s", addr.sun_path,
                  strerror(errno));
        if (fd != -1) {
            close(fd);
        }

        return -1;
    }

    return fd;
}


void
host_close(host *h)
{
    char  path[PATH_MAX];

    if (h->run_lock != -1 && h->run_dir != NULL) {
        snprintf(path, sizeof(path), "%s/control.sock", h->run_dir);
        unlink(path);
        close(h->run_lock);
    }

    if (h->runs_dir != -1) {
        close(h->runs_dir);
    }

    if (h->state_lock != -1) {
        close(h->state_lock);
    }

    free(h->state_dir);
    free(h->run_dir);
}


void
host_notify(const char *state)
{
    int                 fd;
    size_t              len;
    socklen_t           size;
    const char         *path;
    struct sockaddr_un  addr;

    path = getenv("NOTIFY_SOCKET");
    len = path ? strlen(path) : 0;

    if (len < 2 || len >= sizeof(addr.sun_path)) {
        return;
    }

    memset(&addr, 0, sizeof(addr));
    addr.sun_family = AF_UNIX;
    memcpy(addr.sun_path, path, len);
    size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len);

    if (path[0] == '@') {
        addr.sun_path[0] = '\0';
    }

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return;
    }

    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL,
               (struct sockaddr *) &addr, size) == -1)
    {
        log_warn("NOTIFY_SOCKET: %s", strerror(errno));
    }

    close(fd);
}
