/* The keeper of a virtual machine: its loop; see vm.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "sandboxd/vmm.h"

#define EVENTS         64
#define LOOK_MS        500      /* for an agent that was mute */
#define DESCRIPTORS    16384
#define CONSOLE_ROUND  4096
#define AGAIN_LOOK_MS  50       /* for a machine that goes on */
#define LATE_MS        500      /* for the VMM's end, behind another's */
#define UNSAVED_MS     5000     /* for the end of one that can't be saved: its
                                   disk is written, its agent may be mute */

static vm_console   vm_text;
static pid_t        vm_vmm;
static int          vm_epoll, vm_signals, vm_console_fd, vm_look = -1;
static const vmm   *vm_kind;
static int          vm_monitor;         /* of the VMM */
static bool         vm_ready, vm_stopping;
static vm_ask       vm_last = { .fd = -1 };     /* to end */
static uint64_t     vm_stop_end;        /* 0: as long as it takes */
static char         vm_key[33];


uint64_t
vm_now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}


void
vm_end(int status, const char *why)
{
    if (why[0] != '\0' || !vm_again_kept()) {
        (void) !ftruncate(VM_FD_END, 0);
        (void) !pwrite(VM_FD_END, why, strlen(why), 0);
    }

    _exit(status);
}


static void
vm_failed(error *err)
{
    vm_end(1, err != NULL ? err->message : "out of memory");
}


/* The order is read to its end.  A sandboxd that died before has nothing to
 * say. */
static vm_order *
order_read(void)
{
    char      *text;
    size_t     len, size;
    ssize_t    n;
    vm_order  *order;

    size = sizeof(vm_order) + VM_TEXT_MAX + VM_BOOT_MAX;
    text = calloc(1, size);

    if (text == NULL) {
        _exit(1);
    }

    for (len = 0; len < size; len += (size_t) n) {
        n = read(VM_FD_ORDER, text + len, size - len);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }
        if (n <= 0) {
            break;
        }
    }

    close(VM_FD_ORDER);
    order = (vm_order *) text;

    if (len < sizeof(vm_order)
        || len - sizeof(vm_order) != (size_t) order->args_len
                                     + order->boot_len)
    {
        _exit(1);
    }

    return order;
}


/* While paths are the host's.  What can't be noted is in the log. */
static void
kills_open(const vm_order *order)
{
    int   fd;
    char  path[VM_PATH_MAX + sizeof(VM_KILLS) + 1];

    snprintf(path, sizeof(path), "%s/" VM_KILLS, order->dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd != -1) {
        vm_fd_place(fd, VM_FD_ORDER);
        vm_text.kills_file = VM_FD_ORDER;
    }
}


static void
look_close(void)
{
    if (vm_look != -1) {
        close(vm_look);
        vm_look = -1;
    }
}


void
vm_ready_now(void)
{
    if (!vm_ready) {
        vm_ready = true;
        vm_forward_ready();
        look_close();
    }
}


static void
epoll_add(int fd, uint32_t events, void *ptr)
{
    struct epoll_event  ev;

    ev.events = events;
    ev.data.ptr = ptr;
    (void) epoll_ctl(vm_epoll, EPOLL_CTL_ADD, fd, &ev);
}


/* Its console may be mute, or a flood. */
static void
look_again(void)
{
    look_close();
    vm_look = vm_forward_connect();

    if (vm_look != -1) {
        epoll_add(vm_look, vm_forward_wait(), &vm_look);
    }
}


static void
look_event(void)
{
    switch (vm_forward_connected(vm_look)) {
    case 1:
        vm_ready_now();
        break;
    case -1:
        look_close();
    }
}


/* A round at a time, however much the guest has to say. */
static void
console_event(void)
{
    char     text[CONSOLE_ROUND];
    ssize_t  n;

    n = read(vm_console_fd, text, sizeof(text));

    if (n > 0) {
        vm_console_take(&vm_text, text, (size_t) n);

        /* One that goes on has to be told first what has changed, whatever it
         * says. */
        if (vm_text.ready && !vm_again_waits()) {
            vm_ready_now();
        }

    } else if (n == 0) {
        (void) epoll_ctl(vm_epoll, EPOLL_CTL_DEL, vm_console_fd, NULL);
    }
}


static void
ask_poll(vm_ask *ask)
{
    epoll_add(ask->fd, EPOLLIN | EPOLLOUT | EPOLLET, ask);
}


