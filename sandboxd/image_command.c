/* The store of images; see image_command.h. */

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandboxd/image_command.h"

#define SCRIPT  "image-store.sh"

/* From where the program is: as it is installed, and as it is built, with and
 * without the sanitizers. */
static const char *const  places[] = {
    "../share/sandboxd", "../scripts", "../../scripts"
};


int
image_command(char **argv)
{
    char     program[PATH_MAX], path[PATH_MAX + 64];
    size_t   i;
    ssize_t  n;

    n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n == -1) {
        fprintf(stderr, "sandboxd: /proc/self/exe: %s\n", strerror(errno));
        return 1;
    }

    program[n] = '\0';
    (void) dirname(program);

    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s/" SCRIPT, program, places[i]);

        if (access(path, X_OK) == 0) {
            argv[0] = path;
            execv(path, argv);
            fprintf(stderr, "sandboxd: %s: %s\n", path, strerror(errno));
            return 1;
        }
    }

    fprintf(stderr, "sandboxd: there is no %s in %s/%s\n", SCRIPT, program,
            places[0]);

    return 1;
}
