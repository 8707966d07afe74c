/*
 * Machines that are prepared before anybody asks for one: booted, or gone on
 * from a template, with the shell of the default session, and interpreters of
 * their own; their keeper and their agent are told whose they are when that is
 * known.  Until then a keeper ends with this process.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/agent_call.h"
#include "sandboxd/machine_start_part.h"

static machine_call *
call_create(machine_start *s)
{
    s->call = calloc(1, sizeof(machine_call));
    if (s->call == NULL) {
        abort();
    }

    s->call->s = s;

    return s->call;
}


void
machine_call_forget(machine_start *s)
{
    if (s->call != NULL) {
        s->call->s = NULL;
        s->call = NULL;
    }
}


/* NULL: nobody waits for it. */
static machine_start *
call_answered(machine_call *call)
{
    machine_start  *s;

    s = call->s;
    free(call);

    if (s == NULL) {
        return NULL;
    }

    s->call = NULL;

    return s->base.err == NULL && s->base.box != NULL
           && s->base.box->state == BOX_STARTING ? s : NULL;
}


static void
pool_code_begun(void *data, int status, json_t *result)
{
}


/* Without the shell it is of use, too; nobody waits for interpreters. */
static void
pool_warmed(void *data, int status, json_t *result)
{
    machine_box    *mb;
    machine_start  *s;

    s = call_answered(data);

    if (s == NULL) {
        return;
    }

    mb = (machine_box *) s->base.box;
    mb->image = s->launch.image;
    mb->limits = s->launch.limits;
    memcpy(mb->key, s->launch.key, sizeof(mb->key));
    (void) machine_launch_word(&s->launch, mb->word);

    machine_agent_code(s->base.bd, s->base.slot, s->base.key, false,
                       pool_code_begun, NULL);
    box_start_done(&s->base, true);
}


bool
machine_start_answered(box_start *base)
{
    machine_start  *s;

    s = (machine_start *) base;

    if (s->launch.unused) {
        machine_agent_warm(base->bd, base->slot, base->key, pool_warmed,
                           call_create(s));
    }

    return s->launch.unused;
}


void
machine_agent_warm(box_driver *bd, uint32_t slot, const char *key,
    void (*cb)(void *data, int status, json_t *result), void *data)
{
    char     path[AGENT_SOCKET_MAX + 32];
    json_t  *body;

    box_socket_path(bd, slot, path, sizeof(path));
    body = json_pack("{s:s}", "command", "true");
    agent_call_within(bd->host.loop, MACHINE_WARM_MS, path, key, "POST",
                      "/api/execute", body, cb, data);
    json_decref(body);
}


void
machine_agent_code(box_driver *bd, uint32_t slot, const char *key, bool copies,
    void (*cb)(void *data, int status, json_t *result), void *data)
{
    char     path[AGENT_SOCKET_MAX + 32];
    json_t  *body;

    box_socket_path(bd, slot, path, sizeof(path));
    body = json_pack("{s:b, s:b}", "copies", copies, "javascript",
                     !copies || !bd->host.templates_without_node);
    agent_call_within(bd->host.loop, copies ? MACHINE_CODE_MS : AGENT_CALL_MS,
                      path, key, "POST", "/internal/warm", body, cb, data);
    json_decref(body);
}


void
machine_key_make(char key[33])
{
    size_t         i;
    unsigned char  bytes[16];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
        abort();
    }

    for (i = 0; i < sizeof(bytes); i++) {
        snprintf(key + 2 * i, 3, "%02x", bytes[i]);
    }
}


void
machine_prepare_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    char            key[33];
    driver_spec     nobody;
    machine_start  *s;

    machine_key_make(key);
    nobody = *spec;
    nobody.id = MACHINE_PREPARED;
    nobody.key = key;
    nobody.epoch = 0;
    s = machine_start_create((machine_driver *) d, &nobody, timeout_ms, cb,
                             data);
    s->launch.unused = true;
    explicit_bzero(key, sizeof(key));

    if (s->base.err == NULL && box_start_box(&s->base)) {
        box_start_deadline(&s->base);
    }

    machine_start_launch(s);
}


