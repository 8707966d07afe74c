/*
 * Reads a pipe that a command writes to, into the spool of whom it belongs to
 * at the moment, or into nothing: a job that was left behind may go on writing
 * for ever and must neither block nor die of SIGPIPE.
 */

#ifndef AGENT_READER_H
#define AGENT_READER_H

#include "agent/io.h"
#include "agent/spool.h"

#define READER_LEFT_MAX  512        /* pipes read into nothing */

typedef struct reader reader;

struct reader {
    reader   *next, *prev;          /* among those left behind */
    io       *w;                    /* NULL: the end was read */
    spool    *to;                   /* NULL: nowhere */
    void    (*cb)(void *data);      /* something was added */
    void     *data;
    int       left;
};

/* Makes a pipe; *write_end is the caller's, to be given away and closed.
 * NULL on failure. */
reader *reader_open(int *write_end, spool *to, void (*cb)(void *), void *data);

void reader_aim(reader *r, spool *to, void (*cb)(void *), void *data);

/* Takes everything that is there now, without calling back.  Returns 1 at the
 * end of the pipe, when nobody can write any more. */
int reader_drain(reader *r);

/* Both, with one look if there is nothing. */
void reader_drain_both(reader *a, reader *b);

/* Frees it, or leaves it to read into nothing until the end. */
void reader_leave(reader *r);

#endif
