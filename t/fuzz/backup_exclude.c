/* sources: agent/backup_exclude.c agent/backup_part.c common/buffer.c */
/* Whatever is left out, each line of the exclude file is one that mksquashfs
 * reads as it is meant; whatever a server says is an answer's status; and a
 * URL stays within its quotes. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/backup_exclude.h"
#include "agent/backup_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_lines(buffer *b, int many)
{
    char    *p, *end;
    size_t   count;

    if (b->len == 0) {
        buffer_free(b);
        return;
    }

    *buffer_room(b, 1) = '\0';
    count = 0;

    for (p = buffer_bytes(b); *p != '\0'; p = end + 1) {
        end = strchr(p, '\n');
        if (end == NULL || p[0] != '\\' || end < p + 2) {
            abort();
        }
        count++;
    }

    if (!many && (count > 34 || strstr(buffer_bytes(b), "/../") != NULL)) {
        abort();
    }

    buffer_free(b);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int      quotes, status;
    char    *text, etag[BACKUP_ETAG_MAX + 1];
    buffer   b;
    size_t   i;

    text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    memset(&b, 0, sizeof(b));
    if (backup_exclude_glob(&b, text, size, "/workspace") != NULL) {
        buffer_free(&b);
    }
    fuzz_lines(&b, 0);

    memset(&b, 0, sizeof(b));
    backup_exclude_paths(&b, text, size);
    fuzz_lines(&b, 1);

    status = backup_part_answer(text, size, etag);
    if (status < 0 || status > 999 || strchr(etag, '\n') != NULL) {
        abort();
    }

    if (backup_part_url(text, size) == NULL) {
        memset(&b, 0, sizeof(b));
        backup_part_config(&b, text, 1);

        for (i = 0, quotes = 0; buffer_bytes(&b)[i] != '\n'; i++) {
            if (buffer_bytes(&b)[i] == '\\') {
                i++;
            } else {
                quotes += buffer_bytes(&b)[i] == '"';
            }
        }
        if (quotes != 2) {
            abort();
        }
        buffer_free(&b);
    }

    free(text);

    return 0;
}
