/* What is behind InstanceStart; see fc_stub.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/driver/fc_stub.h"

#define KEPT_AT  (1 << 20)          /* on the third disk */
#define MAGIC    "played memory\n"

static pid_t       guest_pid;
static bool        guest_told;
static char        guest_disk[256];


static unsigned long
hex(const char *p)
{
    char  text[9] = "";

    memcpy(text, p, 8);

    return strtoul(text, NULL, 16);
}


static bool
entry(FILE *f, const char *to, const char *name, unsigned long mode,
    unsigned long size)
{
    int    fd;
    bool   fine;
    char  *data, path[1024];

    data = calloc(1, size + 1);
    snprintf(path, sizeof(path), "%s/%s", to, name);
    fine = fread(data, 1, size, f) == size;

    if (S_ISDIR(mode)) {
        fine = fine && (mkdir(path, 0755) == 0 || errno == EEXIST);

    } else if (S_ISLNK(mode)) {
        fine = fine && symlink(data, path) == 0;

    } else {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode & 0777);
        fine = fine && fd != -1 && write(fd, data, size) == (ssize_t) size;
        if (fd != -1) {
            close(fd);
        }
    }

    free(data);

    return fine;
}


/* only: that file alone. */
static bool
unpack(const char *archive, const char *to, const char *only)
{
    FILE          *f;
    bool           fine;
    char           head[111] = "", name[512];
    unsigned long  mode, size, len;

    f = fopen(archive, "re");
    fine = f != NULL;

    while (fine && fread(head, 1, 110, f) == 110
           && memcmp(head, "070701", 6) == 0)
    {
        mode = hex(head + 14);
        size = hex(head + 54);
        len = hex(head + 94);
        fine = len < sizeof(name) && fread(name, 1, len, f) == len;
        fseek(f, (4 - ftell(f) % 4) % 4, SEEK_CUR);

        if (!fine || strcmp(name, "TRAILER!!!") == 0) {
            break;
        }

        if (only == NULL || strcmp(name, only) == 0) {
            fine = entry(f, to, name, mode, size);
        } else {
            fseek(f, (long) size, SEEK_CUR);
        }

        fseek(f, (4 - ftell(f) % 4) % 4, SEEK_CUR);
    }

    if (f != NULL) {
        fclose(f);
    }

    return fine && memcmp(head, "070701", 6) == 0;
}


static int
run(char *const argv[], int in, int out)
{
    int    status;
    pid_t  pid;

    pid = fork();
    if (pid == 0) {
        dup2(in, 0);
        dup2(out, 1);
        execv(argv[0], argv);
        _exit(127);
    }

    return waitpid(pid, &status, 0) == pid ? status : -1;
}


static char *const  pack_argv[] = { "/bin/busybox", "tar", "-cf", "-", "-C",
                                    "/", "workspace", NULL };
static char *const  unpack_argv[] = { "/bin/busybox", "tar", "-xf", "-", "-C",
                                      "/", NULL };


bool
guest_fault(const char *word)
{
    int      fd;
    char     text[256];
    ssize_t  n;

    fd = open("/fault", O_RDONLY | O_CLOEXEC);
    n = fd != -1 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd != -1) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';

    return strstr(text, word) != NULL;
}


/* The end of what a command line says of a name. */
static bool
told(const char *line, const char *name, char *value, size_t size)
{
    const char  *p;

    p = strstr(line, name);
    if (p == NULL || p[strlen(name)] != '=') {
        return false;
    }

    p += strlen(name) + 1;
    snprintf(value, size, "%.*s", (int) strcspn(p, " "), p);

    return true;
}


static void
agent_run(void)
{
    static char *const  argv[] = { "/guest/init", NULL };
    static char *const  env[] = { "PATH=/bin", "HOME=/root",
        "SANDBOX_LISTEN=unix:" GUEST_AGENT, "SANDBOX_BOOT_FILE=/guest/boot",
        NULL };

    guest_pid = fork();

    if (guest_pid == 0) {
        setsid();
        dup2(1, 2);
        execve(argv[0], argv, env);
        perror(argv[0]);
        _exit(127);
    }
}


static bool
copy(const char *from, const char *to, off_t at, const char *before)
{
    int      in, out;
    char     block[65536];
    bool     fine;
    ssize_t  n;

    in = open(from, O_RDONLY | O_CLOEXEC);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fine = in != -1 && out != -1 && lseek(in, at, SEEK_SET) == at
           && write(out, before, strlen(before)) == (ssize_t) strlen(before);

    while (fine && (n = read(in, block, sizeof(block))) > 0) {
        fine = write(out, block, (size_t) n) == n;
    }

    close(in);
    close(out);

    return fine;
}


/* The disks are found by the order that the agent is told, since they have no
 * serial numbers. */
