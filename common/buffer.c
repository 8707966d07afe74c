/* A growing run of bytes; see buffer.h. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"

#define BUFFER_KEEP  (64 * 1024)


char *
buffer_room(buffer *b, size_t n)
{
    char    *p;
    size_t   size;

    if (b->size - b->start - b->len >= n && b->data != NULL) {
        return b->data + b->start + b->len;
    }

    if (b->start != 0) {
        memmove(b->data, b->data + b->start, b->len);
        b->start = 0;
        if (b->size - b->len >= n) {
            return b->data + b->len;
        }
    }

    size = b->size == 0 ? 256 : b->size;
    while (size - b->len < n) {
        size += size;
    }

    p = realloc(b->data, size);
    if (p == NULL) {
        fprintf(stderr, "out of memory\n");
        abort();
    }

    b->data = p;
    b->size = size;

    return b->data + b->len;
}


void
buffer_added(buffer *b, size_t n)
{
    b->len += n;
}


void
buffer_append(buffer *b, const void *p, size_t n)
{
    if (n != 0) {
        memcpy(buffer_room(b, n), p, n);
        b->len += n;
    }
}


void
buffer_puts(buffer *b, const char *s)
{
    buffer_append(b, s, strlen(s));
}


void
buffer_printf(buffer *b, const char *fmt, ...)
{
    int      n;
    char    *at;
    size_t   room;
    va_list  args;

    at = b->data == NULL ? NULL : b->data + b->start + b->len;
    room = b->size - b->start - b->len;

    va_start(args, fmt);
    n = vsnprintf(at, room, fmt, args);
    va_end(args);

    if (n < 0) {
        return;
    }

    if ((size_t) n < room) {
        b->len += (size_t) n;
        return;
    }

    buffer_room(b, (size_t) n + 1);

    va_start(args, fmt);
    vsnprintf(b->data + b->start + b->len, (size_t) n + 1, fmt, args);
    va_end(args);

    b->len += (size_t) n;
}


void
buffer_consume(buffer *b, size_t n)
{
    b->start += n;
    b->len -= n;

    if (b->len == 0) {
        b->start = 0;
        if (b->size > BUFFER_KEEP) {
            buffer_free(b);
        }
    }
}


void
buffer_free(buffer *b)
{
    free(b->data);
    memset(b, 0, sizeof(*b));
}
