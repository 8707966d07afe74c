/* Environments; see env.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/env.h"

#define ENV_PASSWD_LINES  10000


static void *
env_alloc(void *p, size_t n)
{
    p = realloc(p, n);
    if (p == NULL) {
        fprintf(stderr, "out of memory\n");
        abort();
    }

    return p;
}


static size_t
env_count(char *const *env)
{
    size_t  n;

    for (n = 0; env[n] != NULL; n++) { /* count */ }

    return n;
}


/* Looks our user up in /etc/passwd: static programs can't ask NSS.  The file is
 * a guest's: a pipe, or one without an end, must not keep us from starting. */

static int
env_passwd(uid_t uid, char *name, size_t name_size, char *home,
    size_t home_size)
{
    int     fd, found, lines;
    char    line[1024], *field[7], *p;
    FILE   *f;
    size_t  i;

    fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    f = fd != -1 ? fdopen(fd, "r") : NULL;

    if (f == NULL) {
        if (fd != -1) {
            close(fd);
        }
        return 0;
    }

    found = 0;

    for (lines = 0; !found && lines < ENV_PASSWD_LINES; lines++) {
        if (fgets(line, sizeof(line), f) == NULL) {
            break;
        }

        p = line;
        for (i = 0; i < 7; i++) {
            field[i] = strsep(&p, ":\n");
            if (field[i] == NULL) {
                break;
            }
        }

        if (i == 7 && strtoul(field[2], NULL, 10) == uid
            && field[2][0] != '\0' && field[5][0] == '/')
        {
            snprintf(name, name_size, "%s", field[0]);
            snprintf(home, home_size, "%s", field[5]);
            found = 1;
        }
    }

    fclose(f);

    return found;
}


char **
env_default(void)
{
    char   name[128], home[512], **env;
    uid_t  uid;

    uid = getuid();
    snprintf(name, sizeof(name), "%s", uid == 0 ? "root" : "sandbox");
    snprintf(home, sizeof(home), "%s", uid == 0 ? "/root" : "/");
    env_passwd(uid, name, sizeof(name), home, sizeof(home));

    env = env_alloc(NULL, sizeof(char *));
    env[0] = NULL;

    env_set(&env, "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    env_set(&env, "HOME", home);
    env_set(&env, "USER", name);
    env_set(&env, "SHELL", "/bin/bash");
    env_set(&env, "LANG", "C.UTF-8");
    env_set(&env, "LC_ALL", "C.UTF-8");

    return env;
}


char **
env_copy(char *const *env)
{
    char    **copy;
    size_t    i, n;

    n = env_count(env);
    copy = env_alloc(NULL, (n + 1) * sizeof(char *));

    for (i = 0; i < n; i++) {
        copy[i] = env_alloc(NULL, strlen(env[i]) + 1);
        strcpy(copy[i], env[i]);
    }
    copy[n] = NULL;

    return copy;
}


void
env_free(char **env)
{
    size_t  i;

    if (env == NULL) {
        return;
    }

    for (i = 0; env[i] != NULL; i++) {
        free(env[i]);
    }
    free(env);
}


static char **
env_find(char *const *env, const char *name)
{
    size_t  i, n;

    n = strlen(name);

    for (i = 0; env[i] != NULL; i++) {
        if (strncmp(env[i], name, n) == 0 && env[i][n] == '=') {
            return (char **) &env[i];
        }
    }

    return NULL;
}


const char *
env_get(char *const *env, const char *name)
{
    char  **slot;

    slot = env_find(env, name);

    return slot == NULL ? NULL : *slot + strlen(name) + 1;
}


void
env_set(char ***env, const char *name, const char *value)
{
    char    **slot, *text;
    size_t    n;

    slot = env_find(*env, name);

    if (value == NULL) {
        if (slot != NULL) {
            free(*slot);
            n = env_count(slot + 1);
            memmove(slot, slot + 1, (n + 1) * sizeof(char *));
        }
        return;
    }

    text = env_alloc(NULL, strlen(name) + strlen(value) + 2);
    sprintf(text, "%s=%s", name, value);

    if (slot != NULL) {
        free(*slot);
        *slot = text;
        return;
    }

    n = env_count(*env);
    *env = env_alloc(*env, (n + 2) * sizeof(char *));
    (*env)[n] = text;
    (*env)[n + 1] = NULL;
}


int
env_name_valid(const char *name)
{
    const char  *p;

    if (name[0] == '\0' || (name[0] >= '0' && name[0] <= '9')) {
        return 0;
    }

    for (p = name; *p != '\0'; p++) {
        if (!((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')
              || (*p >= '0' && *p <= '9') || *p == '_'))
        {
            return 0;
        }
    }

    return 1;
}


int
env_check(const json_t *vars, const char *field, error **err)
{
    json_t      *v;
    const char  *name;

    if (vars == NULL || json_is_null(vars)) {
        return 0;
    }

    if (!json_is_object(vars)) {
        return error_set_field(err, 400, "validation_failed", field, 0,
                               "%s must be an object of strings", field);
    }

    if (json_object_size(vars) > ENV_MAX_VARS) {
        return error_set_field(err, 400, "validation_failed", field,
                               ENV_MAX_VARS, "%s has more than %d members",
                               field, ENV_MAX_VARS);
    }

    json_object_foreach((json_t *) vars, name, v) {
        if (!env_name_valid(name)) {
            return error_set_field(err, 400, "validation_failed", field, 0,
                                   ENV_NAME_ERROR "%.200s", name);
        }

        if (json_is_null(v)) {
            continue;
        }

        if (!json_is_string(v)) {
            return error_set_field(err, 400, "validation_failed", field, 0,
                                   "%s.%.200s must be a string", field, name);
        }

        if (strlen(json_string_value(v)) != json_string_length(v)) {
            return error_set_field(err, 400, "validation_failed", field, 0,
                                   "%s.%.200s holds a NUL", field, name);
        }
    }

    return 0;
}


int
env_merge(char ***env, const json_t *vars, int unset, const char *field,
    error **err)
{
    json_t      *v;
    const char  *name;

    if (env_check(vars, field, err) != 0) {
        return -1;
    }

    if (!json_is_object(vars)) {
        return 0;
    }

    json_object_foreach((json_t *) vars, name, v) {
        if (json_is_string(v) || unset) {
            env_set(env, name, json_string_value(v));
        }
    }

    return 0;
}


/* Adds to all what `to` has and `from` hasn't; with gone, as null. */

static int
env_differs(json_t *all, char *const *from, char *const *to, int gone)
{
    int          rc;
    char        *name, *value;
    size_t       i;
    const char  *had;

    for (rc = 0, i = 0; to[i] != NULL && rc == 0; i++) {
        name = strdup(to[i]);
        value = name != NULL ? strchr(name, '=') : NULL;
        if (value == NULL) {
            abort();
        }

        *value++ = '\0';
        had = env_get(from, name);

        if (had == NULL || (!gone && strcmp(had, value) != 0)) {
            rc = json_object_set_new(all, name, gone ? json_null()
                                                     : json_string(value));
        }

        free(name);
    }

    return rc;
}


json_t *
env_difference(char *const *from, char *const *to)
{
    json_t  *all;

    all = json_object();

    if (env_differs(all, from, to, 0) != 0
        || env_differs(all, to, from, 1) != 0)
    {
        json_decref(all);
        return NULL;
    }

    return all;
}
