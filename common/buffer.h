/*
 * A growing run of bytes that is consumed from its front.  Running out of
 * memory ends the program: every user bounds what it puts in.
 */

#ifndef COMMON_BUFFER_H
#define COMMON_BUFFER_H

#include <stddef.h>

typedef struct {
    char    *data;      /* malloc()ed; NULL while empty is possible */
    size_t   start;     /* the bytes are data[start..start + len) */
    size_t   len;
    size_t   size;
} buffer;

static inline char *
buffer_bytes(const buffer *b)
{
    return b->data + b->start;
}

/* Makes room for n more bytes and returns where they go; buffer_added() then
 * tells how many were put there. */
char *buffer_room(buffer *b, size_t n);
void buffer_added(buffer *b, size_t n);

void buffer_append(buffer *b, const void *p, size_t n);
void buffer_puts(buffer *b, const char *s);
void buffer_printf(buffer *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Drops n bytes from the front; memory above 64 KiB is given back when the
 * buffer becomes empty. */
void buffer_consume(buffer *b, size_t n);
void buffer_free(buffer *b);

#endif
