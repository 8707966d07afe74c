/* The table of background commands; see process.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/http.h"
#include "agent/process.h"
#include "common/clock.h"

static process   process_list = { .next = &process_list,
                                  .prev = &process_list };
static unsigned  process_count_running, process_count_over;
static unsigned  process_count_files;


const char *
process_status(const run *of)
{
    if (of->state != RUN_OVER) {
        return "running";
    }

    if (of->failure != NULL) {
        return "error";
    }

    if (of->timed_out) {
        return "failed";
    }

    if (of->kill_asked || of->exit_code == 137 || of->exit_code == 143) {
        return "killed";
    }

    return of->exit_code == 0 ? "completed" : "failed";
}


process *
process_find(const char *id)
{
    process  *p;

    for (p = process_list.next; p != &process_list; p = p->next) {
        if (strcmp(p->id, id) == 0) {
            return p;
        }
    }

    return NULL;
}


static int
process_has_files(const process *p)
{
    return p->of->out.fd != 0 || p->of->err.fd != 0;
}


void
process_remove(process *p)
{
    if (p->end_time[0] == '\0') {
        process_count_running--;
    } else {
        process_count_over--;
        process_count_files -= (unsigned) process_has_files(p);
    }

    p->next->prev = p->prev;
    p->prev->next = p->next;
    run_watch_drop(&p->watch);
    run_release(p->of);
    free(p->id);
    free(p->session);
    free(p);
}


/* Forgets the oldest of those that are over, until the bounds hold. */

static void
process_forget(void)
{
    process  *p, *newer;

    for (p = process_list.prev; p != &process_list; p = newer) {
        newer = p->prev;

        if (process_count_over <= PROCESS_KEPT
            && process_count_files <= PROCESS_KEPT_FILES)
        {
            return;
        }

        if (p->end_time[0] != '\0'
            && (process_count_over > PROCESS_KEPT || process_has_files(p)))
        {
            process_remove(p);
        }
    }
}


static void
process_event(run_watch *w, run_event event)
{
    process  *p;

    if (event != RUN_ENDED) {
        return;
    }

    p = w->data;

    if (p->of->failure != NULL) {
        spool_append(&p->of->err, p->of->failure->message,
                     strlen(p->of->failure->message));
    }

    http_timestamp(p->end_time, sizeof(p->end_time));
    process_count_running--;
    process_count_over++;
    process_count_files += (unsigned) process_has_files(p);
    run_watch_drop(w);

    process_forget();
}


static void
process_make_id(char *out, size_t size)
{
    size_t             i;
    unsigned char      random[6];
    char               text[7];
    static const char  digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        abort();
    }

    for (i = 0; i < 6; i++) {
        text[i] = digits[random[i] % 36];
    }
    text[6] = '\0';

    snprintf(out, size, "proc_%llu_%s",
             (unsigned long long) clock_ms(CLOCK_REALTIME), text);
}


process *
process_add(run *of, const char *id, const char *sid, error **err)
{
    char      made[64];
    process  *p;

    if (id == NULL || id[0] == '\0') {
        process_make_id(made, sizeof(made));
        id = made;
    }

    if (strlen(id) > PROCESS_ID_MAX) {
        error_set_field(err, 400, "validation_failed", "processId",
                        PROCESS_ID_MAX, "processId has at most %d bytes",
                        PROCESS_ID_MAX);
        return NULL;
    }

    if (process_find(id) != NULL) {
        error_set_field(err, 409, "resource_busy", "processId", 0,
                        "There is a process '%.200s' already", id);
        return NULL;
    }

    if (process_count_running >= PROCESS_MAX_RUNNING) {
        error_set(err, 503, "resource_busy",
                  "%d background processes are running already",
                  PROCESS_MAX_RUNNING);
        return NULL;
    }

    if (of->feed != NULL && feed_room_total() == 0) {
        error_set(err, 503, "resource_busy",
                  "Too much input waits for processes to read it");
        return NULL;
    }

    p = calloc(1, sizeof(process));
    if (p == NULL) {
        abort();
    }

    p->id = strdup(id);
    p->session = strdup(sid);
    p->of = of;
    run_hold(of);
    run_watch_add(of, &p->watch, process_event, p);
    http_timestamp(p->start_time, sizeof(p->start_time));

    p->next = process_list.next;
    p->prev = &process_list;
    p->next->prev = p;
    process_list.next = p;
    process_count_running++;

    return p;
}


void
process_each(void (*cb)(process *p, void *data), void *data)
{
    int       over;
    process  *p;

    for (over = 0; over < 2; over++) {
        for (p = process_list.prev; p != &process_list; p = p->prev) {
            if ((p->end_time[0] != '\0') == over) {
                cb(p, data);
            }
        }
    }
}


unsigned
process_running(void)
{
    return process_count_running;
}
