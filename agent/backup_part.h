/*
 * One part of an upload as text: curl's configuration, and what its answer's
 * head says.  Pure; fuzzed.
 */

#ifndef AGENT_BACKUP_PART_H
#define AGENT_BACKUP_PART_H

#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

#define BACKUP_URL_MAX   8192
#define BACKUP_ETAG_MAX  256

/* NULL, or what is wrong with a part's URL. */
const char *backup_part_url(const char *url, size_t len);

/* Appends the configuration of a curl that puts its standard input, of a known
 * size, to the URL, and writes the head of the answer to its standard
 * output. */
void backup_part_config(buffer *b, const char *url, uint64_t size);

/* The status of the last answer in the heads, 0 if there is none; its ETag
 * without quotes, "" if there is none. */
int backup_part_answer(const char *heads, size_t len,
    char etag[BACKUP_ETAG_MAX + 1]);

#endif
