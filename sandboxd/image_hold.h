/*
 * That an image is used: a shared lock on its file, which "sandboxd image
 * remove" respects.  It belongs to the open file, so it stays as long as
 * anything has a descriptor of that: a virtual machine, a mount, or sandboxd
 * itself for the images that it is configured with.
 */

#ifndef SANDBOXD_IMAGE_HOLD_H
#define SANDBOXD_IMAGE_HOLD_H

#include <uv.h>

#define IMAGE_HOLDS_MAX  32

typedef struct {
    uv_timer_t    timer;
    const char  **paths;
    unsigned      count;
    int           fds[IMAGE_HOLDS_MAX];     /* -1: none */
} image_holds;

/* For an image that is opened to be used.  -1 with errno: EWOULDBLOCK if it is
 * being removed. */
int image_hold(int fd);

/* Holds those of the paths that are files, and some seconds later what takes
 * their place. */
void image_holds_start(image_holds *h, uv_loop_t *loop, const char **paths,
    unsigned count);

/* That look, now. */
void image_holds_look(image_holds *h);

/* Does nothing if nothing has been started. */
void image_holds_stop(image_holds *h);

#endif
