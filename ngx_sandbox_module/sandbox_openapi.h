/*
 * The description of the control API as an OpenAPI 3.1 document: what the
 * router lets through and is built, nothing else.  Its text is in openapi/, a
 * file for each area.  Pure: jansson, no nginx.  A unit test holds it against
 * the router's table.
 */

#ifndef SANDBOX_OPENAPI_H
#define SANDBOX_OPENAPI_H

#include <jansson.h>

/* A new document; NULL without memory, or if the parts don't fit. */
json_t *sandbox_openapi(const char *version);

/* The document as a page of HTML, to be freed; NULL without memory.  What has
 * none of the document's tags is not on it. */
char *sandbox_openapi_html(json_t *document);

#endif
