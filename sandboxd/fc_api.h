/*
 * Firecracker's API: what it is told, in which order, and what it answers.
 * Pure: text in, text out.  t/driver/fc_schema.h holds the fields that its API
 * document knows, against which a test checks every body that is made here.
 */

#ifndef SANDBOXD_FC_API_H
#define SANDBOXD_FC_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FC_REQUESTS_MAX  16
#define FC_DRIVES_MAX    3
#define FC_PATH_MAX      64         /* of a request's target */
#define FC_CPUS_MAX      32

/* What an answer may have. */
#define FC_HEAD_MAX      4096
#define FC_BODY_MAX      65536
#define FC_FAULT_MAX     160

#define FC_CID           3          /* of every guest: each has its own VMM */

/* A token bucket of so much a second, with room for one second; 0: none. */
typedef struct {
    uint64_t  bytes;
    uint64_t  ops;
} fc_limit;

typedef struct {
    const char  *id;                /* of [A-Za-z0-9_] */
    const char  *path;              /* as the VMM sees it, as all here */
    bool         read_only;
    bool         async;             /* by io_uring */
    fc_limit     rate;
} fc_drive;

typedef struct {
    unsigned     cpus;
    uint64_t     memory;            /* bytes */
    const char  *kernel;
    const char  *initrd;
    const char  *line;              /* the kernel's command line */
    fc_drive     drives[FC_DRIVES_MAX];     /* in the guest's order */
    unsigned     drive_count;
    const char  *vsock;             /* the socket that it makes */
    const char  *tap;               /* NULL: no network */
    const char  *mac;
    bool         balloon;           /* what the guest frees is given back */
} fc_machine;

/* One request; body is NULL for a GET. */
typedef struct {
    const char  *method;
    char         target[FC_PATH_MAX];
    char        *body;
    unsigned     timeout_ms;
} fc_request;

typedef struct {
    fc_request  r[FC_REQUESTS_MAX];
    unsigned    count;
} fc_plan;

/* From a new process to a running machine. */
void fc_plan_boot(fc_plan *plan, const fc_machine *m);

/* The same of one whose memory was kept; its devices come with that. */
void fc_plan_load(fc_plan *plan, const char *state, const char *memory);

/* What a disk of one that runs has for a limit from now on. */
void fc_plan_disk(fc_plan *plan, const char *id, const fc_limit *limit);

/* Its network may send and receive so many bytes a second, with room for one
 * second; 0: as it can. */
void fc_plan_rate(fc_plan *plan, uint64_t bytes);

/* Stops it and keeps its memory; and lets it go on if that has failed. */
void fc_plan_save(fc_plan *plan, const char *state, const char *memory,
    unsigned timeout_ms);
void fc_plan_resume(fc_plan *plan);

void fc_plan_free(fc_plan *plan);

/* The request as it is sent, malloc()ed. */
char *fc_request_text(const fc_request *r, size_t *len);

/* What was read of an answer. */
typedef struct {
    char    text[FC_HEAD_MAX + FC_BODY_MAX + 1];
    size_t  len;

    /* of a whole one */
    int     status;
    char   *body;                   /* in text; ends with a zero */
    size_t  body_len;
} fc_answer;

/* Looks at what has been read: 1 if it is the whole answer, 0 if more has to
 * come, -1 if it can't become one.  It is at most FC_HEAD_MAX + FC_BODY_MAX
 * bytes long; nothing comes behind it, since nothing else was asked. */
int fc_answer_look(fc_answer *a);

/* Why it was refused: printable, on one line. */
void fc_answer_fault(const fc_answer *a, char fault[FC_FAULT_MAX]);

#endif
