/*
 * Keeping a machine in files: to sleep, after which it ends, or to be copied,
 * after which it goes on.  Who wants a copy connects to the machine's control
 * socket, which only root reaches, and speaks vm_control messages: the machine
 * stands still from VM_CONTROL_SAVED on until the connection ends.  See vm.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sandboxd/vmm.h"

#define SYNC_S  10              /* for an agent, which may be mute */

typedef enum {
    SAVE_NOT,
    SAVE_SYNC,                  /* the agent writes what it has to its disk */
    SAVE_WRITING,
    SAVE_STANDING               /* the machine is being copied */
} save_state;

static const vmm   *save_kind;
static int          save_epoll, save_client = -1, save_timer = -1;
static save_state   save_now;
static bool         save_sleep;             /* it is to sleep */
static uint64_t     save_floor, save_memory;
static vm_ask       save_sync = { .fd = -1 };
static char         save_key[33], save_word[VM_END_MAX];

/* Their addresses are pointers in the epoll set. */
static int          save_listen_tag, save_client_tag, save_timer_tag;


static void
save_poll(int fd, uint32_t events, void *ptr)
{
    struct epoll_event  ev;

    ev.events = events;
    ev.data.ptr = ptr;
    (void) epoll_ctl(save_epoll, EPOLL_CTL_ADD, fd, &ev);
}


int
vm_save_open(const vmm *kind, const vm_order *order, int epoll)
{
    save_kind = kind;
    save_epoll = epoll;
    save_floor = order->disk_floor;
    save_memory = order->memory;
    memcpy(save_key, order->key, sizeof(save_key));
    memcpy(save_word, order->asleep, sizeof(save_word));
    save_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (save_timer == -1 || fcntl(VM_FD_CONTROL, F_SETFL, O_NONBLOCK) != 0) {
        return -1;
    }

    save_poll(save_timer, EPOLLIN, &save_timer_tag);
    save_poll(VM_FD_CONTROL, EPOLLIN, &save_listen_tag);

    return 0;
}


void
vm_save_owned(const vm_owner *by)
{
    memcpy(save_key, by->key, sizeof(save_key));
    memcpy(save_word, by->asleep, sizeof(save_word));
}


bool
vm_save_sleeping(void)
{
    return save_sleep;
}


static void
timer_set(time_t seconds)
{
    struct itimerspec  limit;

    memset(&limit, 0, sizeof(limit));
    limit.it_value.tv_sec = seconds;
    (void) timerfd_settime(save_timer, 0, &limit, NULL);
}


