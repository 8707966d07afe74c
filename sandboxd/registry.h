/*
 * The records: every sandbox, exposure and tombstone, in memory for reading,
 * in the store for good.
 *
 * A change gets the next sequence number, is queued for the store, and is
 * published (put into the journal and told to the workers) in that order: a
 * change that must be durable first holds up those behind it until its commit.
 * So what has left sandboxd is always a prefix of the changes, and after a
 * crash only workers that saw beyond the last commit have to start over.
 *
 * Used from the event loop's thread only.  Starts and stops nothing: that is
 * the lifecycle's.
 */

#ifndef SANDBOXD_REGISTRY_H
#define SANDBOXD_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <uv.h>

#include "common/error.h"
#include "sandboxd/bucket.h"
#include "sandboxd/deadline.h"
#include "sandboxd/disks.h"
#include "sandboxd/driver.h"
#include "sandboxd/journal.h"
#include "sandboxd/names.h"
#include "sandboxd/options.h"
#include "sandboxd/store.h"
#include "sandboxd/table.h"

#define KEY_LEN             32          /* hex digits */
#define HOST_LABEL_MAX     253
#define REASON_MAX         256

#define SANDBOXES_MAX    500000
#define EXPOSURES_MAX        64         /* of one sandbox */
#define TOMBSTONES_MAX   100000
#define GAPS_MAX           1024
#define PAGE_MAX            500

typedef struct registry  registry;
typedef struct sandbox   sandbox;
typedef struct tenant    tenant;        /* tenant.h */
typedef struct exposure  exposure;     /* or a host name of one: domain.h */
typedef struct change    change;
typedef struct waiter    waiter;

typedef enum {
    STATE_CREATED,
    STATE_STARTING,
    STATE_RUNNING,
    STATE_SLEEPING,
    STATE_ASLEEP,
    STATE_DESTROYING,
    STATE_UNREACHABLE           /* its agent doesn't answer, for all that is
                                   known */
} sandbox_state;

typedef enum {
    ITEM_SANDBOX,
    ITEM_EXPOSURE,
    ITEM_TENANT,
    ITEM_DOMAIN,
    ITEM_TOMBSTONE
} item_kind;

/* Anything that has its place in the journal. */
typedef struct {
    item_kind     kind;
    journal_node  node;
} item;

/* What of a sandbox the workers' zones hold. */
typedef struct {
    sandbox_state  state;
    uint32_t       epoch;
    char           key[KEY_LEN + 1];
} sandbox_view;

typedef enum {
    RUN_NONE,           /* nothing of it runs */
    RUN_QUEUED,         /* waits for a free start */
    RUN_STARTING,       /* the driver is at it */
    RUN_UP,
    RUN_SLEEPING,       /* is to be stopped unless it is used */
    RUN_STOPPING,       /* the driver clears away a run */
    RUN_CLEANUP         /* the driver clears away all of it, or will */
} run_state;

/* What of an exposure they hold beside its label and port. */
typedef struct {
    access_kind  access;
    uint32_t     gen;           /* other than before: what was signed for the
                                 * exposure doesn't count any more */
    bool         host_public;
    bool         wake_off;
    unsigned     wakes;         /* a minute; the zones needn't know */
    traffic_limits  limits;
} exposure_view;

/* The lifecycle's part of a sandbox. */
typedef struct waiter  waiter;

typedef struct {
    waiter    *first;
    unsigned   count;
} waiter_list;

typedef struct {
    run_state      state;
    void          *lc;          /* the lifecycle, for the driver's callbacks */
    driver_handle  handle;
    driver_spec    spec;        /* of the operation that the driver is at */
    waiter_list    waiters;     /* for its start */
    unsigned       failures;    /* starts that failed in a row */
    uint64_t       retry_at;    /* loop time before which none is tried */
    uint64_t       since;       /* loop time of entering the state */
    bool           slow;        /* its start takes long */
    bool           admitted;    /* it counts among those that run, */
    uint64_t       promised;    /* with this much memory */
    uint64_t       used;        /* loop time of the last use that is known */
    deadline       idle;        /* when it is looked at again */
    bool           polled;      /* somebody is being asked about it */
    bool           again;       /* registered anew meanwhile */
    json_t        *where;       /* the endpoint of the run of this epoch; */
    uint32_t       where_epoch; /* NULL: its socket; a reference */
    bool           dropped;     /* an ephemeral one's files are gone */
    bool           kept;        /* its memory is */
    bool           lost;        /* it ran, or was started, without us */
    uint32_t       look_epoch;      /* whose agent is being looked at */
    uint32_t       silent_epoch;    /* whose agent doesn't answer; 0: none */
    unsigned       silences;    /* looks in a row without an answer since, */
    uint64_t       silent_until;    /* and loop time of the next one */
    uint64_t       env_seq;     /* of the last time that it was told */
    json_t        *env;         /* that its start has got; a reference */
    json_t        *network;     /* that its run has; NULL: none; a reference */
    bool           networking;  /* which is being made, */
    bool           ended;       /* and it has ended meanwhile */
    deadline       ttl;
    bool           sleep_forced;    /* whatever is in flight */
    unsigned       sleep_turn;  /* counts its times of sleeping */
    waiter_list    sleepers;    /* wait for it to sleep */
    bool           doomed;      /* destroyed for good, on the disk too */
    unsigned       forks;       /* copies that are made of what it has */
    sandbox       *next;        /* in a queue of the lifecycle */
} sandbox_run;

