/* A program's arguments; see arg_list.h. */

#include <stdarg.h>
#include <stdio.h>

#include "sandboxd/arg_list.h"


void
arg_add(arg_list *l, const char *fmt, ...)
{
    int      n;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(l->p + l->len, l->size - l->len, fmt, args);
    va_end(args);

    if (n < 0 || (size_t) n >= l->size - l->len) {
        l->full = true;
        return;
    }

    l->len += (size_t) n + 1;
    l->argc++;
}