static void
client_say(vm_control_type type)
{
    vm_control  msg;

    memset(&msg, 0, sizeof(msg));
    msg.type = type;

    if (type == VM_CONTROL_SAVED) {
        memcpy(msg.word, save_word, sizeof(msg.word));
    }

    (void) !send(save_client, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
    explicit_bzero(&msg, sizeof(msg));
}


static void
client_close(void)
{
    if (save_client != -1) {
        close(save_client);
        save_client = -1;
    }
}


static void  save_begin(void);


/* What was written holds secrets, and is nobody's any more. */
static void
copy_end(void)
{
    client_close();

    if (save_now == SAVE_STANDING) {
        (void) !ftruncate(VM_FD_MEMORY, 0);
        (void) !ftruncate(VM_FD_STATE, 0);
        save_kind->resume();
    }

    /* One that is being written is resumed when it has been. */
    if (save_now != SAVE_WRITING) {
        vm_ask_end(&save_sync);
        save_now = SAVE_NOT;

        if (save_sleep && vm_running()) {
            save_begin();
        }
    }
}


/* Records and logs need room that the memory of what sleeps must not take. */
static bool
save_room(void)
{
    uint64_t        bytes, available;
    struct statvfs  fs;

    bytes = vm_ram_used();
    bytes = bytes < save_memory ? bytes : save_memory;

    if (fstatvfs(VM_FD_MEMORY, &fs) != 0) {
        return true;
    }

    available = (uint64_t) fs.f_bavail * fs.f_frsize;

    if (available >= save_floor && available - save_floor >= bytes) {
        return true;
    }

    dprintf(VM_FD_LOG, "memory can't be kept: it takes %llu MiB of disk: only "
            "%llu MiB are free, %llu MiB are kept for records and logs\n",
            (unsigned long long) bytes >> 20,
            (unsigned long long) available >> 20,
            (unsigned long long) save_floor >> 20);

    return false;
}


static void
save_write(void)
{
    bool  room;

    vm_ask_end(&save_sync);
    timer_set(VM_CONTROL_S);

    if (!save_sleep && save_client == -1) {
        save_now = SAVE_NOT;
        return;
    }

    vm_again_settle();

    room = save_room();

    if (room && save_kind->save() == 0) {
        save_now = SAVE_WRITING;
        return;
    }

    save_now = SAVE_NOT;

    if (save_sleep) {
        vm_stop();

    } else {
        client_say(room ? VM_CONTROL_FAILED : VM_CONTROL_FULL);
        copy_end();
    }
}


/* First to the disk: who can't go on with the memory boots from that. */
static void
save_begin(void)
{
    if (vm_ask_begin(&save_sync, save_key, "POST", "/internal/sync", "", 0)
        != 0)
    {
        save_write();
        return;
    }

    save_now = SAVE_SYNC;
    timer_set(SYNC_S);
    save_poll(save_sync.fd, EPOLLIN | EPOLLOUT | EPOLLET, &save_sync);
}


void
vm_save_sleep(void)
{
    if (save_sleep) {
        return;
    }

    save_sleep = true;

    /* What goes on ends first, and soon. */

    if (save_now == SAVE_NOT) {
        save_begin();
    }
}


void
vm_save_stop(void)
{
    if (save_now == SAVE_STANDING) {
        copy_end();
    }
}


/* Where memory can't be kept, the disk is. */
static void
monitor_saved(bool saved)
{
    save_now = SAVE_NOT;

    if (save_sleep) {
        /* After a power loss there is no memory that knows of more than the
         * disk has. */
        if (saved && fdatasync(VM_FD_DISK) == 0
            && fdatasync(VM_FD_MEMORY) == 0 && fdatasync(VM_FD_STATE) == 0)
        {
            vm_end(VM_ASLEEP, save_word);
        }

        vm_stop();

    } else if (!saved) {
        client_say(VM_CONTROL_FAILED);
        copy_end();

    } else {
        save_now = SAVE_STANDING;

        if (save_client == -1 || !vm_running()) {
            copy_end();
        } else {
            client_say(VM_CONTROL_SAVED);
        }
    }
}


bool
vm_save_news(vmm_news news)
{
    if (news == VMM_SAVED || news == VMM_NOT_SAVED) {
        monitor_saved(news == VMM_SAVED);

    } else if (news == VMM_BROKEN && (save_sleep || save_now != SAVE_NOT)) {
        monitor_saved(false);
    }

    return news != VMM_BROKEN;
}


static void
client_accept(void)
{
    int         fd;
    vm_control  msg;

    fd = accept4(VM_FD_CONTROL, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd == -1) {
        return;
    }

    /* One after the other; who comes too late, or too early, is told so. */
    if (save_client != -1 || save_now != SAVE_NOT || save_sleep
        || !vm_running() || save_kind->save == NULL)
    {
        memset(&msg, 0, sizeof(msg));
        msg.type = VM_CONTROL_BUSY;
        (void) !send(fd, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
        return;
    }

    save_client = fd;
    save_poll(fd, EPOLLIN, &save_client_tag);
    save_begin();
}


/* It has nothing to say but that it is done. */
static void
client_event(void)
{
    char  byte;

    if (save_client != -1
        && recv(save_client, &byte, 1, MSG_DONTWAIT) == -1
        && (errno == EAGAIN || errno == EINTR))
    {
        return;
    }

    copy_end();
}


/* What is in memory only is kept with that. */
static void
timer_event(void)
{
    uint64_t  times;

    if (read(save_timer, &times, sizeof(times)) != sizeof(times)) {
        return;
    }

    if (save_now == SAVE_SYNC) {
        save_write();

    } else if (save_client != -1) {
        copy_end();
    }
}


bool
vm_save_event(void *ptr)
{
    if (ptr == &save_listen_tag) {
        client_accept();

    } else if (ptr == &save_client_tag) {
        client_event();

    } else if (ptr == &save_timer_tag) {
        timer_event();

    } else if (ptr == &save_sync) {
        if (save_sync.fd != -1 && vm_ask_event(&save_sync) != 0) {
            save_write();
        }

    } else {
        return false;
    }

    return true;
}
