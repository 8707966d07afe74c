/*
 * Does KVM run guests here?  That /dev/kvm opens says little: where this
 * machine is a virtual one itself, its guests may end before their kernel has
 * said a word.  So one is started, which ends by itself once its agent finds
 * that it was told nothing.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "sandboxd/qemu.h"

#define PROBE_MS  5000
#define SAID      "sandbox-agent: "


static pid_t
probe_start(const vmm_trial *t, int *console)
{
    int    fds[2], null;
    pid_t  pid;

    if (pipe2(fds, O_CLOEXEC) == -1) {
        return -1;
    }

    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid = fork();

    if (pid == 0) {
        dup2(null, 0);
        dup2(fds[1], 1);
        dup2(null, 2);
        execl(t->program, t->program, "-M", "microvm,rtc=on,pit=on,pic=on",
              "-accel", "kvm", "-cpu", "host", "-m", "128", "-nodefaults",
              "-no-user-config", "-no-reboot", "-display", "none", "-monitor",
              "none", "-serial", "stdio", "-sandbox", "on,spawn=deny",
              "-kernel", t->kernel, "-initrd", t->initramfs, "-append",
              "console=ttyS0 reboot=t panic=-1 quiet SANDBOX_INIT=1",
              (char *) NULL);
        _exit(127);
    }

    close(fds[1]);
    close(null);

    if (pid == -1) {
        close(fds[0]);
    }

    *console = fds[0];

    return pid;
}


static bool
probe_hear(int console)
{
    char           text[4096];
    size_t         len;
    ssize_t        n;
    uint64_t       end, now;
    struct pollfd  p;

    end = clock_ms(CLOCK_MONOTONIC) + PROBE_MS;

    for (len = 0;
         (now = clock_ms(CLOCK_MONOTONIC)) < end && len < sizeof(text) - 1; )
    {
        p.fd = console;
        p.events = POLLIN;

        if (poll(&p, 1, (int) (end - now)) <= 0) {
            break;
        }

        n = read(console, text + len, sizeof(text) - 1 - len);
        if (n <= 0) {
            break;
        }

        len += (size_t) n;
        text[len] = '\0';

        if (memmem(text, len, SAID, sizeof(SAID) - 1) != NULL) {
            return true;
        }
    }

    return false;
}


bool
qemu_probe_kvm(const vmm_trial *t)
{
    int    console;
    bool   works;
    pid_t  pid;

    pid = probe_start(t, &console);

    if (pid == -1) {
        return false;
    }

    works = probe_hear(console);
    close(console);
    (void) kill(pid, SIGKILL);
    (void) waitpid(pid, NULL, 0);

    if (!works) {
        log_info("qemu: /dev/kvm is there, but no guest runs with it");
    }

    return works;
}