/* Is it what a start of this spec would make? */
static bool
box_fits(const machine_box *mb, const driver_spec *spec)
{
    char                   word[VM_END_MAX];
    error                 *err;
    machine_launch         l;
    const driver_limits   *has;
    const machine_driver  *m;

    err = NULL;
    m = (const machine_driver *) mb->base.bd;
    memset(&l, 0, sizeof(l));
    l.m = m;
    has = &mb->limits;

    if (machine_start_image(m, spec->image, &l.image, &err) != 0
        || machine_limits(m, spec, &l.limits, &err) != 0)
    {
        error_free(err);
        return false;
    }

    return mb->base.state == BOX_PREPARED && l.image == mb->image
           && l.limits.cpu == has->cpu && l.limits.memory == has->memory
           && l.limits.disk == has->disk && l.limits.pids == has->pids
           && machine_launch_word(&l, word) == 0
           && machine_kept_same(word, mb->word);
}


bool
machine_prepared(driver *d, const driver_spec *spec)
{
    box  *b;

    b = box_find((box_driver *) d, spec->slot);

    return b != NULL && b->unused && box_fits((machine_box *) b, spec);
}


/* What can't be told whose it is ends, and its slot starts from the
 * beginning: see machine_start_again(). */
static void
assign_told(void *data, int status, json_t *result)
{
    machine_start  *s;

    s = call_answered(data);

    if (s == NULL) {
        return;
    }

    if (status != 200) {
        log_info("%s: slot %08x: its agent didn't take its name (status %d)",
                 s->base.bd->d.name, s->base.slot, status);
        box_signal(s->base.box, SIGKILL);
        return;
    }

    box_start_done(&s->base, false);
}


/* The keeper first: who knows the new key can end the machine in order. */
static int
assign_keeper(machine_start *s, machine_box *mb)
{
    int       rc;
    vm_owner  by;

    memset(&by, 0, sizeof(by));
    memcpy(by.key, s->launch.key, sizeof(by.key));
    rc = machine_launch_word(&s->launch, by.asleep);

    if (rc == 0) {
        rc = send(mb->owner, &by, sizeof(by), MSG_NOSIGNAL | MSG_DONTWAIT)
             == sizeof(by) ? 0 : -1;
    }

    explicit_bzero(&by, sizeof(by));
    close(mb->owner);
    mb->owner = -1;

    return rc;
}


static void
assign_box(machine_box *mb, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    box            *b;
    char            path[AGENT_SOCKET_MAX + 32];
    json_t         *boot;
    machine_start  *s;

    b = &mb->base;
    s = machine_start_create((machine_driver *) b->bd, spec, timeout_ms, cb,
                             data);
    s->assigned = true;
    s->base.box = b;
    b->start = &s->base;
    b->state = BOX_STARTING;
    b->unused = false;
    b->reported = false;
    box_start_deadline(&s->base);

    log_debug("%s: slot %08x is \"%s\" now", b->bd->d.name, spec->slot,
              spec->id);

    if (s->base.err != NULL) {
        box_start_abort(&s->base);

    } else if (assign_keeper(s, mb) != 0) {
        box_signal(b, SIGKILL);

    } else {
        box_socket_path(b->bd, b->slot, path, sizeof(path));
        boot = json_loads(s->launch.boot, 0, NULL);
        /* A prepared machine isn't copied. */
        json_object_set_new(boot, "unique", json_true());
        agent_call_within(b->bd->host.loop, machine_again_ms(&s->launch), path,
                          mb->key, "PUT", "/internal/restore", boot,
                          assign_told, call_create(s));
        json_decref(boot);
    }

    explicit_bzero(mb->key, sizeof(mb->key));
}


void
machine_assign(box *b, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    if (box_fits((machine_box *) b, spec)) {
        assign_box((machine_box *) b, spec, timeout_ms, cb, data);

    } else {
        /* Its disk has the size that it was made with. */
        box_replace(b, true, spec, timeout_ms, cb, data, machine_start_fresh);
    }
}
