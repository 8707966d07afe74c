/*
 * Which images there are, and whether they still are those that the helper
 * has: an operator who puts another directory in an image's place gets it with
 * the next start.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "sandboxd/oci.h"

/* What the image "host" is made of; installing programs changes them. */
static const char *const  host_dirs[] = {
    "/usr", "/usr/bin", "/usr/lib", "/usr/local"
};


static uint64_t
hash_add(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 1099511628211ULL;
}


static uint64_t
dir_hash(uint64_t hash, const char *path)
{
    struct stat  st;

    if (stat(path, &st) == -1
        || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
    {
        return 0;
    }

    hash = hash_add(hash, st.st_dev);
    hash = hash_add(hash, st.st_ino);
    hash = hash_add(hash, (uint64_t) st.st_ctim.tv_sec);

    return hash_add(hash, (uint64_t) st.st_ctim.tv_nsec) | 1;
}


uint64_t
oci_image_identity(const oci_driver *o, uint32_t image)
{
    size_t    i;
    uint64_t  hash;

    hash = 14695981039346656037ULL;

    if (image < o->base.host.image_count) {
        return dir_hash(hash, o->base.host.image_dirs[image]);
    }

    for (i = 0; i < sizeof(host_dirs) / sizeof(host_dirs[0]); i++) {
        hash = hash_add(hash, dir_hash(i, host_dirs[i]));
    }

    return hash | 1;
}


void
oci_images_note(oci_driver *o)
{
    unsigned  i;

    if (o->identities == NULL) {
        o->identities = calloc(o->base.host.image_count + 1, sizeof(uint64_t));

        if (o->identities == NULL) {
            abort();
        }
    }

    for (i = 0; i <= o->base.host.image_count; i++) {
        o->identities[i] = oci_image_identity(o, i);
    }
}


bool
oci_image_changed(const oci_driver *o, uint32_t image)
{
    return oci_image_identity(o, image) != o->identities[image];
}


int
oci_image_refresh(oci_driver *o, uint32_t image, error **err)
{
    uint64_t    had;
    oci_helper  old;

    had = o->identities[image];

    if (!oci_image_changed(o, image)) {
        return 0;
    }

    if (oci_image_identity(o, image) == 0) {
        return error_set(err, 503, "start_failed", "the image is not there");
    }

    log_info("oci: an image has changed, making a new helper process");

    /* The old one goes on for the other images if that fails; what it has
     * started doesn't need it any more. */
    old = o->helper;
    memset(&o->helper, 0, sizeof(o->helper));
    oci_images_note(o);

    if (oci_helper_start(&o->helper, &o->base.host, o->base.dirs, &o->map, err)
        == -1)
    {
        o->helper = old;
        o->identities[image] = had;
        return -1;
    }

    oci_helper_stop(&old);

    return 0;
}
