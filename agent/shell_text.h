/*
 * What is written to a session's shell.  Pure text; docs/sessions.md tells why
 * each line is as it is.
 */

#ifndef AGENT_SHELL_TEXT_H
#define AGENT_SHELL_TEXT_H

#include <jansson.h>
#include <sys/types.h>

#include "common/buffer.h"

typedef struct {
    const char    *token;       /* names the command in the shell's reports */
    const char    *command;
    const char    *cwd;         /* NULL: stay */
    const json_t  *env;         /* NULL: none */
    const char    *prologue;    /* puts back what the last command changed */
    pid_t          shim;        /* holds what is opened by path */
    int            held_out;    /* output through the shim's descriptors, */
    int            held_in;     /* and input (place SHIM_HELD + 2) */
    unsigned       job;         /* background only */
} shell_text;

/* 'text' with every ' as '\''. */
void shell_quote(buffer *b, const char *text);

/* Nothing but blanks and comments: a syntax error inside a group. */
int shell_is_blank(const char *command);

/* The first lines for a new shell. */
void shell_init(buffer *b);

/* A shell that has waited becomes a session's: cwd NULL: stays where it is;
 * env NULL: none. */
void shell_welcome(buffer *b, const char *cwd, const json_t *env);

/* The text of a foreground command, to be sourced by the next one's line. */
void shell_foreground(buffer *b, const shell_text *t);

/* The line that has the text sourced and the end reported. */
void shell_line(buffer *b, const char *token);

/* Only the report: to find out whether the shell is at its prompt. */
void shell_probe(buffer *b, const char *token);

/* The text of a background job which inherits the session, and the lines that
 * start it and report that. */
void shell_background(buffer *b, const shell_text *t);
void shell_background_line(buffer *b, const shell_text *t);

/* One line of words for bash: each as it is if it holds nothing special, else
 * in $'...'. */
void shell_words(buffer *b, const json_t *argv);

#endif
