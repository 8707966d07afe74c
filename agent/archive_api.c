/*
 * Directories as tar archives: persist and hydrate of the workspace, and
 * GET and PUT of any directory below /api/archive.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent.h"
#include "agent/archive_job.h"
#include "agent/file_error.h"
#include "agent/file_request.h"
#include "agent/path.h"


/* True if there is no room; the error is sent. */

static bool
archive_busy(http_request *r)
{
    error  *err;

    if (archive_job_room()) {
        return false;
    }

    err = NULL;
    error_set(&err, 503, "resource_busy",
              "%d archives are being sent or received already",
              ARCHIVE_JOBS_MAX);
    http_error(r, err);

    return true;
}


/* The patterns of `excludes`; -1: the error is sent. */

static int
archive_excludes(http_request *r, archive_exclude *x)
{
    error       *err;
    size_t       len;
    const char  *list, *why;

    len = 0;
    list = http_query(r, "excludes", &len);
    why = archive_exclude_parse(x, list, len);

    if (why == NULL) {
        return 0;
    }

    if (!r->bridge) {
        return file_request_invalid(r, "excludes", "INVALID_EXCLUDES", why,
                                    "Invalid excludes");
    }

    err = NULL;
    error_set(&err, 400, "invalid_request", "%s", why);
    bridge_error(r, err);

    return -1;
}


static void
bridge_archive_fail(http_request *r, const archive_result *result,
    bool empty, const char *action, const char *code)
{
    error  *err;

    err = NULL;

    if (empty) {
        error_set(&err, 400, "invalid_request", "Empty tar payload");

    } else if (result->outcome == TAR_BAD) {
        error_set(&err, 400, "invalid_request",
                  "%s failed: the body is no tar archive that can be "
                  "extracted: %s", action, result->text);

    } else {
        error_set(&err, 502, code, "%s failed: %s: %s", action, result->text,
                  file_error_text(result->errnum));
    }

    bridge_error(r, err);
}


static void
bridge_persist_fail(http_request *r, const char *dir,
    const archive_result *result, bool empty)
{
    bridge_archive_fail(r, result, empty, "persist",
                        "workspace_archive_read_error");
}


static void
bridge_hydrate_fail(http_request *r, const char *dir,
    const archive_result *result, bool empty)
{
    bridge_archive_fail(r, result, empty, "hydrate",
                        "workspace_archive_write_error");
}


static void
bridge_hydrate_ok(http_request *r, const char *dir)
{
    http_send_json(r, 200, json_pack("{s:b}", "ok", 1));
}


static char *
bridge_workspace(void)
{
    char  *dir;

    dir = strdup(agent.workspace);
    if (dir == NULL) {
        abort();
    }

    return dir;
}


static void
bridge_persist(http_request *r)
{
    archive_exclude  exclude;

    if (!archive_busy(r) && archive_excludes(r, &exclude) == 0) {
        archive_job_send(r, bridge_workspace(), &exclude,
                         bridge_persist_fail);
    }
}


static void
bridge_hydrate(http_request *r)
{
    if (!archive_busy(r)) {
        archive_job_receive(r, bridge_workspace(), bridge_hydrate_ok,
                            bridge_hydrate_fail);
    }
}


static void
api_archive_fail(http_request *r, const char *dir,
    const archive_result *result, bool empty, const char *operation)
{
    error  *err;

    err = NULL;

    if (empty) {
        file_request_invalid(r, "body", "EMPTY_ARCHIVE", "Empty tar payload",
                             "Empty tar payload");
        return;
    }

    if (result->outcome == TAR_BAD) {
        file_request_invalid(r, "body", "INVALID_ARCHIVE", result->text,
                             "The body is no tar archive that can be "
                             "extracted");
        return;
    }

    file_error_set(&err, result->errnum, "%s", result->text);
    file_request_error(r, err, dir, operation, NULL);
}


static void
api_archive_get_fail(http_request *r, const char *dir,
    const archive_result *result, bool empty)
{
    api_archive_fail(r, dir, result, empty, "archive.read");
}


static void
api_archive_put_fail(http_request *r, const char *dir,
    const archive_result *result, bool empty)
{
    api_archive_fail(r, dir, result, empty, "archive.write");
}


static void
api_archive_put_ok(http_request *r, const char *dir)
{
    file_request_success(r, json_pack("{s:b, s:o}", "success", 1, "path",
                                      http_text(dir)));
}


static void
api_archive_get(http_request *r)
{
    char             *dir;
    archive_exclude   exclude;

    if (archive_busy(r)) {
        return;
    }

    dir = file_request_query_path(r);

    if (dir == NULL) {
        return;
    }

    if (archive_excludes(r, &exclude) != 0) {
        free(dir);
        return;
    }

    archive_job_send(r, dir, &exclude, api_archive_get_fail);
}


static void
api_archive_put(http_request *r)
{
    char  *dir;

    if (archive_busy(r)) {
        return;
    }

    dir = file_request_query_path(r);

    if (dir != NULL) {
        archive_job_receive(r, dir, api_archive_put_ok, api_archive_put_fail);
    }
}


void
archive_routes(router *t)
{
    router_add(t, METHOD_POST, "/bridge/persist", bridge_persist);
    router_add(t, METHOD_POST, "/bridge/hydrate", bridge_hydrate);
    router_add(t, METHOD_GET, "/api/archive", api_archive_get);
    router_add(t, METHOD_PUT, "/api/archive", api_archive_put);
}
