/*
 * What the two halves of the raw file routes share: file_raw.c (which path,
 * downloads) and file_raw_put.c.
 */

#ifndef AGENT_FILE_RAW_H
#define AGENT_FILE_RAW_H

#include "agent/http.h"

/* The file that the request names; to be freed.  *root is where it has to
 * stay: for the bridge's routes the workspace (and the path is below it, as
 * text), else NULL.  NULL: an error was sent. */
char *file_raw_path(http_request *r, const char **root);

/* Answers with the error for an errno, in the form of the route; action is
 * "read" or "write", code the bridge's for failures that have none of their
 * own. */
void file_raw_error(http_request *r, int errnum, const char *path,
    const char *action, const char *code);

/* PUT of a body of any length. */
void file_raw_put(http_request *r);

#endif
