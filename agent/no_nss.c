/*
 * Keeps the name service switch out of the static binary.
 *
 * libuv refers to getpwuid_r() and getgrgid_r() for uv_os_get_passwd() and
 * uv_os_get_group(), which the agent never calls.  glibc's own would load
 * shared libraries of the image at run time, which a static program must not
 * do.
 */

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>


int
getpwuid_r(uid_t uid, struct passwd *pwd, char *buf, size_t len,
    struct passwd **result)
{
    (void) uid;
    (void) pwd;
    (void) buf;
    (void) len;

    *result = NULL;

    return ENOENT;
}


int
getgrgid_r(gid_t gid, struct group *grp, char *buf, size_t len,
    struct group **result)
{
    (void) gid;
    (void) grp;
    (void) buf;
    (void) len;

    *result = NULL;

    return ENOENT;
}
