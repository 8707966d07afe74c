/* The bare work; see work.h. */

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work.h"

extern char  **environ;

static char  work_scratch[1024 * 1024];


static void
work_must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}


static pid_t
work_start(char *const argv[], int in, int out)
{
    int                         rc;
    pid_t                       pid;
    posix_spawn_file_actions_t  fa;

    posix_spawn_file_actions_init(&fa);

    if (in == -1) {
        posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    } else {
        posix_spawn_file_actions_adddup2(&fa, in, 0);
    }
    if (out == -1) {
        posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    } else {
        posix_spawn_file_actions_adddup2(&fa, out, 1);
    }

    rc = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    work_must(rc == 0, argv[0]);

    return pid;
}


void
coproc_open(coproc *c, char *const argv[])
{
    int  in[2], out[2];

    work_must(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0,
              "pipe");
    c->pid = work_start(argv, in[0], out[1]);
    c->in = in[1];
    c->out = out[0];
    close(in[0]);
    close(out[1]);
}


void
coproc_send(coproc *c, const char *line)
{
    size_t  n;

    n = strlen(line);
    work_must(write(c->in, line, n) == (ssize_t) n, "coprocess");
}


void
coproc_receive(coproc *c)
{
    char     buf[256];
    ssize_t  n;

    do {
        n = read(c->out, buf, sizeof(buf));
        work_must(n > 0, "coprocess");
    } while (buf[n - 1] != '\n');
}


void
coproc_close(coproc *c)
{
    close(c->in);
    close(c->out);
    waitpid(c->pid, NULL, 0);
}


void
work_spawn(char *const argv[])
{
    waitpid(work_start(argv, -1, -1), NULL, 0);
}


size_t
work_drain(char *const argv[])
{
    int      out[2];
    pid_t    pid;
    size_t   sum;
    ssize_t  n;

    work_must(pipe2(out, O_CLOEXEC) == 0, "pipe");
    pid = work_start(argv, -1, out[1]);
    close(out[1]);
    sum = 0;

    while ((n = read(out[0], work_scratch, sizeof(work_scratch))) > 0) {
        sum += (size_t) n;
    }

    close(out[0]);
    waitpid(pid, NULL, 0);

    return sum;
}


void
work_shell(void)
{
    coproc  c;

    coproc_open(&c, (char *const []) { "bash", "--norc", NULL });
    coproc_send(&c, "echo ready\n");
    coproc_receive(&c);
    coproc_close(&c);
}


void
work_write(const char *file, const void *p, size_t n)
{
    int          fd;
    ssize_t      done;
    const char  *from;

    fd = open(file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    work_must(fd != -1, file);

    for (from = p; n != 0; from += done, n -= (size_t) done) {
        done = write(fd, from, n);
        work_must(done > 0, file);
    }

    close(fd);
}


void
work_read(const char *file, void *p, size_t n)
{
    int  fd;

    fd = open(file, O_RDONLY | O_CLOEXEC);
    work_must(fd != -1 && read(fd, p, n) >= 0, file);
    close(fd);
}


long
work_pss(pid_t pid)
{
    FILE  *f;
    long   kb;
    char   line[256];

    snprintf(line, sizeof(line), "/proc/%d/smaps_rollup", (int) pid);
    f = fopen(line, "r");
    kb = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "Pss: %ld", &kb) == 1) {
            break;
        }
    }

    if (f != NULL) {
        fclose(f);
    }

    return kb;
}


long
work_pss_children(pid_t pid, const char *name, int *count)
{
    DIR            *d;
    FILE           *f;
    int             parent;
    char            path[64], comm[64];
    long            kb;
    struct dirent  *e;

    kb = 0;
    *count = 0;
    d = opendir("/proc");
    work_must(d != NULL, "/proc");

    while ((e = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "/proc/%.20s/stat", e->d_name);
        f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "r")
                                                       : NULL;
        if (f == NULL) {
            continue;
        }

        if (fscanf(f, "%*d (%63[^)]) %*c %d", comm, &parent) == 2
            && parent == pid && strcmp(comm, name) == 0)
        {
            kb += work_pss(atoi(e->d_name));
            (*count)++;
        }

        fclose(f);
    }

    closedir(d);

    return kb;
}
