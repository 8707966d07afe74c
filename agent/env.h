/*
 * Environments: NULL-terminated arrays of NAME=value, as execve() takes them.
 * The agent's own is made here and not inherited.
 */

#ifndef AGENT_ENV_H
#define AGENT_ENV_H

#include <jansson.h>

#include "common/error.h"

#define ENV_MAX_VARS    4096
#define ENV_NAME_ERROR  "Invalid environment variable name: "

/* PATH, HOME, LANG, LC_ALL, SHELL, USER as befits the user we run as. */
char **env_default(void);

char **env_copy(char *const *env);
void env_free(char **env);

/* The value of a variable, or NULL. */
const char *env_get(char *const *env, const char *name);

/* Sets or replaces; value NULL removes. */
void env_set(char ***env, const char *name, const char *value);

/* What makes an environment another one, as env_merge() takes it; null for what
 * is gone.  NULL: it can't be said in JSON. */
json_t *env_difference(char *const *from, char *const *to);

/* [A-Za-z_][A-Za-z0-9_]* */
int env_name_valid(const char *name);

/*
 * Lays a JSON object of strings over *env.  null leaves a variable as it is,
 * or removes it when unset is given; an absent object changes nothing.  Other
 * types, bad names, NUL in a value are an error that names field.
 */
int env_merge(char ***env, const json_t *vars, int unset, const char *field,
    error **err);

/* Only the check of env_merge(). */
int env_check(const json_t *vars, const char *field, error **err);

#endif