/* The VMM, which is another user's, goes with its namespace's first process. */
static void
stop_kill(void)
{
    vm_end(128 + SIGKILL, "");
}


bool
vm_running(void)
{
    return vm_ready && !vm_stopping;
}


/* If it can't be asked, there is nothing to lose. */
void
vm_stop(void)
{
    if (vm_stopping) {
        return;
    }

    vm_stopping = true;
    vm_save_stop();

    if (vm_save_sleeping()) {
        vm_stop_end = vm_now_ms() + UNSAVED_MS;
    }

    if (!vm_ready
        || vm_ask_begin(&vm_last, vm_key, "POST", "/internal/stop", "", 0)
           != 0)
    {
        stop_kill();
    }

    ask_poll(&vm_last);
}


static void
stop_event(void)
{
    switch (vm_ask_event(&vm_last)) {
    case -1:
        stop_kill();
        break;
    case 1:
        vm_ask_end(&vm_last);
    }
}


void
vm_owned(const vm_owner *by)
{
    memcpy(vm_key, by->key, sizeof(vm_key));
    vm_save_owned(by);
}


static void
sleep_begin(void)
{
    if (!vm_running() || vm_kind->save == NULL) {
        vm_stop();
    } else {
        vm_save_sleep();
    }
}


static void
monitor_event(void)
{
    error    *err;
    vmm_news  news;

    err = NULL;
    news = vm_kind->event(&err);

    if (news == VMM_FAILED) {
        vm_failed(err);
    }

    if (news == VMM_LOADED || news == VMM_GOES_ON) {
        vm_again_go();
    }

    if (news == VMM_LOADED) {
        vm_kind->resume();
    }

    if (!vm_save_news(news)) {
        (void) epoll_ctl(vm_epoll, EPOLL_CTL_DEL, vm_monitor, NULL);
    }
}


static void
vmm_ended(int status)
{
    char  why[VM_WHY_MAX];

    /* What it said last is in the pipe. */
    console_event();
    console_event();

    /* It was not its fault. */
    if (vm_text.panic[0] == '\0' && WIFSIGNALED(status)
        && WTERMSIG(status) == SIGKILL && vm_again_kept())
    {
        stop_kill();
    }

    status = vm_console_end(&vm_text, status, vm_stopping, why);
    vm_end(status, why);
}


/* The machine is of no use without it.  If the VMM has ended as well, or does
 * so now, its end is the reason, and this one's a consequence. */
static void
aid_ended(const char *why)
{
    int              i, status;
    struct timespec  pause;

    pause.tv_sec = 0;
    pause.tv_nsec = 10 * 1000000;

    for (i = 0; i < LATE_MS / 10; i++) {
        if (waitpid(vm_vmm, &status, WNOHANG) == vm_vmm) {
            vmm_ended(status);
        }

        (void) nanosleep(&pause, NULL);
    }

    vm_end(1, why);
}


static void
signal_event(void)
{
    int                      status;
    pid_t                    pid;
    const char              *why;
    struct signalfd_siginfo  info;

    while (read(vm_signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGTERM) {
            vm_stop();

        } else if (info.ssi_signo == SIGUSR1) {
            sleep_begin();
        }
    }

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == vm_vmm) {
            vmm_ended(status);
        }

        why = vm_kind->ended != NULL ? vm_kind->ended(pid, status) : NULL;

        if (why != NULL) {
            aid_ended(why);
        }

        vm_again_reaped(pid, status);
    }
}


static void
vm_event(void *ptr, uint32_t events)
{
    if (ptr == &vm_signals) {
        signal_event();

    } else if (ptr == &vm_console_fd) {
        console_event();

    } else if (ptr == &vm_look) {
        /* It may have been closed by an event before this one. */
        if (vm_look != -1) {
            look_event();
        }

    } else if (ptr == &vm_last) {
        if (vm_last.fd != -1) {
            stop_event();
        }

    } else if (ptr == &vm_monitor) {
        monitor_event();

    } else if (!vm_save_event(ptr) && !vm_again_event(ptr)
               && !vm_owner_event(ptr) && !vm_rate_event(ptr))
    {
        vm_forward_event(ptr, events);
    }
}


/* Until something has to be looked at, in ms. */
static int
loop_pause(void)
{
    if (vm_ready) {
        return vm_stop_end != 0 ? LOOK_MS : -1;
    }

    return vm_again_waits() ? AGAIN_LOOK_MS : LOOK_MS;
}


