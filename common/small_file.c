/* Small files; see small_file.h. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/small_file.h"

#define NUMBER_MAX  64              /* with the white space around it */


static ssize_t
piece_read(int fd, char *to, size_t len)
{
    ssize_t  n;

    do {
        n = read(fd, to, len);
    } while (n == -1 && errno == EINTR);

    return n;
}


static ssize_t
text_read(int fd, char *text, size_t size)
{
    char     more;
    size_t   len;
    ssize_t  n;

    for (len = 0; len < size - 1; len += (size_t) n) {
        n = piece_read(fd, text + len, size - 1 - len);

        if (n <= 0) {
            break;
        }
    }

    if (len == size - 1) {
        n = piece_read(fd, &more, 1);
        len += n > 0;
    }

    text[n == -1 ? 0 : len < size ? len : size - 1] = '\0';

    return n == -1 ? -1 : (ssize_t) len;
}


ssize_t
small_file_text_at(int dir, const char *path, int flags, char *text,
    size_t size)
{
    int      fd, saved;
    ssize_t  n;

    fd = openat(dir, path, O_RDONLY | O_CLOEXEC | flags);

    if (fd == -1) {
        text[0] = '\0';
        return -1;
    }

    n = text_read(fd, text, size);
    saved = errno;
    close(fd);
    errno = saved;

    return n;
}


ssize_t
small_file_text(const char *path, char *text, size_t size)
{
    return small_file_text_at(AT_FDCWD, path, 0, text, size);
}


static int
number_parse(const char *text, size_t len, int64_t *number)
{
    char       *end;
    long long   value;

    errno = 0;
    value = strtoll(text, &end, 10);

    if (errno != 0) {
        return -1;
    }

    if (end != text) {
        while (isspace((unsigned char) *end)) {
            end++;
        }
    }

    if (end == text || end != text + len) {
        errno = EINVAL;
        return -1;
    }

    *number = value;

    return 0;
}


int
small_file_number_at(int dir, const char *path, int flags, int64_t *number)
{
    char     text[NUMBER_MAX];
    ssize_t  n;

    *number = 0;
    n = small_file_text_at(dir, path, flags, text, sizeof(text));

    return n == -1 ? -1 : number_parse(text, (size_t) n, number);
}


int
small_file_number(const char *path, int64_t *number)
{
    return small_file_number_at(AT_FDCWD, path, 0, number);
}


int
small_file_write(const char *path, const char *text)
{
    int      fd, saved;
    size_t   len;
    ssize_t  n;

    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    len = strlen(text);
    n = write(fd, text, len);
    saved = n >= 0 && (size_t) n < len ? EIO : errno;
    close(fd);
    errno = saved;

    return n == (ssize_t) len ? 0 : -1;
}
