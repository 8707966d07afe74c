/*
 * Any bytes as the inside of a JSON string: escaped as JavaScript's
 * JSON.stringify does it, bytes that are not UTF-8 replaced by U+FFFD.
 * Works in pieces with bounded room, so that a file or a command's output of
 * any size can be sent with a small buffer.  No allocation, no I/O.
 */

#ifndef COMMON_JSON_TEXT_H
#define COMMON_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* What one source byte can become ("\u0001"): the least useful room. */
#define JSON_TEXT_GROWTH  6

/*
 * Writes to dst (no quotes, no NUL) and returns the bytes written, at most
 * room.  *used tells how many of len bytes are done: fewer if the room ran
 * out, or if a character is cut off at the end and last is false; the caller
 * then comes back with the rest and more.  With last, a cut character is
 * replaced too.  Something is always done if room >= JSON_TEXT_GROWTH and src
 * holds more than a cut character.
 */
size_t json_text_escape(char *dst, size_t room, const void *src, size_t len,
    size_t *used, bool last);

#endif
