/* Signals by name and by number.  Pure. */

#ifndef AGENT_SIGNALS_H
#define AGENT_SIGNALS_H

#include <stddef.h>

#define SIGNALS_MAX  64

/* "SIGHUP", "hup" or "1": its number; 0 if there is none of that name. */
int signals_parse(const char *text);

/* "SIGHUP", "SIGRTMIN+3"; size at least 16. */
void signals_name(int number, char *out, size_t size);

#endif
