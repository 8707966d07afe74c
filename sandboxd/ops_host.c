/* Operations about this host; see ops.h. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"


void
op_pool_stats(service *sv, request *req)
{
    request_answer(req, json_pack("{s:o}", "pool", pool_stats(sv->pool)));
}


void
op_pool_prime(service *sv, request *req)
{
    pool_prime(sv->pool);
    request_done(req);
}


void
op_pool_shutdown(service *sv, request *req)
{
    pool_empty(sv->pool);
    request_done(req);
}


static json_t *
known(int64_t n)
{
    return n == -1 ? json_null() : json_integer((json_int_t) n);
}


/* The counters are those of a run; without one they are 0. */
static json_t *
stats_build(const sandbox *sb, driver_stats *s, double cpu_limit)
{
    bool     external, up;
    json_t  *stats;

    stats = json_object();

    /* Nothing is known here of those that others run. */
    external = spec_external(sb->spec);
    up = external ? sb->run.state == RUN_UP : s->running;

    if (!s->running && !external) {
        s->cpu_ns = 0;
        s->memory = 0;
        s->pids = 0;
    }

    json_object_set_new(stats, "id", json_string(name_id(sb->id)));
    json_object_set_new(stats, "state", json_string(record_state(sb)));
    json_object_set_new(stats, "startedAt", record_time(sb->started_at));
    json_object_set_new(stats, "uptimeMs", up && sb->started_at != 0
                        ? json_integer(wall_ms() - sb->started_at)
                        : json_integer(0));
    json_object_set_new(stats, "cpu",
        json_pack("{s:o, s:o, s:o, s:o}", "usageNs", known(s->cpu_ns),
                  "throttledNs", known(s->throttled_ns),
                  "throttledPeriods", known(s->throttled),
                  "limit", cpu_limit > 0 ? json_real(cpu_limit)
                                         : json_null()));
    json_object_set_new(stats, "memory",
        json_pack("{s:o, s:o, s:o, s:o}", "current", known(s->memory),
                  "peak", known(s->memory_peak),
                  "limit", known(s->memory_limit),
                  "oomKills", known(s->oom_kills)));
    json_object_set_new(stats, "pids",
        json_pack("{s:o, s:o}", "current", known(s->pids),
                  "limit", known(s->pids_limit)));
    json_object_set_new(stats, "disk",
        json_pack("{s:o, s:o, s:b, s:o}", "bytes", known(s->disk),
                  "measuredAt", record_time(s->disk == -1 ? 0 : s->disk_at),
                  "partial", s->disk_partial,
                  "limit", known(s->disk_limit)));
    json_object_set_new(stats, "network", s->sent == -1 ? json_null()
        : json_pack("{s:o, s:o, s:o, s:o}", "sentBytes", known(s->sent),
                    "sentPackets", known(s->sent_packets),
                    "receivedBytes", known(s->received),
                    "receivedPackets", known(s->received_packets)));

    return stats;
}


static void
stats_done(void *data, const driver_stats *stats, error *err)
{
    request        *req;
    service        *sv;
    driver_stats    now;
    driver_limits   limits;

    req = data;
    sv = request_service(req);

    if (err != NULL) {
        request_fail(req, err);
        return;
    }

    spec_limits(req->sb->spec, &limits);

    if (limits.cpu == 0 && !spec_external(req->sb->spec)
        && lifecycle_driver(sv->lc, req->sb)->enforces_cpu)
    {
        limits.cpu = sv->lc->defaults.cpu;
    }

    now = *stats;
    request_answer(req, json_pack("{s:o}", "stats",
                                  stats_build(req->sb, &now, limits.cpu)));
}


void
op_stats(service *sv, request *req)
{
    driver   *d;
    sandbox  *sb;

    sb = request_sandbox(req);

    if (sb != NULL) {
        d = lifecycle_driver(sv->lc, sb);
        request_hold(req, sb);
        d->stats(d, sb->slot, stats_done, req);
    }
}
