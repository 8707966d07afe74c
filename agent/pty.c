/* Pseudo-terminals; see pty.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "agent/pty.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER  _IO('T', 0x41)
#endif

#define PTY_MASTER  (O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
#define PTY_SLAVE   (O_RDWR | O_NOCTTY | O_CLOEXEC)


void
pty_resize(int master, unsigned cols, unsigned rows)
{
    struct winsize  ws;

    ws.ws_col = (unsigned short) cols;
    ws.ws_row = (unsigned short) rows;
    ws.ws_xpixel = 0;
    ws.ws_ypixel = 0;
    ioctl(master, TIOCSWINSZ, &ws);
}


static int
pty_open_slave(int master)
{
    int   fd, number;
    char  path[32];

    number = 0;
    if (ioctl(master, TIOCSPTLCK, &number) != 0) {
        return -1;
    }

    /* Without a path: /dev/pts may be another one's. */
    fd = ioctl(master, TIOCGPTPEER, PTY_SLAVE);
    if (fd != -1 || (errno != EINVAL && errno != ENOTTY)) {
        return fd;
    }

    if (ioctl(master, TIOCGPTN, &number) != 0) {
        return -1;
    }

    snprintf(path, sizeof(path), "/dev/pts/%d", number);

    return open(path, PTY_SLAVE);
}


int
pty_open(unsigned cols, unsigned rows, int *slave)
{
    int             fd, saved;
    struct termios  tio;

    fd = open("/dev/ptmx", PTY_MASTER);
    if (fd == -1) {
        fd = open("/dev/pts/ptmx", PTY_MASTER);
    }
    if (fd == -1) {
        return -1;
    }

    *slave = pty_open_slave(fd);
    if (*slave == -1) {
        saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }

    /* Erasing a character erases all of its bytes. */
    if (tcgetattr(*slave, &tio) == 0) {
        tio.c_iflag |= IUTF8;
        tcsetattr(*slave, TCSANOW, &tio);
    }

    pty_resize(fd, cols, rows);

    return fd;
}
