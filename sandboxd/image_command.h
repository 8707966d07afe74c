/*
 * "sandboxd image": the store of images.  A script does it, which comes with
 * sandboxd: all that it runs are programs.
 */

#ifndef SANDBOXD_IMAGE_COMMAND_H
#define SANDBOXD_IMAGE_COMMAND_H

/* argv[0] is "image".  Returns only what to exit with when it can't run. */
int image_command(char **argv);

#endif
