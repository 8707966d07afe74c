/* Counts of starts; see starts.h. */

#include "sandboxd/starts.h"


static const uint64_t  bounds[STARTS_BOUNDS] = {
    10, 25, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000
};


void
starts_count(start_counts *s, uint64_t ms)
{
    int  i;

    for (i = 0; i < STARTS_BOUNDS && ms > bounds[i]; i++) {
        /* void */
    }

    s->ok++;
    s->counts[i]++;
    s->sum_ms += ms;
}


json_t *
starts_json(const start_counts *s)
{
    int      i;
    json_t  *limits, *counts;

    limits = json_array();
    counts = json_array();

    for (i = 0; i <= STARTS_BOUNDS; i++) {
        json_array_append_new(counts, json_integer((json_int_t) s->counts[i]));

        if (i < STARTS_BOUNDS) {
            json_array_append_new(limits, json_integer((json_int_t)
                                                       bounds[i]));
        }
    }

    return json_pack("{s:I, s:I, s:o, s:o, s:I}", "ok", (json_int_t) s->ok,
                     "failed", (json_int_t) s->failed, "bounds", limits,
                     "counts", counts, "sum", (json_int_t) s->sum_ms);
}