static const char *
guest_prepare(const guest_machine *m)
{
    char  value[256];

    if (!told(m->line, "SANDBOX_LISTEN", value, sizeof(value))
        || sscanf(value, "vsock:%u", &guest_port) != 1
        || !told(m->line, "SANDBOX_DISKS", value, sizeof(value))
        || strcmp(value, "boot,root,disk") != 0 || m->drive_count != 3
        || !told(m->line, "SANDBOX_BOOT_FILE", value, sizeof(value))
        || strcmp(value, "/dev/sandbox/boot") != 0
        || !told(m->line, "SANDBOX_POWER", value, sizeof(value))
        || strcmp(value, "reboot") != 0)
    {
        return "the guest wouldn't start with this command line";
    }

    snprintf(guest_disk, sizeof(guest_disk), "%s", m->drives[2]);
    (void) mkdir("/guest", 0700);
    (void) mkdir("/tmp", 0700);
    (void) mkdir("/root", 0700);
    (void) mkdir("/workspace", 0755);

    if (!unpack(m->initrd, "/guest", "init")) {
        return "no initramfs";
    }

    return unpack(m->drives[1], "/", NULL) ? NULL : "no root file system";
}


const char *
guest_start(const guest_machine *m)
{
    int          fd;
    const char  *bad;
    char         magic[4] = "";

    bad = guest_prepare(m);
    if (bad != NULL) {
        return bad;
    }

    if (!copy(m->drives[0], "/guest/boot", 0, "")) {
        return "no boot object";
    }
    /* For what plays the memory later. */
    (void) copy("/guest/boot", "/guest/kept", 0, "");

    fd = open(guest_disk, O_RDWR | O_CLOEXEC);
    if (fd == -1) {
        return "no disk";
    }

    if (pread(fd, magic, 4, KEPT_AT) == 4 && memcmp(magic, "work", 4) == 0) {
        lseek(fd, KEPT_AT, SEEK_SET);
        (void) run(unpack_argv, fd, 1);
    }
    close(fd);

    printf("Linux version 0 (played)\n");
    fflush(stdout);
    agent_run();

    return NULL;
}


void
guest_pause(bool on)
{
    kill(-guest_pid, on ? SIGSTOP : SIGCONT);
}


const char *
guest_save(const guest_machine *m, const char *state, const char *memory)
{
    int          out;
    FILE        *f;
    const char  *bad;

    if (guest_fault("snapshot")) {
        return "Cannot create snapshot: a fault that was asked for";
    }

    f = fopen(state, "we");
    if (f == NULL) {
        return "Cannot open the snapshot file";
    }

    fwrite(MAGIC, 1, sizeof(MAGIC) - 1, f);
    fwrite(m, 1, sizeof(*m), f);
    bad = ferror(f) | fclose(f) ? "Cannot write the snapshot file" : NULL;

    /* First the boot object, which has the key, then what is a file inside. */
    if (bad == NULL && !copy("/guest/kept", memory, 0, MAGIC)) {
        bad = "Cannot open the memory file";
    }

    out = open(memory, O_WRONLY | O_CLOEXEC);
    if (bad == NULL
        && (out == -1 || ftruncate(out, 4 << 20) != 0
            || lseek(out, 4 << 20, SEEK_SET) == -1
            || run(pack_argv, 0, out) != 0))
    {
        bad = "Cannot write the memory file";
    }

    close(out);

    return bad;
}


const char *
guest_load(guest_machine *m, const char *state, const char *memory)
{
    int          in;
    FILE        *f;
    bool         fine;
    char         magic[sizeof(MAGIC)] = "";
    const char  *bad;

    f = fopen(state, "re");
    fine = f != NULL && fread(magic, 1, sizeof(MAGIC) - 1, f)
                        == sizeof(MAGIC) - 1
           && strcmp(magic, MAGIC) == 0
           && fread(m, 1, sizeof(*m), f) == sizeof(*m);
    if (f != NULL) {
        fclose(f);
    }

    if (!fine || (bad = guest_prepare(m)) != NULL || guest_fault("load")) {
        return "Load snapshot error: the state is invalid";
    }

    in = open(memory, O_RDONLY | O_CLOEXEC);

    if (in == -1 || !copy(memory, "/guest/boot", sizeof(MAGIC) - 1, "")
        || truncate("/guest/boot", (1 << 20) + 4096) != 0
        || lseek(in, 4 << 20, SEEK_SET) == -1
        || run(unpack_argv, in, 1) != 0)
    {
        return "Load snapshot error: the memory is invalid";
    }

    (void) copy("/guest/boot", "/guest/kept", 0, "");
    close(in);
    bad = guest_vsock(m->vsock);
    if (bad == NULL) {
        /* It said so when it began. */
        guest_told = true;
        agent_run();
    }

    return bad;
}


void
guest_look(void)
{
    int   fd, status;

    if (guest_pid == 0) {
        return;
    }

    if (waitpid(guest_pid, &status, WNOHANG) == guest_pid) {
        fd = open(guest_disk, O_WRONLY | O_CLOEXEC);
        if (fd != -1 && status == 0 && lseek(fd, KEPT_AT, SEEK_SET) != -1) {
            (void) run(pack_argv, 0, fd);
        }
        exit(0);
    }

    if (!guest_told && (fd = guest_dial()) != -1) {
        close(fd);
        guest_told = true;
        if (!guest_fault("mute")) {
            printf("played: info: init: ready\n");
            fflush(stdout);
        }
    }
}
