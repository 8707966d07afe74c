/* One part of an upload as text; see backup_part.h. */

#include <string.h>
#include <strings.h>

#include "agent/backup_part.h"

#define PART_ATTEMPT_S  1800


const char *
backup_part_url(const char *url, size_t len)
{
    size_t  i;

    if (strlen(url) != len || strncasecmp(url, "https://", 8) != 0
        || url[8] == '\0' || url[8] == '/')
    {
        return "must be an https URL";
    }

    if (len > BACKUP_URL_MAX) {
        return "has more than 8192 bytes";
    }

    for (i = 0; i < len; i++) {
        if ((unsigned char) url[i] <= 0x20 || url[i] == 0x7f) {
            return "holds blanks or control characters";
        }
    }

    return NULL;
}


void
backup_part_config(buffer *b, const char *url, uint64_t size)
{
    buffer_puts(b, "url = \"");

    for ( /* void */ ; *url != '\0'; url++) {
        if (*url == '"' || *url == '\\') {
            buffer_puts(b, "\\");
        }
        buffer_append(b, url, 1);
    }

    /* A part has a length: what stores them doesn't take chunks. */
    buffer_printf(b, "\"\n"
                  "globoff\n"
                  "silent\n"
                  "show-error\n"
                  "proto = \"=https\"\n"
                  "upload-file = \"-\"\n"
                  "header = \"Transfer-Encoding:\"\n"
                  "header = \"Content-Length: %llu\"\n"
                  "header = \"Expect:\"\n"
                  "dump-header = \"-\"\n"
                  "output = \"/dev/null\"\n"
                  "connect-timeout = 30\n"
                  "speed-limit = 1024\n"
                  "speed-time = 60\n"
                  "max-time = %d\n",
                  (unsigned long long) size, PART_ATTEMPT_S);
}


static void
part_etag(const char *p, const char *end, char etag[BACKUP_ETAG_MAX + 1])
{
    size_t  n;

    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }
    while (end > p && (end[-1] == '\r' || end[-1] == ' ')) {
        end--;
    }
    if (end - p >= 2 && *p == '"' && end[-1] == '"') {
        p++;
        end--;
    }

    n = (size_t) (end - p);
    etag[0] = '\0';

    if (n <= BACKUP_ETAG_MAX && memchr(p, '\0', n) == NULL) {
        memcpy(etag, p, n);
        etag[n] = '\0';
    }
}


int
backup_part_answer(const char *heads, size_t len,
    char etag[BACKUP_ETAG_MAX + 1])
{
    int          i, status;
    const char  *p, *end, *stop;

    etag[0] = '\0';
    status = 0;
    stop = heads + len;

    for (p = heads; p < stop; p = end + 1) {
        end = memchr(p, '\n', (size_t) (stop - p));
        if (end == NULL) {
            end = stop;
        }

        if (end - p > 5 && memcmp(p, "HTTP/", 5) == 0) {
            etag[0] = '\0';
            status = 0;
            p = memchr(p, ' ', (size_t) (end - p));

            for (i = 1; p != NULL && i <= 3 && p + i < end
                 && p[i] >= '0' && p[i] <= '9'; i++)
            {
                status = status * 10 + (p[i] - '0');
            }

        } else if (end - p > 5 && strncasecmp(p, "etag:", 5) == 0) {
            part_etag(p + 5, end, etag);
        }
    }

    return status;
}
