/*
 * What the routes of the file API have in common: reading a request's JSON,
 * its paths and its words, and the errors that name what is wrong with them.
 * Functions that return -1 have sent the error.
 */

#ifndef AGENT_FILE_REQUEST_H
#define AGENT_FILE_REQUEST_H

#include <stdbool.h>
#include <jansson.h>

#include "agent/http.h"
#include "common/json_flat.h"

int file_request_parse(http_request *r, json_flat_object *o, char *body,
    size_t len);

/* The member `name` as given in *given (lives as long as the body) and, behind
 * the session's current directory if it is relative, in *full (to be freed). */
int file_request_path(http_request *r, const json_flat_object *o,
    const char *name, const char **given, char **full);

/* The same for `path` in the query, behind the workspace if it is relative; to
 * be freed.  NULL: an error was sent. */
char *file_request_query_path(http_request *r);

/* false if the member is absent or null. */
int file_request_bool(http_request *r, const json_flat_object *o,
    const char *name, bool *value);

typedef enum {
    FILE_ENCODING_NONE,
    FILE_ENCODING_UTF8,
    FILE_ENCODING_BASE64
} file_encoding;

int file_request_encoding(http_request *r, const json_flat_object *o,
    file_encoding *encoding);

/* 400 VALIDATION_FAILED with one entry in validationErrors; returns -1. */
int file_request_invalid(http_request *r, const char *field,
    const char *code, const char *why, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Sends err, which it frees, with {path, operation, stderr} as its context;
 * detail may be NULL. */
void file_request_error(http_request *r, error *err, const char *path,
    const char *operation, const char *detail);

/* 413 FILE_TOO_LARGE with maxSize and actualSize; path may be NULL. */
void file_request_too_large(http_request *r, const char *path,
    const char *operation, int64_t limit, int64_t size);

/* 400 for a body that json_flat_parse() refused; frees err. */
void file_request_bad_json(http_request *r, error *err);

/* {success: true, path, ...timestamp added at the end}; r is answered. */
void file_request_success(http_request *r, json_t *stolen);

#endif