/* Of processes that were ended for want of memory. */
typedef struct {
    uint64_t  total;            /* in all of its runs */
    uint32_t  epoch;            /* of the run of which are so many of them: */
    uint32_t  counted;
    int64_t   at;               /* of the last one, ms since 1970 */
    char      process[DRIVER_PROCESS_MAX];      /* "": not known */
} sandbox_kills;

struct sandbox {
    item            item;
    table_node      by_id;
    table_node      by_slot;
    journal_node    age;        /* orders the list of all, */
    journal_node    tenant_age; /* and that of its tenant */
    tenant         *tenant;
    unsigned        refs;
    bool            gone;       /* destroyed: its id is free */
    bool            forked;     /* it has had files from its beginning */
    char           *id;         /* the qualified name: see names.h */
    uint32_t        slot;
    uint64_t        seq;        /* of the last change, published or not */
    uint64_t        born;
    sandbox_view    now;
    sandbox_view    shown;      /* as published */
    uint32_t        epoch_used;     /* no epoch up to here is free */
    uint32_t        epoch_durable;  /* epochs known to be on disk, */
    uint32_t        epoch_mark;     /* and the next one that will be, */
    uint64_t        epoch_mark_seq; /* with the commit of this change */
    int64_t         created_at;
    int64_t         started_at;     /* 0: never */
    char            reason[REASON_MAX];
    sandbox_kills  *kills;          /* NULL: there were none */
    json_t         *spec;
    uint64_t        disk;           /* bytes of one of its own, as counted */
    exposure       *exposures;      /* by port */
    unsigned        exposure_count;
    sandbox_run     run;
};

struct exposure {
    item            item;
    table_node      by_label;
    exposure       *next;
    exposure       *hosts;      /* its host names, by name */
    exposure       *of;         /* of a host name: the exposure */
    exposure       *next_host;  /* among all host names */
    exposure      **link_host;
    bool            by_admin;   /* a host name that needs no domain */
    sandbox        *owner;      /* lives as long as the exposure */
    unsigned        refs;
    unsigned        port;
    exposure_view   now;
    exposure_view   shown;      /* as published */
    bucket          woken;      /* see wakes.h */
    int64_t         created_at;
    char            token[TOKEN_MAX + 1];
    char            name[EXPOSURE_NAME_MAX + 1];
    char            label[];
};

typedef struct tombstone  tombstone;

struct tombstone {
    item         item;
    tombstone   *next;
    uint32_t     slot;
    bool         exposure;
    char         name[];
};

/* Tells a published change to the workers. */
typedef void (*registry_publish)(void *data, uint64_t seq, bool ack,
    json_t *record);

/* Called when a change is published. */
typedef void (*registry_waited)(void *data);

/* Of all sandboxes since sandboxd began: what the disk knows, and what is on
 * its way there, in two parts, so that there is an end to each. */
typedef struct {
    uint64_t  known;
    uint64_t  coming, coming_seq;
    uint64_t  later, later_seq;
} kills_sum;

struct registry {
    store            *store;
    char              incarnation[STORE_INCARNATION_LEN + 1];

    table             by_id;
    table             by_slot;
    table             by_label;
    journal           changed;          /* items, by seq of last change */
    journal           aged;             /* sandboxes, by birth */

    table             tenants_by_name;
    table             tenants_by_prefix;
    tenant           *nobody;           /* the default tenant */

    table             domains;          /* see domain.h */
    exposure         *hosts;            /* all host names */
    size_t            host_count;

    tombstone        *tombstones;       /* oldest first */
    tombstone       **tombstones_last;
    size_t            tombstone_count;
    uint64_t          tombstone_floor;

    uint32_t          next_slot;
    uint32_t          slot_limit;       /* asked for; see store_reserved() */
    uint32_t          boot;
    json_t           *common_spec;      /* of most sandboxes: kept once */

    uint64_t          seq;              /* last one given */
    uint64_t          seq_limit;
    uint64_t          committed;
    uint64_t          published;
    store_gap        *gaps;             /* numbers that mean nothing */
    size_t            gap_count;
    change           *changes;          /* not yet published */
    change          **changes_last;
    waiter           *waiters;          /* by seq */
    waiter          **waiters_last;
    bool              pumping;

    kills_sum         kills;

    /* The disks of all records; how large that of a spec is, 0: it has none of
     * its own. */
    disks             disks;
    uint64_t        (*disk_of)(void *data, json_t *spec);
    void             *disk_data;

