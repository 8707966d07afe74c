/* sources: common/small_file.c */
/* Small files: all of one, as much as there is room for, or why not. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/small_file.h"
#include "t/unit/tap.h"

static char  dir[] = "/tmp/small-file-XXXXXX";
static int   dir_fd;


static void
put(const char *text, size_t len)
{
    int  fd;

    fd = openat(dir_fd, "file", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd == -1 || write(fd, text, len) != (ssize_t) len) {
        abort();
    }
    close(fd);
}


/* With room of an exact size, so that the sanitizer sees a byte too many. */
static bool
reads(size_t size, ssize_t want, const char *text)
{
    bool     same;
    char    *room;
    ssize_t  n;

    room = malloc(size);
    memset(room, '#', size);
    n = small_file_text_at(dir_fd, "file", 0, room, size);
    same = n == want && strcmp(room, text) == 0;
    free(room);

    return same;
}


static bool
fails(const char *path, int flags, int why)
{
    char     room[16] = "before";
    int64_t  number;

    number = 7;
    errno = 0;

    if (small_file_text_at(dir_fd, path, flags, room, sizeof(room)) != -1
        || errno != why || room[0] != '\0')
    {
        return false;
    }

    errno = 0;

    return small_file_number_at(dir_fd, path, flags, &number) == -1
           && errno == why && number == 0;
}


static bool
number_is(const char *text, size_t len, int why, int64_t want)
{
    int      rc;
    int64_t  number;

    put(text, len);
    number = 7;
    errno = 0;
    rc = small_file_number_at(dir_fd, "file", 0, &number);

    return rc == (why ? -1 : 0) && (!why || errno == why) && number == want;
}


#define number_ok(text, want)   number_is(text, strlen(text), 0, want)
#define number_bad(text, why)   number_is(text, strlen(text), why, 0)


static void
interrupted(int sig)
{
    /* a call that it comes into is given up */
}


/* In pieces, and with signals between them. */
static void *
write_slowly(void *reader)
{
    int   fd;
    char  c;

    fd = openat(dir_fd, "pipe", O_WRONLY);

    for (c = 'a'; c <= 'e'; c++) {
        usleep(20000);
        pthread_kill(*(pthread_t *) reader, SIGUSR1);
        usleep(20000);
        (void) !write(fd, &c, 1);
    }

    close(fd);

    return NULL;
}


static bool
pieces_are_read(void)
{
    char              text[16];
    ssize_t           n;
    pthread_t         self, writer;
    struct sigaction  act;

    memset(&act, 0, sizeof(act));
    act.sa_handler = interrupted;
    sigaction(SIGUSR1, &act, NULL);
    signal(SIGPIPE, SIG_IGN);           /* where it isn't read to its end */

    if (mkfifoat(dir_fd, "pipe", 0600) != 0) {
        return false;
    }

    self = pthread_self();
    pthread_create(&writer, NULL, write_slowly, &self);
    n = small_file_text_at(dir_fd, "pipe", 0, text, sizeof(text));
    pthread_join(writer, NULL);
    unlinkat(dir_fd, "pipe", 0);

    return n == 5 && strcmp(text, "abcde") == 0;
}


static void
texts(void)
{
    put("", 0);
    ok(reads(8, 0, "") && reads(1, 0, ""), "an empty file");

    put("12345", 5);
    ok(reads(16, 5, "12345"), "a file is read");
    ok(reads(6, 5, "12345"), "one that fits just so");
    ok(reads(5, 5, "1234"), "one byte too many is told");
    ok(reads(3, 3, "12"), "and so are more");
    ok(reads(1, 1, ""), "room for nothing but the zero");

    ok(pieces_are_read(), "pieces, and signals between them");
}


static void
numbers(void)
{
    ok(number_ok("0", 0) && number_ok("42\n", 42), "numbers");
    ok(number_ok(" 7 \n", 7) && number_ok("-3\n", -3), "space and signs");
    ok(number_ok("9223372036854775807\n", INT64_MAX)
       && number_ok("-9223372036854775808\n", INT64_MIN), "the largest");
    ok(number_bad("9223372036854775808", ERANGE)
       && number_bad("-9223372036854775809", ERANGE), "too large");
    ok(number_bad("", EINVAL) && number_bad("\n", EINVAL)
       && number_bad(" ", EINVAL), "nothing");
    ok(number_bad("max\n", EINVAL) && number_bad("12x", EINVAL)
       && number_bad("1 2", EINVAL) && number_bad("0x10", EINVAL),
       "something else");
    ok(number_is("12\0", 3, EINVAL, 0) && number_is("\0" "12", 3, EINVAL, 0),
       "a zero in it");
    ok(number_bad("1                                                       "
                  "                2", EINVAL), "one that isn't read to its "
       "end");
}


static void
errors(void)
{
    char     room[64];
    int64_t  number;

    put("1", 1);

    if (symlinkat("file", dir_fd, "link") != 0
        || mkdirat(dir_fd, "sub", 0700) != 0)
    {
        abort();
    }

    ok(fails("none", 0, ENOENT), "a file that isn't there");
    ok(fails("sub", 0, EISDIR), "one that can't be read");
    ok(fails("link", O_NOFOLLOW, ELOOP), "a link that isn't followed");
    ok(small_file_number_at(dir_fd, "link", 0, &number) == 0 && number == 1,
       "and one that is");

    ok(small_file_number("/proc/none", &number) == -1 && errno == ENOENT,
       "a path by itself");
    ok(small_file_number("/proc/sys/kernel/pid_max", &number) == 0
       && number > 0, "a number of the kernel's");
    ok(small_file_text("/proc/sys/kernel/random/boot_id", room, sizeof(room))
       == 37 && room[36] == '\n' && room[37] == '\0',
       "a text of the kernel's");
}


static void
writes(void)
{
    char  path[64];

    snprintf(path, sizeof(path), "%s/file", dir);
    put("12", 2);

    ok(small_file_write(path, "3") == 0 && reads(8, 2, "32"),
       "a text is written, and nothing cut off");
    ok(small_file_write(path, "") == 0 && reads(8, 2, "32"), "an empty one");

    errno = 0;
    ok(small_file_write("/dev/full", "1") == -1 && errno == ENOSPC,
       "one that isn't taken");

    snprintf(path, sizeof(path), "%s/none", dir);
    errno = 0;
    ok(small_file_write(path, "1") == -1 && errno == ENOENT
       && faccessat(dir_fd, "none", F_OK, 0) == -1,
       "a file that isn't there stays away");
}


int
main(void)
{
    if (mkdtemp(dir) == NULL
        || (dir_fd = open(dir, O_RDONLY | O_DIRECTORY)) == -1)
    {
        return 1;
    }

    texts();
    numbers();
    errors();
    writes();

    unlinkat(dir_fd, "link", 0);
    unlinkat(dir_fd, "file", 0);
    unlinkat(dir_fd, "sub", AT_REMOVEDIR);
    close(dir_fd);
    rmdir(dir);

    return done_testing();
}
