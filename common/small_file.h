/*
 * Small files that are read or written at once: those of /proc and /sys, and
 * what is noted in a state directory.  They are read to their end, so it's
 * nothing for what may be a pipe that stays open.  Nothing is allocated: a
 * child may call these right after fork().
 */

#ifndef COMMON_SMALL_FILE_H
#define COMMON_SMALL_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The file's first size - 1 bytes, and a zero behind them, in whatever pieces
 * they come.  Returns how many there were; size if there are more, so that
 * "< size" says that it is all of it.  -1 and errno: it can't be opened or
 * read; the text is empty then.
 */
ssize_t small_file_text(const char *path, char *text, size_t size);

/* The same below a directory, with more flags for open(), as O_NOFOLLOW. */
ssize_t small_file_text_at(int dir, const char *path, int flags, char *text,
    size_t size);

/*
 * The decimal number that is all there is in the file, but for white space.
 * -1 and errno: EINVAL if it is something else, ERANGE if it doesn't fit, or
 * why the file can't be opened or read; the number is 0 then.
 */
int small_file_number(const char *path, int64_t *number);
int small_file_number_at(int dir, const char *path, int flags,
    int64_t *number);

/*
 * Writes a text to a file that is there, in one piece, as those of /proc and
 * /sys want it.  -1 and errno: it can't be opened, or doesn't take it.
 */
int small_file_write(const char *path, const char *text);

#endif
