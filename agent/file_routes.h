/*
 * The parts of the file API, each in its own source file; file_routes() of
 * agent.h adds them all.
 */

#ifndef AGENT_FILE_ROUTES_H
#define AGENT_FILE_ROUTES_H

#include "agent/router.h"

void file_read_routes(router *t);       /* read, read/stream */
void file_list_routes(router *t);       /* list-files */
void file_write_routes(router *t);      /* write */
void file_raw_routes(router *t);        /* raw files */

#endif
