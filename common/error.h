/*
 * The error object: a code for programs, an HTTP status, a message for people.
 * Functions that can fail take `error **err` last and return NULL, false or -1
 * after setting it; whoever receives an error frees it.
 */

#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

typedef struct {
    char  code[32];         /* snake_case, e.g. "not_found" */
    int   status;           /* the HTTP status that fits */
    int   retry_after;      /* seconds; 0: none */
    char  field[64];        /* the offending member, or "" */
    long long  limit;       /* that was exceeded; 0: none */
    char  message[512];     /* one sentence, no trailing full stop needed */
} error;

/* Sets *err (if err is not NULL) and returns -1 for `return error_set(...)`. */
int error_set(error **err, int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The same, naming the member and its limit (0: none). */
int error_set_field(error **err, int status, const char *code,
    const char *field, long long limit, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* Puts "context: " before the message. */
void error_prefix(error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The member that it is about is one of an object's: "env.A", not "A". */
void error_inside(error *err, const char *object);

void error_free(error *err);

/* For `__attribute__((cleanup(error_cleanup))) error *err = NULL;` */
void error_cleanup(error **err);

#endif
