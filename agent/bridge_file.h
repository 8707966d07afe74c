/*
 * What the two halves of the raw file routes share: bridge_file.c (which path,
 * downloads) and bridge_upload.c.
 */

#ifndef AGENT_BRIDGE_FILE_H
#define AGENT_BRIDGE_FILE_H

#include "agent/http.h"

/* The file that the request names, as text in its normal form, below the
 * workspace; to be freed.  NULL: an error was sent. */
char *bridge_file_path(http_request *r);

/* Answers with the bridge's error for an errno; action is "read" or "write",
 * code that of failures that have none of their own. */
void bridge_file_error(http_request *r, int errnum, const char *path,
    const char *action, const char *code);

/* PUT of a body of any length. */
void bridge_upload(http_request *r);

#endif
