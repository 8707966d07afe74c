/* What the files of the router share; see sandbox_route.h. */

#ifndef SANDBOX_ROUTE_PART_H
#define SANDBOX_ROUTE_PART_H

#include "sandbox_route.h"

/*
 * `{id}`, `{port}` and `{name}` stand for one segment, a final `*` for the
 * rest.  prefix goes before what follows the id in the agent's path.  Only
 * what stands here can start a sandbox: an unknown route must not.
 *
 * scope is what a key needs: READ for what shows records, files and output,
 * EXEC for what changes something inside, MANAGE for the sandbox itself and
 * the ways to it, ADMIN for what is above tenants, 0 for any key.
 */
typedef struct {
    const char          *pattern;
    unsigned             methods;
    unsigned             scope;
    sandbox_route_kind   kind;
    sandbox_route_op     op;
    const char          *prefix;
} sandbox_route_entry;

/* Where the parts of a path that matched a pattern are. */
typedef struct {
    const char  *id, *port, *name, *rest, *after_id;
    size_t       id_len, port_len, name_len, rest_len, after_len;
} sandbox_route_match;

/* _table.c; the last one has no pattern. */
extern const sandbox_route_entry  sandbox_routes[];

/* _path.c: the path that the agent is asked for; -1: route says what is
 * wrong. */
int sandbox_route_agent_path(sandbox_route *route,
    const sandbox_route_entry *e, const sandbox_route_match *m);

#endif
