/*
 * What mv does, without a shell: renames, moves into a directory, and copies
 * and deletes where source and destination are on different file systems.
 * A copy is made under a temporary name and then renamed, so that the
 * destination is never seen half done.  It keeps owners, modes, times, extended
 * attributes and, within what is moved, hard links; not the holes of files.
 *
 * Blocks for as long as the copy takes: belongs on the thread pool.
 */

#ifndef AGENT_FILE_MOVE_H
#define AGENT_FILE_MOVE_H

/* Directories in directories that a copy follows down. */
#define FILE_MOVE_DEPTH  128

/* Both are absolute.  0, or -1 with errno; *missing is set if there is no
 * source. */
int file_move(const char *from, const char *to, int *missing);

/* Removes a file, or a directory with all that is in it; links are not
 * followed.  0, or -1 with errno. */
int file_remove_tree(int dir, const char *name);

#endif
