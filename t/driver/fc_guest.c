/* What is behind InstanceStart; see fc_stub.h. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/driver/fc_stub.h"

#define CONNECTIONS  1023
#define AGENT        "/guest/agent.sock"
#define KEPT_AT      (1 << 20)          /* on the third disk */
#define MAGIC        "played memory\n"

static pid_t       guest_pid;
static atomic_int  guest_count, guest_mute;
static unsigned    guest_port;
static bool        guest_told;
static char        guest_disk[256];


static int
dial(const char *path)
{
    int                 fd;
    struct sockaddr_un  un = { .sun_family = AF_UNIX };

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *) &un, sizeof(un)) != 0) {
        close(fd);
        return -1;
    }

    return fd;
}


static bool
push(int fd, const char *p, ssize_t n)
{
    ssize_t  sent;

    while (n > 0) {
        sent = send(fd, p, (size_t) n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        p += sent;
        n -= sent;
    }

    return true;
}


/* The key of an agent that has gone on is in its memory, which isn't really
 * kept: what it was told is, instead of what it was told at first. */
static void
remember(const char *text, size_t len)
{
    FILE        *f;
    const char  *body;

    body = memmem(text, len, "\r\n\r\n", 4);

    if (memmem(text, len, "\nPUT /internal/restore HTTP", 27) == NULL
        || body == NULL || text[len - 1] != '}')
    {
        return;
    }

    f = fopen("/guest/kept", "we");
    if (f != NULL) {
        fwrite(body + 4, 1, len - (size_t) (body + 4 - text), f);
        fclose(f);
    }
}


/* a: the host's side */
static void
carry(int a, int b)
{
    int            i, open_sides;
    char           block[65536];
    ssize_t        n;
    struct pollfd  p[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };

    for (open_sides = 2; open_sides > 0; ) {
        if (poll(p, 2, -1) < 0) {
            return;
        }

        for (i = 0; i < 2; i++) {
            if (p[i].fd == -1 || p[i].revents == 0) {
                continue;
            }

            n = recv(p[i].fd, block, sizeof(block), 0);

            if (n > 0 && i == 0) {
                remember(block, (size_t) n);
            }

            if (n <= 0) {
                shutdown(i == 0 ? b : a, SHUT_WR);
                p[i].fd = -1;
                open_sides--;

            } else if (!push(i == 0 ? b : a, block, n)) {
                return;
            }
        }
    }
}


/* The line has to come in one piece, as it is read by the real one. */
static void *
connection(void *data)
{
    int       fd, agent;
    char      line[33], *end, ok[32];
    ssize_t   n;
    unsigned  port;

    fd = (int) (long) data;
    agent = -1;
    n = recv(fd, line, sizeof(line) - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    end = strchr(line, '\n');

    if (guest_mute) {
        (void) recv(fd, ok, 1, 0);

    } else if (end != NULL && sscanf(line, "CONNECT %u\n", &port) == 1
               && port == guest_port && (agent = dial(AGENT)) != -1)
    {
        snprintf(ok, sizeof(ok), "OK %d\n", 1073741824 + fd);

        if (push(fd, ok, (ssize_t) strlen(ok))
            && push(agent, end + 1, n - (end + 1 - line)))
        {
            carry(fd, agent);
        }
    }

    if (agent != -1) {
        close(agent);
    }
    close(fd);
    guest_count--;

    return NULL;
}


static void * __attribute__((noreturn))
accepts(void *data)
{
    int        fd;
    pthread_t  thread;

    for ( ;; ) {
        fd = accept4((int) (long) data, NULL, NULL, SOCK_CLOEXEC);

        if (fd == -1) {
            continue;
        }

        if (++guest_count > CONNECTIONS
            || pthread_create(&thread, NULL, connection, (void *) (long) fd)
               != 0)
        {
            guest_count--;
            close(fd);
            continue;
        }

        pthread_detach(thread);
    }
}


const char *
guest_vsock(const char *path)
{
    int                 fd;
    pthread_t           thread;
    struct sockaddr_un  un = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(un.sun_path)) {
        return "Cannot create backend for vsock device: path too long";
    }

    strcpy(un.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *) &un, sizeof(un)) != 0
        || listen(fd, 128) != 0
        || pthread_create(&thread, NULL, accepts, (void *) (long) fd) != 0)
    {
        return errno == EADDRINUSE
               ? "Cannot create backend for vsock device: Address in use"
               : "Cannot create backend for vsock device";
    }

    return NULL;
}


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


/* A word in the guest's file of faults. */
static bool
fault(const char *word)
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
        "SANDBOX_LISTEN=unix:" AGENT, "SANDBOX_BOOT_FILE=/guest/boot", NULL };

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


void
guest_dead(void)
{
    guest_mute = 1;
}


const char *
guest_save(const guest_machine *m, const char *state, const char *memory)
{
    int          out;
    FILE        *f;
    const char  *bad;

    if (fault("snapshot")) {
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

    if (!fine || (bad = guest_prepare(m)) != NULL || fault("load")) {
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

    if (!guest_told && (fd = dial(AGENT)) != -1) {
        close(fd);
        guest_told = true;
        if (!fault("mute")) {
            printf("played: info: init: ready\n");
            fflush(stdout);
        }
    }
}
