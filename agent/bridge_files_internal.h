/*
 * What the files of /bridge/files/... share: bridge_files.c begins, ends and
 * knows the methods, bridge_files_get.c reads, bridge_files_change.c makes
 * directories, moves and removes.
 */

#ifndef AGENT_BRIDGE_FILES_INTERNAL_H
#define AGENT_BRIDGE_FILES_INTERNAL_H

#include <stdbool.h>

#include "agent/file_job.h"
#include "agent/file_list.h"
#include "agent/path.h"
#include "common/buffer.h"

typedef struct {
    file_job      job;
    char         *path;
    char         *to;               /* of a move */
    int           recursive;
    int           hidden;
    bool          head;
    bool          begun;
    bool          created;
    int           more;             /* as file_list_more() answers */
    int           errnum;
    file_list    *list;
    buffer        out;
} files_op;

/* NULL: an error was sent. */
files_op *files_op_new(http_request *r);

/* Answers, and ends the job. */
void files_fail(files_op *op);
void files_succeed(files_op *op, json_t *stolen);

/* The directory in which a path lies, and its name there; "." for the
 * workspace itself. */
int files_parent(const char *path, char name[PATH_NAME_ROOM]);

/* The methods. */
void files_get(http_request *r);
void files_put(http_request *r);
void files_post(http_request *r);
void files_delete(http_request *r);

#endif
