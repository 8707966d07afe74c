/*
 * A copy of a machine's files: disk, memory, and what says whose memory it is.
 * A machine that runs is asked to write its memory and to stand still until
 * its disk has been copied; one that sleeps is locked.  Blocks: belongs into
 * the thread pool.  See machine.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/small_file.h"
#include "sandboxd/disk_file.h"
#include "sandboxd/machine.h"


/* By the directory's descriptor: a path may be longer than an address. */
void
machine_socket_address(int dir, const char *name, struct sockaddr_un *at)
{
    memset(at, 0, sizeof(*at));
    at->sun_family = AF_UNIX;
    snprintf(at->sun_path, sizeof(at->sun_path), "/proc/self/fd/%d/%s", dir,
             name);
}


/* Returns the connection that holds the machine. */
static int
control_save(int dir, char word[VM_END_MAX], error **err)
{
    int                  fd;
    ssize_t              n;
    vm_control           msg;
    struct timeval       limit;
    struct sockaddr_un   at;

    machine_socket_address(dir, "control", &at);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    limit.tv_sec = VM_CONTROL_S;
    limit.tv_usec = 0;

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0
        || connect(fd, (struct sockaddr *) &at, sizeof(at)) != 0)
    {
        error_set(err, 409, "busy", "the sandbox can't be copied now: %s",
                  strerror(errno));
        goto failed;
    }

    n = recv(fd, &msg, sizeof(msg), 0);

    if (n == sizeof(msg) && msg.type == VM_CONTROL_SAVED) {
        memcpy(word, msg.word, VM_END_MAX);
        word[VM_END_MAX - 1] = '\0';
        explicit_bzero(&msg, sizeof(msg));
        return fd;
    }

    if (n == sizeof(msg) && msg.type == VM_CONTROL_BUSY) {
        error_set(err, 409, "busy", "the sandbox starts, ends, or is copied "
                  "already");
        (*err)->retry_after = 1;
    } else if (n == sizeof(msg) && msg.type == VM_CONTROL_FULL) {
        error_set(err, 507, "insufficient_storage", "a copy of the virtual "
                  "machine's memory takes more disk than may be used");
    } else {
        error_set(err, 503, "fork_failed", "the memory of the virtual machine "
                  "can't be copied");
    }

failed:

    if (fd != -1) {
        close(fd);
    }

    return -1;
}


/* What was copied is of one moment only if it has stood still. */
static bool
control_holds(int fd)
{
    char  byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) == -1
           && (errno == EAGAIN || errno == EWOULDBLOCK);
}


/* Whoever starts it meanwhile waits for the lock. */
static int
asleep_lock(int dir, char word[VM_END_MAX], error **err)
{
    int  lock;

    lock = openat(dir, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (lock == -1 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
        error_set(err, 409, "busy", "the sandbox starts or ends");

        if (lock != -1) {
            close(lock);
        }
        return -1;
    }

    (void) small_file_text_at(dir, "end", O_NOFOLLOW, word, VM_END_MAX);

    return lock;
}


static int
word_write(int to, const char *word, error **err)
{
    int      fd;
    size_t   len;
    ssize_t  n;

    len = strlen(word);
    fd = openat(to, "end", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
                | O_NOFOLLOW, 0600);
    n = fd == -1 ? -1 : write(fd, word, len);

    if (fd != -1) {
        close(fd);
    }

    return n == (ssize_t) len ? 0 : box_failed(err, "copy");
}


static int
file_sync(int dir, const char *name)
{
    int  fd, rc;

    fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    rc = fd == -1 ? -1 : fsync(fd);

    if (fd != -1) {
        close(fd);
    }

    return rc;
}


/* What a record is made of outlives a power loss.  The last word comes last:
 * without it the memory is nobody's. */
static int
copy_finish(int to, const char *word, bool memory, error **err)
{
    if (file_sync(to, "disk") != 0
        || (memory && (file_sync(to, "memory") != 0
                       || file_sync(to, "state") != 0)))
    {
        return box_failed(err, "copy");
    }

    if (memory && word_write(to, word, err) != 0) {
        return -1;
    }

    return (!memory || file_sync(to, "end") == 0) && file_sync(to, ".") == 0
           && file_sync(to, "..") == 0 ? 0 : box_failed(err, "copy");
}


static int
files_copy(int from, int to, const char *word, uint64_t floor, bool *memory,
    error **err)
{
    struct stat  st;

    if (disk_file_copy(from, to, "disk", floor, err) != 0) {
        return -1;
    }

    *memory = strncmp(word, MACHINE_KEPT, sizeof(MACHINE_KEPT) - 1) == 0
              && fstatat(from, "memory", &st, AT_SYMLINK_NOFOLLOW) == 0
              && st.st_size > 0;

    if (!*memory) {
        return 0;
    }

    return disk_file_copy(from, to, "memory", floor, err) == 0
           && disk_file_copy(from, to, "state", floor, err) == 0 ? 0 : -1;
}


int
machine_copy(const char *from, bool running, const char *to, uint64_t floor,
    bool *memory, error **err)
{
    int   rc, source, target, held;
    char  word[VM_END_MAX];

    *memory = false;
    source = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    /* It has never run: there is nothing of it. */
    if (source == -1 && errno == ENOENT) {
        return 0;
    }

    if (source == -1) {
        return box_failed(err, from);
    }

    /* Its first start has failed before there was a disk. */
    if (!running && faccessat(source, "disk", F_OK, AT_SYMLINK_NOFOLLOW) == -1
        && errno == ENOENT)
    {
        close(source);
        return 0;
    }

    held = running ? control_save(source, word, err)
                   : asleep_lock(source, word, err);
    target = held != -1 && mkdir(to, 0700) == 0
             ? open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;

    if (held != -1 && target == -1) {
        box_failed(err, to);
    }

    rc = target == -1 ? -1
         : files_copy(source, target, word, floor, memory, err);

    if (rc == 0 && running && !control_holds(held)) {
        rc = error_set(err, 409, "busy", "the sandbox was ended while it was "
                       "copied");
    }

    /* From here on it may go on. */
    if (held != -1) {
        close(held);
    }

    if (rc == 0) {
        rc = copy_finish(target, word, *memory, err);
    }

    explicit_bzero(word, sizeof(word));
    close(source);

    if (target != -1) {
        close(target);
    }

    return rc;
}


/* Nothing in it was written to by a guest as files. */
int
machine_dir_remove(const char *path, error **err)
{
    int     dir;
    size_t  i;

    static const char *const  names[] = { "cid", "console", "control", "disk",
                                          "disk.new", "end", VM_KILLS, "lock",
                                          "memory", VM_RATE, "state",
                                          VMM_KEPT, VMM_KEPT_STATE };

    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (dir == -1) {
        return errno == ENOENT ? 0
               : error_set(err, 500, "internal", "%s: %s", path,
                           strerror(errno));
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void) unlinkat(dir, names[i], 0);
    }

    (void) unlinkat(dir, "jail", AT_REMOVEDIR);
    close(dir);

    return rmdir(path) == 0 ? 0
           : error_set(err, 500, "internal", "can't remove %s: %s", path,
                       strerror(errno));
}
