/*
 * What the files of a pattern share: pattern_parse.c makes a tree of the text,
 * pattern.c makes a program of the tree, pattern_search.c runs it.  Everybody
 * else sees agent/pattern.h only.
 */

#ifndef AGENT_PATTERN_INTERNAL_H
#define AGENT_PATTERN_INTERNAL_H

#include <stdint.h>

#include "agent/pattern.h"

#define PATTERN_NODES    4096
#define PATTERN_RANGES   1024
#define PATTERN_CLASSES  128
#define PATTERN_REPEAT   1000
#define PATTERN_SLOTS    (2 * (PATTERN_GROUPS + 1))

typedef enum {
    NODE_EMPTY,
    NODE_CHAR,
    NODE_ANY,
    NODE_CLASS,
    NODE_BEGIN,
    NODE_END,
    NODE_WORD,          /* \b; value 1: \B */
    NODE_PAIR,          /* a, then b */
    NODE_EITHER,        /* a or b */
    NODE_REPEAT,        /* a, min to max times */
    NODE_GROUP          /* a, as group number `value` */
} node_kind;

typedef struct {
    node_kind  kind;
    int        a, b;
    int        min, max;        /* max -1: any number */
    int        lazy;
    uint32_t   value;           /* character, class or group */
} node;

typedef enum {
    STEP_CHAR,
    STEP_ANY,
    STEP_CLASS,
    STEP_BEGIN,
    STEP_END,
    STEP_WORD,
    STEP_JUMP,          /* to x */
    STEP_SPLIT,         /* to x, or else y */
    STEP_SAVE,          /* the place in slot x */
    STEP_FOUND
} step_kind;

typedef struct {
    step_kind  kind;
    uint32_t   x, y;
} step;

typedef struct {
    uint32_t  from, to;
} range;

typedef struct {
    unsigned  first, count;
    int       negated;
} char_class;

typedef struct {
    int32_t  at[PATTERN_SLOTS];
} slots;

typedef struct {
    unsigned   count;
    unsigned  *step;            /* in order of priority */
    slots     *saved;
} threads;

struct pattern {
    step         program[PATTERN_PROGRAM];
    unsigned     nsteps;
    range        ranges[PATTERN_RANGES];
    unsigned     nranges;
    char_class   classes[PATTERN_CLASSES];
    unsigned     nclasses;
    unsigned     ngroups;
    int          ignore_case;
    int          dot_all;

    /* While it runs. */
    threads      set[2];
    unsigned    *seen;          /* the round in which a step was entered */
    unsigned     round;
};

typedef struct {
    pattern     *p;
    node        *nodes;
    int          nnodes;
    const char  *at, *end;
    int          depth;
    const char  *wrong;         /* the first thing that is */
} parser;

/* One character; a byte that is none is U+FFFD. */
uint32_t pattern_char(const char *text, size_t n, size_t *len);

/* The whole text; the number of the tree's top. */
int pattern_parse(parser *ps);

/* The first reason counts; 0. */
int pattern_parse_fail(parser *ps, const char *why);

#endif
