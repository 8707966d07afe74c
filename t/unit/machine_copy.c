/* sources: sandboxd/machine_copy.c sandboxd/disk_file.c sandboxd/box_dir.c sandboxd/slot_lock.c common/small_file.c common/process_start.c common/error.c */
/* libs: -luv -ljansson */

/* Copies of a machine's files: complete, and on the disk before anybody is told
 * of them. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sandboxd/machine.h"
#include "t/unit/tap.h"

#define WORD  MACHINE_KEPT "0123456789abcdef 00112233445566778899aabbccddeeff"

static char         from[64], to[64];
static char         synced[512];        /* names, in their order */
static const char  *refuse = "";        /* is not synced */
static fsblkcnt_t   room = 1000000;
static int          status;             /* of the last copy */


/* In place of the system's. */
int
fsync(int fd)
{
    char     link[40], path[512], *name;
    ssize_t  n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    name = strrchr(path, '/') + 1;
    snprintf(synced + strlen(synced), sizeof(synced) - strlen(synced), "%s%s",
             synced[0] != '\0' ? " " : "",
             strcmp(path, to) == 0 ? "." : strncmp(path, to, strlen(to)) == 0
             ? name : "..");

    if (strcmp(name, refuse) == 0) {
        errno = EIO;
        return -1;
    }

    return 0;
}


/* The same; what is free. */
int
fstatvfs(int fd, struct statvfs *fs)
{
    memset(fs, 0, sizeof(*fs));
    fs->f_frsize = 4096;
    fs->f_bavail = room;

    return 0;
}


static void
put(const char *dir, const char *name, const char *text)
{
    char   path[128];
    FILE  *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");

    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        abort();
    }
}


static bool
has(const char *name, const char *text)
{
    char     path[128], got[256];
    size_t   n;
    FILE    *f;

    snprintf(path, sizeof(path), "%s/%s", to, name);
    f = fopen(path, "r");

    if (f == NULL) {
        return text == NULL;
    }

    n = fread(got, 1, sizeof(got) - 1, f);
    got[n] = '\0';
    fclose(f);

    return text != NULL && strcmp(got, text) == 0;
}


static int
copy(bool *memory)
{
    int     rc;
    error  *err;

    err = NULL;
    synced[0] = '\0';
    rc = machine_copy(from, false, to, 1 << 20, memory, &err);
    printf("# %d: %s; synced: %s\n", rc, err != NULL ? err->message : "",
           synced);
    status = err != NULL ? err->status : 0;
    error_free(err);

    return rc;
}


static void
again(void)
{
    error  *err;

    err = NULL;
    ok(machine_dir_remove(to, &err) == 0 && access(to, F_OK) == -1,
       "it is removed");
    error_free(err);
}


int
main(void)
{
    bool  memory;
    char  dir[] = "/tmp/sbx-unit-XXXXXX", command[64];

    if (mkdtemp(dir) == NULL) {
        return 1;
    }

    snprintf(from, sizeof(from), "%s/from", dir);
    snprintf(to, sizeof(to), "%s/to", dir);

    ok(copy(&memory) == 0 && !memory && access(to, F_OK) == -1,
       "of nothing there is no copy");

    mkdir(from, 0700);
    put(from, "lock", "");
    put(from, "disk", "the disk");
    put(from, "memory", "the memory");
    put(from, "state", "the state");
    put(from, "end", WORD);
    ok(copy(&memory) == 0 && memory, "one that sleeps, with its memory");
    ok(has("disk", "the disk") && has("memory", "the memory")
       && has("state", "the state") && has("end", WORD), "all of it");
    ok(strcmp(synced, "disk memory state end . ..") == 0,
       "which a power loss leaves, the last word last");
    put(to, VMM_KEPT, "a memory");
    put(to, VMM_KEPT_STATE, "on its way");
    again();

    refuse = "memory";
    ok(copy(&memory) == -1 && has("end", NULL),
       "a disk that fails: the memory is nobody's");
    again();
    refuse = "end";
    ok(copy(&memory) == -1, "at the end, too");
    again();
    refuse = "";

    room = 256;
    ok(copy(&memory) == -1 && status == 507,
       "none that leaves too little disk");
    again();
    room = 1000000;

    put(from, "end", "it was killed");
    ok(copy(&memory) == 0 && !memory && has("memory", NULL)
       && has("end", NULL), "one without a memory");
    ok(strcmp(synced, "disk . ..") == 0, "is as durable");
    again();

    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ok(system(command) == 0, "cleared away");

    return done_testing();
}
