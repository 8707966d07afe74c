/*
 * The memory that a sleep has kept belongs to one machine: that of the same
 * arguments, program, kernel and image.  For any other it is of no use.  See
 * machine.h.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/small_file.h"
#include "sandboxd/machine.h"

#define HASH_BEGIN  14695981039346656037ULL


static uint64_t
hash_bytes(uint64_t hash, const void *p, size_t len)
{
    size_t                i;
    const unsigned char  *bytes;

    bytes = p;

    for (i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211ULL;
    }

    return hash;
}


uint64_t
machine_identity(uint64_t hash, const char *path)
{
    struct stat  st;
    int64_t      of[5];

    memset(of, 0, sizeof(of));

    if (stat(path, &st) == 0) {
        of[0] = (int64_t) st.st_dev;
        of[1] = (int64_t) st.st_ino;
        of[2] = (int64_t) st.st_size;
        of[3] = (int64_t) st.st_mtim.tv_sec;
        of[4] = (int64_t) st.st_mtim.tv_nsec;
    }

    return hash_bytes(hash, of, sizeof(of));
}


int
machine_file_hash(const char *path, uint64_t *hash, error **err)
{
    int      fd;
    char     text[65536];
    ssize_t  n;

    *hash = HASH_BEGIN;
    n = -1;
    fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd != -1 && (n = read(fd, text, sizeof(text))) > 0) {
        *hash = hash_bytes(*hash, text, (size_t) n);
    }

    if (fd == -1 || n != 0) {
        box_failed(err, path);
    }

    if (fd != -1) {
        close(fd);
    }

    return fd != -1 && n == 0 ? 0 : -1;
}


uint64_t
machine_kept_kind(const char *word, uint64_t disk, uint64_t initramfs)
{
    uint64_t  hash;

    /* Without the key behind it. */
    hash = hash_bytes(initramfs, word, sizeof(MACHINE_KEPT) - 1 + 16);

    return hash_bytes(hash, &disk, sizeof(disk));
}


void
machine_kept_word(const machine_launch *l, const char *args, size_t len,
    const char *image, char word[VM_END_MAX])
{
    uint64_t  hash;

    hash = hash_bytes(HASH_BEGIN, args, len);
    hash = machine_identity(hash, l->m->program);
    hash = machine_identity(hash, l->m->kernel);
    hash = machine_identity(hash, image);

    snprintf(word, VM_END_MAX, MACHINE_KEPT "%016" PRIx64 " %s", hash, l->key);
}


bool
machine_kept_same(const char *a, const char *b)
{
    return strncmp(a, b, sizeof(MACHINE_KEPT) - 1 + 16) == 0;
}


void
machine_kept_rename(int dir, bool found)
{
    (void) unlinkat(dir, VMM_KEPT, 0);
    (void) unlinkat(dir, VMM_KEPT_STATE, 0);

    if (found) {
        (void) renameat(dir, "memory", dir, VMM_KEPT);
        (void) renameat(dir, "state", dir, VMM_KEPT_STATE);

    } else {
        (void) unlinkat(dir, "memory", 0);
        (void) unlinkat(dir, "state", 0);
    }
}


/* Nothing has been saved to their usual names since. */
void
machine_kept_back(int dir)
{
    struct stat  st;

    if (faccessat(dir, VMM_KEPT, F_OK, AT_SYMLINK_NOFOLLOW) == 0
        && (fstatat(dir, "memory", &st, AT_SYMLINK_NOFOLLOW) != 0
            || st.st_size == 0))
    {
        (void) renameat(dir, VMM_KEPT, dir, "memory");
        (void) renameat(dir, VMM_KEPT_STATE, dir, "state");
    }
}


void
machine_kept_mark(const char *boot_id, char mark[VM_WOKEN_MAX])
{
    snprintf(mark, VM_WOKEN_MAX, " %s", boot_id);
}


/* With the mark of an earlier boot, it may have gone on. */
static bool
word_fits(const char *text, const char *word, const char *boot_id)
{
    char    mark[VM_WOKEN_MAX];
    size_t  len;

    len = sizeof(MACHINE_KEPT) - 1 + 16 + 1 + 32;
    machine_kept_mark(boot_id, mark);

    return strlen(text) >= len && memcmp(text, word, len - 32) == 0
           && (text[len] == '\0' || strcmp(text + len, mark) == 0);
}


bool
machine_kept_any(int dir)
{
    bool  kept;
    char  text[VM_END_MAX];

    (void) small_file_text_at(dir, "end", O_NOFOLLOW, text, sizeof(text));
    kept = strncmp(text, MACHINE_KEPT, sizeof(MACHINE_KEPT) - 1) == 0;
    explicit_bzero(text, sizeof(text));

    return kept;
}


int
machine_kept_open(int dir, const char *word, const char *boot_id,
    char former[33], int *state)
{
    int   memory;
    char  text[VM_END_MAX];

    (void) small_file_text_at(dir, "end", O_NOFOLLOW, text, sizeof(text));
    memory = -1;

    if (word_fits(text, word, boot_id)) {
        memory = openat(dir, "memory", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        *state = openat(dir, "state", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        memcpy(former, text + sizeof(MACHINE_KEPT) - 1 + 16 + 1, 32);
        former[32] = '\0';
    }

    explicit_bzero(text, sizeof(text));

    return memory;
}
