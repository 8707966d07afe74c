/* Failures of the file system; see file_error.h. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/file_error.h"
#include "common/utf8.h"

typedef struct {
    int          errnum;
    int          status;
    const char  *code;
} file_error_code;

/* What isn't listed is FILESYSTEM_ERROR, 500. */
static const file_error_code  file_error_codes[] = {
    { ENOENT, 404, "FILE_NOT_FOUND" },
    { EISDIR, 400, "IS_DIRECTORY" },
    { ENOTDIR, 400, "NOT_DIRECTORY" },
    { ENAMETOOLONG, 400, "NAME_TOO_LONG" },
    { EACCES, 403, "PERMISSION_DENIED" },
    { EPERM, 403, "PERMISSION_DENIED" },
    { FILE_E_OUTSIDE, 403, "PERMISSION_DENIED" },
    { EROFS, 403, "READ_ONLY" },
    { EEXIST, 409, "FILE_EXISTS" },
    { EBUSY, 409, "RESOURCE_BUSY" },
    { ETXTBSY, 409, "RESOURCE_BUSY" },
    { ENOSPC, 500, "NO_SPACE" },
    { EDQUOT, 500, "NO_SPACE" },
    { EMFILE, 500, "TOO_MANY_FILES" },
    { ENFILE, 500, "TOO_MANY_FILES" },
    { ELOOP, 500, "TOO_MANY_LINKS" },
    { EMLINK, 500, "TOO_MANY_LINKS" }
};


const char *
file_error_text(int errnum)
{
    const char  *text;

    if (errnum == FILE_E_OUTSIDE) {
        return "Leads out of the directory that it is confined to";
    }

    if (errnum == FILE_E_NOT_REGULAR) {
        return "Not a regular file";
    }

    text = strerrordesc_np(errnum);

    return text ? text : "Unknown error";
}


int
file_error_set(error **err, int errnum, const char *what, ...)
{
    size_t                  i;
    va_list                 args;
    char                    text[400];
    file_error_code         unknown = { errnum, 500, "FILESYSTEM_ERROR" };
    const file_error_code  *c;

    va_start(args, what);
    vsnprintf(text, sizeof(text), what, args);
    va_end(args);

    /* A long path may have been cut within a character. */
    text[utf8_complete(text, strlen(text))] = '\0';

    c = &unknown;

    for (i = 0; i < sizeof(file_error_codes) / sizeof(*c); i++) {
        if (file_error_codes[i].errnum == errnum) {
            c = &file_error_codes[i];
            break;
        }
    }

    return error_set(err, c->status, c->code, "%s: %s", text,
                     file_error_text(errnum));
}
