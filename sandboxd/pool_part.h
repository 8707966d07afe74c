/*
 * Shared by pool.c and pool_fill.c; the contract is pool.h.
 */

#ifndef SANDBOXD_POOL_PART_H
#define SANDBOXD_POOL_PART_H

#include "sandboxd/lifecycle_part.h"
#include "sandboxd/pool.h"

#define POOL_BUSY_MS  50            /* before looking again who starts */

typedef enum {
    ENTRY_PREPARING,
    ENTRY_WARM,
    ENTRY_RESERVED,         /* a record has its slot */
    ENTRY_ENDING
} entry_state;

typedef struct pool_entry  pool_entry;
typedef struct pool_image  pool_image;

struct pool_entry {
    pool_entry   *next;
    pool         *p;
    pool_image   *image;
    entry_state   state;
    bool          unwanted;     /* ends as soon as it is prepared */
    uint64_t      since;
    uint64_t      memory;       /* that is counted with the spare one */
    uint64_t      disk;         /* the same */
    driver_spec   spec;
};

struct pool_image {
    const char   *name;
    driver       *driver;       /* NULL: none prepares it */
    unsigned      target;
    unsigned      counts[ENTRY_ENDING + 1];
    unsigned      failures;     /* in a row */
    uint64_t      retry_at;
    bool          short_of;     /* memory, or disk */
    uint64_t      hits;         /* records that got one, */
    uint64_t      misses;       /* or could have */
    uint64_t      dropped;      /* prepared in vain */
};

struct pool {
    lifecycle    *lc;
    registry     *r;
    pool_image    images[POOL_IMAGES_MAX];
    unsigned      image_count;
    unsigned      batch;
    uint64_t      interval;
    pool_entry   *entries;
    uv_timer_t    fill;
    uv_timer_t    look;
    unsigned      timers;       /* to be closed yet */
    json_t       *no_env;
    bool          emptied;
    bool          closing;
    void        (*closed)(void *data);
    void         *closed_data;
};


/* pool.c */
pool_entry *pool_find(pool *p, uint32_t slot);
void pool_enter(pool_entry *e, entry_state state);
/* Ends one that is nobody's. */
void pool_end(pool_entry *e);
/* The same, whatever it is. */
void pool_destroy(pool_entry *e);
unsigned pool_count(const pool *p, entry_state state);

/* pool_fill.c: looks in so many ms whether there is something to do. */
void pool_fill_in(pool *p, uint64_t ms);

/* The lifecycle's (lifecycle.h). */
uint64_t pool_spare_of(void *data, uint32_t slot, bool take);
void pool_spare_yield(void *data, uint64_t memory);
/* The registry's (disks.h). */
void pool_disk_yield(void *data, uint64_t bytes);

#endif
