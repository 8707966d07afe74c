/*
 * The input of a running command that is written bit by bit: a pipe, and in
 * front of it a queue with a bound.  What doesn't fit isn't taken; what was
 * taken is written as the command reads, until it closes its end.
 */

#ifndef AGENT_FEED_H
#define AGENT_FEED_H

#include "agent/io.h"
#include "common/buffer.h"

#define FEED_MAX        (1024 * 1024)       /* of one command, */
#define FEED_TOTAL_MAX  (64 * 1024 * 1024)  /* of all, in the agent's memory */

typedef struct feed feed;

struct feed {
    io      *w;             /* NULL: not open yet, or closed */
    buffer   queue;
    int      opened;
    int      ended;         /* nothing more can be added */
    int      closed;        /* the command reads no more */
    void   (*room)(feed *f);
    void    *data;
};

feed *feed_new(void);

/* Makes the pipe; returns its end to read from, or -1.  Once. */
int feed_open(feed *f);

/* How many bytes all of them together take now. */
size_t feed_room_total(void);

/* How many bytes it takes now. */
size_t feed_room(const feed *f);

/* Takes them, however many; room() is called when the queue gets shorter or
 * the command has closed its end, never from here. */
void feed_add(feed *f, const void *p, size_t n);

/* After what is in the queue comes the end. */
void feed_end(feed *f);

/* The command is over. */
void feed_close(feed *f);

/* NULL is allowed. */
void feed_free(feed *f);

#endif
