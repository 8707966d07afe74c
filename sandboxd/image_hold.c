/* Which images are used; see image_hold.h. */

#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/image_hold.h"

#define LOOK_MS  5000       /* a name may be another file's by then */


int
image_hold(int fd)
{
    return flock(fd, LOCK_SH | LOCK_NB);
}


static bool
is_held(int fd, const struct stat *now)
{
    struct stat  st;

    return fd != -1 && fstat(fd, &st) == 0 && st.st_dev == now->st_dev
           && st.st_ino == now->st_ino;
}


/* What can't be held now is tried again with the next look. */
void
image_holds_look(image_holds *h)
{
    int          fd;
    unsigned     i;
    struct stat  st;

    for (i = 0; i < h->count; i++) {
        if (stat(h->paths[i], &st) == -1 || !S_ISREG(st.st_mode)
            || is_held(h->fds[i], &st))
        {
            continue;
        }

        fd = open(h->paths[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd == -1) {
            continue;
        }

        if (image_hold(fd) == -1) {
            close(fd);
            continue;
        }

        if (h->fds[i] != -1) {
            close(h->fds[i]);
        }

        h->fds[i] = fd;
    }
}


static void
on_look(uv_timer_t *timer)
{
    image_holds_look(timer->data);
}


void
image_holds_start(image_holds *h, uv_loop_t *loop, const char **paths,
    unsigned count)
{
    unsigned  i;

    h->paths = paths;
    h->count = count < IMAGE_HOLDS_MAX ? count : IMAGE_HOLDS_MAX;

    for (i = 0; i < IMAGE_HOLDS_MAX; i++) {
        h->fds[i] = -1;
    }

    uv_timer_init(loop, &h->timer);
    h->timer.data = h;
    image_holds_look(h);
    uv_timer_start(&h->timer, on_look, LOOK_MS, LOOK_MS);
    uv_unref((uv_handle_t *) &h->timer);
}


void
image_holds_stop(image_holds *h)
{
    unsigned  i;

    if (h->timer.data == NULL) {
        return;
    }

    uv_close((uv_handle_t *) &h->timer, NULL);

    for (i = 0; i < h->count; i++) {
        if (h->fds[i] != -1) {
            close(h->fds[i]);
        }
    }
}
