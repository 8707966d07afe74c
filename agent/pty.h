/* Pseudo-terminals: opening one, and its size. */

#ifndef AGENT_PTY_H
#define AGENT_PTY_H

#define PTY_SIDE_MAX  4096          /* columns or rows */

/* Returns the master, not blocking, and the program's side in *slave, both
 * closed on exec and neither anybody's controlling terminal; or -1 with errno
 * set. */
int pty_open(unsigned cols, unsigned rows, int *slave);

/* The program is told by SIGWINCH. */
void pty_resize(int master, unsigned cols, unsigned rows);

#endif
