/* Images, and what is kept of them in the warm pool; see config.h. */

#include <string.h>

#include "sandboxd/config_part.h"


int
config_image(config *dst, char *text, error **err)
{
    char      *eq;
    size_t     len;
    unsigned   i;

    eq = strchr(text, '=');
    if (eq == NULL || eq[1] == '\0') {
        return error_set(err, 400, "usage", "--image must be NAME=DIR, not "
                         "\"%s\"", text);
    }

    *eq = '\0';
    len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-");

    if (len == 0 || len > 63 || text[len] != '\0') {
        return error_set(err, 400, "usage", "--image: the name \"%s\" must be "
                         "1 to 63 of a-z, 0-9, . _ and -", text);
    }

    if (strcmp(text, "host") == 0) {
        return error_set(err, 400, "usage", "--image: the name \"host\" is "
                         "that of the image made by --dev");
    }

    if (dst->image_count == CONFIG_IMAGES_MAX) {
        return error_set(err, 400, "usage", "more than %d times --image",
                         CONFIG_IMAGES_MAX);
    }

    for (i = 0; i < dst->image_count; i++) {
        if (strcmp(dst->image_names[i], text) == 0) {
            return error_set(err, 400, "usage", "--image %s is given twice",
                             text);
        }
    }

    dst->image_names[dst->image_count] = text;
    dst->image_dirs[dst->image_count] = eq + 1;
    dst->image_count++;

    return 0;
}


int
config_pool(config *dst, char *text, error **err)
{
    char         *eq, *number;
    uint64_t      n;
    unsigned      i;
    const char   *image;

    eq = strchr(text, '=');
    image = NULL;
    number = text;

    if (eq != NULL) {
        *eq = '\0';
        image = text;
        number = eq + 1;
    }

    if (config_number("pool", number, 0, POOL_TARGET_MAX, false, &n, err) < 0)
    {
        return -1;
    }

    for (i = 0; i < dst->pool.count; i++) {
        if ((image == NULL && dst->pool.targets[i].image == NULL)
            || (image != NULL && dst->pool.targets[i].image != NULL
                && strcmp(image, dst->pool.targets[i].image) == 0))
        {
            return error_set(err, 400, "usage", "--pool is given twice for "
                             "the same image");
        }
    }

    if (i == POOL_IMAGES_MAX) {
        return error_set(err, 400, "usage", "more than %d times --pool",
                         POOL_IMAGES_MAX);
    }

    dst->pool.targets[i].image = image;
    dst->pool.targets[i].target = (unsigned) n;
    dst->pool.count++;

    return 0;
}


static bool
config_has_image(const config *cf, const char *name)
{
    unsigned  i;

    if (strcmp(name, "host") == 0) {
        return cf->dev && config_has_driver(cf, CONFIG_OCI);
    }

    for (i = 0; i < cf->image_count; i++) {
        if (strcmp(cf->image_names[i], name) == 0) {
            return true;
        }
    }

    return false;
}


/* The default image is known by now; it may have been named as well. */
static int
config_pool_images(config *dst, error **err)
{
    unsigned      i, j;
    const char  **image;

    for (i = 0; i < dst->pool.count; i++) {
        image = &dst->pool.targets[i].image;

        if (*image == NULL) {
            *image = dst->default_image;
        }

        if (!config_has_image(dst, *image)) {
            return error_set(err, 400, "usage", "--pool %s: there is no image "
                             "of that name", *image);
        }

        for (j = 0; j < i; j++) {
            if (strcmp(*image, dst->pool.targets[j].image) == 0) {
                return error_set(err, 400, "usage", "--pool is given twice "
                                 "for the image %s", *image);
            }
        }
    }

    return 0;
}


static int
config_default_image(config *dst, error **err)
{
    if (dst->default_image == NULL) {
        dst->default_image = dst->dev && dst->drivers[0] == CONFIG_OCI
                             ? "host" : dst->image_names[0];
        return 0;
    }

    if (config_has_image(dst, dst->default_image)) {
        return 0;
    }

    if (strcmp(dst->default_image, "host") == 0) {
        return error_set(err, 400, "usage", "--default-image host needs "
                         "--dev");
    }

    return error_set(err, 400, "usage", "--default-image %s: there is no "
                     "--image of that name", dst->default_image);
}


int
config_images_complete(config *dst, error **err)
{
    return config_default_image(dst, err) < 0 ? -1
           : config_pool_images(dst, err);
}