static void
vm_loop(void)
{
    int                  i, n;
    uint64_t             look;
    struct epoll_event   events[EVENTS];

    look = vm_now_ms() + LOOK_MS;

    for ( ;; ) {
        n = epoll_wait(vm_epoll, events, EVENTS, loop_pause());

        for (i = 0; i < n; i++) {
            vm_event(events[i].data.ptr, events[i].events);
        }

        vm_forward_event(NULL, 0);

        if (vm_stop_end != 0 && vm_now_ms() >= vm_stop_end) {
            stop_kill();
        }

        if (vm_again_waits()) {
            vm_again_look();

        } else if (!vm_ready && vm_now_ms() >= look) {
            look = vm_now_ms() + LOOK_MS;
            look_again();
        }
    }
}


/* Nothing is lost while there is no descriptor to read it from. */
static void
signals_block(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGCHLD);
    sigprocmask(SIG_SETMASK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
}


static void
descriptors_keep(void)
{
    int            fd;
    struct rlimit  limit;

    for (fd = 3; fd < VM_FDS; fd++) {
        (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    }

    vm_limit(RLIMIT_CORE, 0);

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max
                                                      : DESCRIPTORS;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}


void
vm_fd_place(int fd, int want)
{
    if (fd != want) {
        (void) dup3(fd, want, O_CLOEXEC);
        close(fd);
    }
}


/* What is made as root, before there is a VMM. */
static void
host_make(const vm_order *order)
{
    int     tap;
    error  *err;

    err = NULL;
    tap = vm_rate_open(vm_kind, order, &err) == 0 ? vm_net(&err) : -1;

    if (tap == -1 || vm_jail(order, vm_kind->jail, &err) != 0) {
        vm_failed(err);
    }

    vm_fd_place(tap, VM_FD_TAP);
    /* The number is nobody else's, also where the VMM has no monitor. */
    (void) dup3(STDIN_FILENO, VM_FD_MONITOR, O_CLOEXEC);

    if (vm_kind->open != NULL && vm_kind->open(order, &err) != 0) {
        vm_failed(err);
    }
}


/* Those are the VMM's alone; what it has written to the disk is synced here. */
static void
descriptors_close(void)
{
    close(VM_FD_BOOT);
    close(VM_FD_ROOT);
    close(VM_FD_VSOCK);
    close(VM_FD_TAP);
    close(VM_FD_MONITOR);
}


void
vm_main(void)
{
    error     *err;
    vm_way     way;
    sigset_t   signals;
    vm_order  *order;

    err = NULL;
    signals_block(&signals);
    descriptors_keep();
    setsid();
    order = order_read();
    vm_kind = vmm_find(order->vmm);

    if (vm_kind == NULL) {
        vm_end(1, "an unknown VMM");
    }

    memcpy(vm_key, order->key, sizeof(vm_key));
    vm_console_open(&vm_text, VM_FD_CONSOLE);
    kills_open(order);
    host_make(order);

    way.connect = vm_kind->connect;
    way.connected = vm_kind->connected;
    way.max = vm_kind->connections;
    vm_signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    vm_epoll = epoll_create1(EPOLL_CLOEXEC);
    vm_vmm = vm_process_start(vm_kind, order, &vm_console_fd, &err);

    if (err != NULL || vm_signals == -1 || vm_epoll == -1
        || vm_forward_open(vm_epoll, &way, &err) != 0)
    {
        vm_failed(err);
    }

    descriptors_close();
    vm_become(order->own_uid);

    if (order->boot_len != 0) {
        vm_again_open(order, vm_epoll);
    }

    vm_monitor = vm_kind->begin(order, &err);

    if (vm_monitor == -1 || vm_save_open(vm_kind, order, vm_epoll) != 0) {
        vm_failed(err);
    }

    close(VM_FD_KEPT);
    close(VM_FD_KEPT_STATE);
    vm_owner_open(order, vm_epoll);

    explicit_bzero(order, sizeof(vm_order) + order->args_len
                          + order->boot_len);
    free(order);

    epoll_add(vm_signals, EPOLLIN, &vm_signals);
    epoll_add(vm_monitor, EPOLLIN, &vm_monitor);
    epoll_add(vm_console_fd, EPOLLIN, &vm_console_fd);
    vm_rate_watch(vm_epoll);
    vm_loop();
    _exit(1);
}