    /* Where the slot of a new record may come from; 0: from the next number. */
    uint32_t        (*slot_source)(void *data, json_t *spec);
    void             *slot_data;

    registry_publish  publish;
    void             *publish_data;
};

const char *state_name(sandbox_state state);

/* Loads all records; nobody runs yet: see lifecycle_adopt(). */
registry *registry_create(store *s, const store_meta *meta, error **err);
void registry_free(registry *r);

/* What the store calls. */
void registry_on_committed(void *data, uint64_t seq);

sandbox *registry_find(registry *r, const char *id);
sandbox *registry_find_slot(registry *r, uint32_t slot);
exposure *registry_find_label(registry *r, const char *label);
exposure *exposure_of_port(const sandbox *sb, unsigned port);

/* A slot that no record has. */
int registry_slot(registry *r, uint32_t *slot, error **err);

/* A new sandbox by its qualified name; a prefix has to be some tenant's.
 * Takes over nothing of the spec but a reference.  507 if there is no disk left
 * for it. */
sandbox *registry_add(registry *r, const char *name, json_t *spec,
    error **err);
/* The same in a slot of registry_slot()'s, which has files, on a disk of this
 * size: whether there is so much left the caller has seen to. */
sandbox *registry_add_fork(registry *r, const char *name, json_t *spec,
    uint32_t slot, uint64_t disk, error **err);

/* Other options (a reference to spec is taken over); durable.  507 if there is
 * no disk left for what is more. */
int registry_update(registry *r, sandbox *sb, json_t *spec, error **err);

/* A change of state; waits for no commit.  reason NULL: keeps the old one. */
void registry_set_state(registry *r, sandbox *sb, sandbox_state state,
    const char *reason);

/* What a driver has counted of its last run; how many of them are new.  Waits
 * for no commit: what is lost of it is told again (registry_kills.c). */
uint32_t registry_killed(registry *r, sandbox *sb, const driver_kills *now);

/* All of them since sandboxd began, also of sandboxes that are gone.  Only what
 * is on the disk: what isn't is told to the next sandboxd again, and would be
 * counted twice by whoever adds up what both have said. */
uint64_t registry_kills(registry *r);

/* The next epoch and key of a sandbox that is about to start; 503 if the
 * epochs that were reserved are used up. */
int registry_next_run(registry *r, sandbox *sb, error **err);

/* Destroys the record and its exposures; the sequence of the last change. */
uint64_t registry_remove(registry *r, sandbox *sb);

/* The lifecycle is done with a removed sandbox: frees its slot. */
void registry_release(registry *r, sandbox *sb);

/*
 * Makes or changes an exposure.  *revoked is the sequence of the change that
 * takes something away (the old label's end, or another generation), or 0; the
 * change itself is the registry's last one then.
 */
exposure *registry_expose(registry *r, sandbox *sb, const expose_options *o,
    uint64_t *revoked, error **err);

/* The sequence of the change, or 0 if the port is not exposed. */
uint64_t registry_unexpose(registry *r, sandbox *sb, unsigned port);

/*
 * At most PAGE_MAX published records above `from`, in order; *next is where
 * the next page begins, 0 at the end.  409 `resync` if the changes since
 * `from` are not known any more.
 */
json_t *registry_page(registry *r, uint64_t from, bool full, uint64_t *next,
    error **err);

/* Calls back once everything up to seq is published, perhaps at once. */
void registry_wait(registry *r, uint64_t seq, registry_waited cb, void *data);

/* For registry_load.c: an exposure in its places, with nothing but its port
 * and label; and a reference to a spec (taken over), or to one like it. */
exposure *exposure_add(registry *r, sandbox *sb, unsigned port,
    const char *label);

/* For domain.c, of host names: one in no list but that of labels, a change of
 * it, and its end; the sequence of the change. */
exposure *exposure_new(registry *r, sandbox *sb, unsigned port,
    const char *label);
uint64_t exposure_put(registry *r, exposure *ex, bool ack);
uint64_t exposure_end(registry *r, exposure *ex);

json_t *spec_share(registry *r, json_t *spec);

/* For the store: NULL for none; -1: it is damaged. */
char *kills_text(const sandbox_kills *k);
int kills_load(sandbox *sb, const char *text);

/* For changes.c. */
struct change {
    change        *next;
    uint64_t       seq;
    bool           durable;     /* wait for the commit before publishing */
    bool           ack;
    item          *item;        /* holds a reference */
    tombstone     *gone;        /* set: the item ends */
    sandbox_view   view;
    exposure_view  exposure;
    const tenant  *domain_of;
};

change *change_add(registry *r, item *it, bool durable);
void registry_pump(registry *r);
void changes_free(registry *r);
void tombstone_keep(registry *r, tombstone *t, uint64_t seq);
void tombstones_trim(registry *r);
void tombstones_drop(registry *r);
void item_ref(item *it);
void item_unref(item *it);
int64_t wall_ms(void);

#endif
