/* What clients of watches read; see watch_internal.h. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/watch_internal.h"
#include "common/base64.h"
#include "common/clock.h"
#include "common/json_text.h"
#include "common/utf8.h"

static const struct {
    unsigned     type;
    const char  *name;
} watch_type_names[] = {
    { WATCH_CREATE, "create" },
    { WATCH_MODIFY, "modify" },
    { WATCH_DELETE, "delete" },
    { WATCH_MOVE_FROM, "move_from" },
    { WATCH_MOVE_TO, "move_to" },
    { WATCH_ATTRIB, "attrib" }
};


void
watch_put_text(buffer *b, const char *p, size_t n)
{
    size_t  used;
    char   *room;

    room = buffer_room(b, (n + 1) * JSON_TEXT_GROWTH);
    buffer_added(b, json_text_escape(room, (n + 1) * JSON_TEXT_GROWTH, p, n,
                                     &used, true));
}


static void
watch_put_time(buffer *b, uint64_t ms)
{
    char       text[32];
    time_t     s;
    struct tm  tm;

    s = (time_t) (ms / 1000);
    gmtime_r(&s, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    buffer_printf(b, ",\"timestamp\":\"%s.%03uZ\"}\n\n", text,
                  (unsigned) (ms % 1000));
}


void
watch_put_event(buffer *b, const watch *w, const watch_event *e)
{
    char        *text;
    buffer       full;
    size_t       i;

    memset(&full, 0, sizeof(full));
    buffer_puts(&full, w->tree.path);
    if (strcmp(w->tree.path, "/") != 0) {
        buffer_append(&full, "/", 1);
    }
    buffer_append(&full, e->path, e->len);

    for (i = 0; watch_type_names[i].type != e->type; i++) { /* void */ }

    buffer_printf(b, "data: {\"type\":\"event\",\"eventType\":\"%s\","
                  "\"path\":\"", watch_type_names[i].name);
    watch_put_text(b, full.data, full.len);
    buffer_printf(b, "\",\"isDirectory\":%s", e->is_dir ? "true" : "false");

    /* A name that isn't text could not be opened by what is shown of it. */

    if (utf8_valid(full.data, full.len) != full.len) {
        text = malloc(base64_encoded_len(full.len) + 1);
        if (text == NULL) {
            abort();
        }
        base64_encode(text, full.data, full.len);
        buffer_puts(b, ",\"pathBase64\":\"");
        buffer_append(b, text, base64_encoded_len(full.len));
        buffer_append(b, "\"", 1);
        free(text);
    }

    watch_put_time(b, e->time);
    buffer_free(&full);
}


void
watch_put_lost(buffer *b)
{
    buffer_puts(b, "data: {\"type\":\"resync\",\"reason\":\"overflow\"");
    watch_put_time(b, clock_ms(CLOCK_REALTIME));
}
