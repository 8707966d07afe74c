/*
 * The bare work that the benchmarks' figures are put beside.
 *
 *   floors coproc N         a bash coprocess runs `true` and says so
 *   floors spawn N          posix_spawn and wait of `bash --norc -c true`
 *   floors crun N P DIR     fsync of a small file in DIR, then `crun run` of
 *                           the bundle in DIR, N times, P of them at once
 *
 * Prints p50 and p99 in milliseconds as JSON.
 */

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char  **environ;


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
}


static int
compare(const void *a, const void *b)
{
    double  x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}


static void
report(double *times, int n)
{
    qsort(times, (size_t) n, sizeof(double), compare);
    printf("{\"p50\":%.3f,\"p99\":%.3f,\"n\":%d}\n", times[n / 2],
           times[n * 99 / 100], n);
}


static void
coproc(double *times, int n)
{
    int     i, in[2], out[2];
    char    buf[64];
    pid_t   pid;
    double  begun;

    if (pipe(in) == -1 || pipe(out) == -1 || (pid = fork()) == -1) {
        exit(1);
    }

    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execlp("bash", "bash", "--norc", (char *) NULL);
        _exit(127);
    }

    close(in[0]);
    close(out[1]);

    for (i = 0; i < n; i++) {
        begun = now();
        if (write(in[1], "true; echo $?\n", 14) != 14
            || read(out[0], buf, sizeof(buf)) <= 0)
        {
            exit(1);
        }
        times[i] = now() - begun;
    }

    close(in[1]);
    waitpid(pid, NULL, 0);
}


static pid_t
spawn(char *const argv[])
{
    pid_t                       pid;
    posix_spawn_file_actions_t  fa;

    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);

    if (posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ) != 0) {
        perror(argv[0]);
        exit(1);
    }

    posix_spawn_file_actions_destroy(&fa);

    return pid;
}


static void
run_crun(double *time, const char *dir, int i)
{
    int     fd, status;
    char    file[4096], id[64], bundle[4096], root[4096];
    double  begun;

    snprintf(file, sizeof(file), "%s/record.%d", dir, i);
    snprintf(bundle, sizeof(bundle), "%s", dir);
    snprintf(root, sizeof(root), "%s/crun", dir);
    snprintf(id, sizeof(id), "floor-%d-%d", (int) getpid(), i);

    begun = now();

    fd = open(file, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (fd == -1 || write(fd, "record\n", 7) != 7 || fsync(fd) == -1) {
        perror(file);
        exit(1);
    }
    close(fd);

    waitpid(spawn((char *const []) { "crun", "--root", root,
                  "--cgroup-manager=disabled", "run", "-b", bundle, id,
                  NULL }), &status, 0);
    *time = now() - begun;

    if (status != 0) {
        fprintf(stderr, "floors: crun ended with %d\n", status);
        exit(1);
    }
}


int
main(int argc, char **argv)
{
    int      i, k, n, parallel, status, failed;
    double  *times, begun;

    n = argc > 2 ? atoi(argv[2]) : 0;
    if (n < 1 || n > 100000) {
        fprintf(stderr, "floors: coproc N | spawn N | crun N P DIR\n");
        return 2;
    }

    times = mmap(NULL, (size_t) n * sizeof(double), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (times == MAP_FAILED) {
        return 1;
    }

    if (strcmp(argv[1], "coproc") == 0) {
        coproc(times, n);

    } else if (strcmp(argv[1], "spawn") == 0) {
        for (i = 0; i < n; i++) {
            begun = now();
            waitpid(spawn((char *const []) { "bash", "--norc", "-c", "true",
                          NULL }), &status, 0);
            times[i] = now() - begun;
        }

    } else if (strcmp(argv[1], "crun") == 0 && argc == 5) {
        parallel = atoi(argv[3]);
        failed = 0;

        for (k = 0; k < parallel; k++) {
            if (fork() == 0) {
                for (i = k; i < n; i += parallel) {
                    run_crun(&times[i], argv[4], i);
                }
                _exit(0);
            }
        }

        while (wait(&status) > 0) {
            failed |= status != 0;
        }

        if (failed) {
            return 1;
        }

    } else {
        return 2;
    }

    report(times, n);

    return 0;
}
