/*
 * A directory as a tar stream, and back.  Both block, so they belong on a
 * thread of their own; where the bytes go to or come from is the caller's.
 *
 * Packing: entries are named "./...", in ustar with pax records where a name,
 * link or size needs them; owners are numbers.  Symbolic links are stored, not
 * followed; hard links within the directory stay links; sockets and device
 * nodes are left out.  What vanishes meanwhile is left out, what shrinks is
 * filled up with zeros; what can't be read is an error.
 *
 * Unpacking: every dialect that libarchive reads.  Nothing is written outside
 * the directory: absolute names, "..", and device nodes are errors, and no
 * symbolic link in the archive's paths is followed - one that is in the way is
 * replaced.  Files appear whole; until then they have no name, or one of their
 * own where the file system wants one.  What was extracted before an error
 * stays.  Modes, times and, for root, the owners are those of the archive,
 * except for the directory itself.
 */

#ifndef AGENT_ARCHIVE_TAR_H
#define AGENT_ARCHIVE_TAR_H

#include <stddef.h>
#include <sys/types.h>

#include "agent/archive_exclude.h"

#define ARCHIVE_PATH_MAX     4096       /* of an entry, with "./" and NUL */
#define ARCHIVE_DEPTH_MAX    1024       /* directories within another */
#define ARCHIVE_ENTRIES_MAX  10000000
#define ARCHIVE_HEADERS_MAX  (2 * 1024 * 1024)  /* of one entry */

typedef enum {
    TAR_DONE,
    TAR_FAILED,             /* the file system: errnum says how */
    TAR_BAD,                /* the archive itself: text says what */
    TAR_GONE                /* the other end is */
} archive_outcome;

typedef struct {
    archive_outcome  outcome;
    int              errnum;
    char             text[400]; /* of what, or what is wrong */
} archive_result;

/* -1: the other end is gone. */
typedef int (*archive_sink)(void *arg, const void *p, size_t n);

/* The next bytes at *p, which live until the next call; 0 at the end, -1 if
 * the other end is gone. */
typedef ssize_t (*archive_source)(void *arg, const char **p);

void archive_pack(const char *dir, const archive_exclude *exclude,
    archive_sink sink, void *arg, archive_result *result);

/* dir and its parents are made if they are missing. */
void archive_unpack(const char *dir, archive_source source, void *arg,
    archive_result *result);

/* Sets the result and returns -1.  For FAILED errno says why. */
int archive_fail(archive_result *result, archive_outcome outcome,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
