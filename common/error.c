/* The error object; see error.h. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"


static int
error_vset(error **err, int status, const char *code, const char *field,
    long long limit, const char *fmt, va_list args)
{
    error  *e;

    if (err == NULL) {
        return -1;
    }

    e = calloc(1, sizeof(error));
    if (e == NULL) {
        abort();
    }

    snprintf(e->code, sizeof(e->code), "%s", code);
    snprintf(e->field, sizeof(e->field), "%s", field);
    vsnprintf(e->message, sizeof(e->message), fmt, args);
    e->status = status;
    e->limit = limit;

    error_free(*err);
    *err = e;

    return -1;
}


int
error_set(error **err, int status, const char *code, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    error_vset(err, status, code, "", 0, fmt, args);
    va_end(args);

    return -1;
}


int
error_set_field(error **err, int status, const char *code, const char *field,
    long long limit, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    error_vset(err, status, code, field, limit, fmt, args);
    va_end(args);

    return -1;
}


void
error_prefix(error *err, const char *fmt, ...)
{
    char     old[sizeof(err->message)];
    int      n;
    va_list  args;

    if (err == NULL) {
        return;
    }

    memcpy(old, err->message, sizeof(old));

    va_start(args, fmt);
    n = vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);

    if (n >= 0 && (size_t) n < sizeof(err->message)) {
        snprintf(err->message + n, sizeof(err->message) - (size_t) n,
                 ": %.*s", (int) sizeof(err->message) - n - 3, old);
    }
}


/* Puts "object." before a text in its place; what finds no room is cut off. */
static void
text_inside(char *text, size_t size, const char *object)
{
    size_t  n, rest;

    n = strlen(object) + 1;
    rest = strlen(text) + 1;

    if (n + 1 >= size) {
        return;
    }

    rest = rest < size - n ? rest : size - n;

    memmove(text + n, text, rest);
    memcpy(text, object, n - 1);
    text[n - 1] = '.';
    text[size - 1] = '\0';
}


void
error_inside(error *err, const char *object)
{
    size_t  n;

    if (err == NULL || err->field[0] == '\0') {
        return;
    }

    n = strlen(err->field);

    if (strncmp(err->message, err->field, n) == 0) {
        text_inside(err->message, sizeof(err->message), object);
    }

    text_inside(err->field, sizeof(err->field), object);
}


void
error_free(error *err)
{
    free(err);
}


void
error_cleanup(error **err)
{
    error_free(*err);
    *err = NULL;
}
