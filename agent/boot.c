/* The boot object; see boot.h. */

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/env.h"
#include "common/buffer.h"
#include "common/log.h"


static int
boot_string(const json_t *o, const char *name, char *out, size_t size,
    error **err)
{
    const json_t  *v;

    v = json_object_get(o, name);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    if (!json_is_string(v)) {
        return error_set_field(err, 400, "invalid_boot", name, 0,
                               "%s must be a string", name);
    }

    if (json_string_length(v) >= size) {
        return error_set_field(err, 400, "invalid_boot", name,
                               (long long) size - 1, "%s is longer than %zu",
                               name, size - 1);
    }

    memcpy(out, json_string_value(v), json_string_length(v) + 1);

    return 0;
}


/* A kernel can't hand a command with dashes and spaces to its init. */

static int
boot_command(agent_state *a, const json_t *list, error **err)
{
    size_t        i, n;
    const char   *text;

    n = json_array_size(list);

    if (list == NULL || json_is_null(list)) {
        return 0;
    }

    if (n == 0 || n > BOOT_ARGS_MAX) {
        return error_set_field(err, 400, "invalid_boot", "command",
                               BOOT_ARGS_MAX,
                               "command must be from 1 to %d strings",
                               BOOT_ARGS_MAX);
    }

    a->command = calloc(n + 1, sizeof(char *));
    if (a->command == NULL) {
        abort();
    }

    for (i = 0; i < n; i++) {
        text = json_string_value(json_array_get(list, i));
        if (text == NULL) {
            return error_set_field(err, 400, "invalid_boot", "command", 0,
                                   "command must be an array of strings");
        }
        a->command[i] = strdup(text);
    }

    return 0;
}


int
boot_parse(agent_state *a, const char *text, size_t len, error **err)
{
    int            rc;
    char           key[sizeof(a->key)];
    json_t        *o;
    json_error_t   why;

    o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(o)) {
        json_decref(o);
        return error_set(err, 400, "invalid_boot",
                         "the boot object is no JSON object: %s", why.text);
    }

    rc = -1;
    key[0] = '\0';

    if (json_integer_value(json_object_get(o, "version")) != 1) {
        error_set_field(err, 400, "invalid_boot", "version", 1,
                        "version must be 1");
        goto done;
    }

    if (boot_string(o, "key", key, sizeof(key), err) != 0
        || boot_string(o, "id", a->id, sizeof(a->id), err) != 0
        || boot_string(o, "hostname", a->hostname, sizeof(a->hostname), err)
           != 0
        || boot_string(o, "cwd", a->cwd, sizeof(a->cwd), err) != 0)
    {
        goto done;
    }

    if (!first_line_key_valid(key, strlen(key))) {
        error_set_field(err, 400, "invalid_boot", "key", KEY_LEN,
                        "key must be %d lower-case hex digits", KEY_LEN);
        goto done;
    }

    if (boot_command(a, json_object_get(o, "command"), err) != 0
        || vm_config_parse(&a->vm, o, err) != 0)
    {
        goto done;
    }

    memcpy(a->key, key, sizeof(key));
    a->epoch = (unsigned) json_integer_value(json_object_get(o, "epoch"));

    a->own_env = env_copy(a->env);
    a->told_env = json_incref(json_object_get(o, "env"));

    if (env_merge(&a->env, a->told_env, 0, "env", err) != 0) {
        goto done;
    }

    rc = 0;

done:

    /* The string that jansson holds is wiped with the rest of its memory. */
    memset((char *) (json_string_value(json_object_get(o, "key"))
               ? json_string_value(json_object_get(o, "key")) : key), 0,
           json_string_length(json_object_get(o, "key")));
    json_decref(o);

    return rc;
}


static int
boot_read_all(int fd, buffer *b, error **err)
{
    ssize_t  n;

    for ( ;; ) {
        n = read(fd, buffer_room(b, 4096), 4096);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0) {
            return error_set(err, 500, "invalid_boot", "read: %s",
                             strerror(errno));
        }

        if (n == 0) {
            return 0;
        }

        buffer_added(b, (size_t) n);

        if (b->len > BOOT_MAX) {
            return error_set(err, 413, "invalid_boot",
                             "the boot object is longer than %d bytes",
                             BOOT_MAX);
        }
    }
}


static void
boot_wipe(buffer *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->size);
    }
    buffer_free(b);
}


int
boot_read_fd(agent_state *a, int fd, error **err)
{
    int     rc;
    buffer  b;

    memset(&b, 0, sizeof(b));
    rc = boot_read_all(fd, &b, err);
    close(fd);

    if (rc == 0) {
        rc = boot_parse(a, buffer_bytes(&b), b.len, err);
    }

    boot_wipe(&b);

    return rc;
}


/* A drive is read up to the zeros behind the object. */

static int
boot_read_drive(int fd, buffer *b, error **err)
{
    char     *p, *end;
    ssize_t   n;

    while (b->len <= BOOT_MAX) {
        p = buffer_room(b, 4096);
        n = read(fd, p, 4096);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0) {
            return error_set(err, 500, "invalid_boot", "read: %s",
                             strerror(errno));
        }

        end = memchr(p, '\0', (size_t) n);
        buffer_added(b, end != NULL ? (size_t) (end - p) : (size_t) n);

        if (n == 0 || end != NULL) {
            return 0;
        }
    }

    return error_set(err, 413, "invalid_boot",
                     "the boot object is longer than %d bytes", BOOT_MAX);
}


/* Overwrites what was read; a plain file goes away as well. */

static void
boot_forget(const char *path, size_t len)
{
    int           fd;
    size_t        n;
    struct stat   st;
    static char   zeros[4096];

    fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd == -1 || fstat(fd, &st) != 0) {
        log_warn("boot: %s can't be wiped: %s", path, strerror(errno));
        if (fd != -1) {
            close(fd);
        }
        return;
    }

    for (n = 0; n < len; n += sizeof(zeros)) {
        if (write(fd, zeros, sizeof(zeros)) != (ssize_t) sizeof(zeros)) {
            log_warn("boot: %s can't be wiped: %s", path, strerror(errno));
            break;
        }
    }

    fsync(fd);
    close(fd);

    if (S_ISREG(st.st_mode)) {
        unlink(path);
    }
}


int
boot_read_file(agent_state *a, const char *path, error **err)
{
    int     fd, rc;
    buffer  b;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return error_set(err, 500, "invalid_boot", "%s: %s", path,
                         strerror(errno));
    }

    memset(&b, 0, sizeof(b));
    rc = boot_read_drive(fd, &b, err);
    close(fd);

    if (rc == 0) {
        rc = boot_parse(a, buffer_bytes(&b), b.len, err);
    }

    if (rc == 0) {
        boot_forget(path, b.len);
    }

    boot_wipe(&b);

    return rc;
}


int
boot_read_key_file(agent_state *a, const char *path, error **err)
{
    int      fd;
    char     text[KEY_LEN + 2];
    ssize_t  n;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return error_set(err, 500, "invalid_boot", "%s: %s", path,
                         strerror(errno));
    }

    n = read(fd, text, sizeof(text));
    close(fd);

    if (n < KEY_LEN || !first_line_key_valid(text, KEY_LEN)
        || (n > KEY_LEN && text[KEY_LEN] != '\n'))
    {
        return error_set(err, 400, "invalid_boot",
                         "%s: not a key of %d lower-case hex digits", path,
                         KEY_LEN);
    }

    memcpy(a->key, text, KEY_LEN);
    a->key[KEY_LEN] = '\0';

    return 0;
}
