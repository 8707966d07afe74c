/* Runtime and image of a new sandbox; see options.h. */

#include <string.h>

#include "common/json_get.h"
#include "sandboxd/options_part.h"


/* The default of all hosts is not recorded. */
int
options_runtime_copy(json_t *spec, json_t *in,
    const options_host *host, unsigned *runtime, error **err)
{
    int          got;
    const char  *name;

    *runtime = 0;
    got = json_get_string(in, "runtime", OPTIONS_IMAGE_MAX, &name, err);

    if (got < 0) {
        return -1;
    }

    while (got > 0 && strcmp(host->runtimes[*runtime].name, name) != 0) {
        if (++*runtime == host->runtime_count) {
            return error_set_field(err, 422, "unenforceable", "runtime", 0,
                                   "this host has no runtime \"%.64s\"",
                                   name);
        }
    }

    name = host->runtimes[*runtime].name;

    if (strcmp(name, RUNTIME_OF_OLD) != 0) {
        json_object_set_new(spec, "runtime", json_string(name));
    }

    return 0;
}


static bool
image_fits(const options_host *host, unsigned image, unsigned runtime)
{
    return host->image_runtimes != NULL
           ? host->image_runtimes[image] >> runtime & 1 : runtime == 0;
}


/* The name of the first one that can use it. */
static const char *
image_runtime(const options_host *host, unsigned image)
{
    unsigned  i;

    for (i = 0; i + 1 < host->runtime_count; i++) {
        if (image_fits(host, image, i)) {
            break;
        }
    }

    return host->runtimes[i].name;
}


/* The default one if the runtime can use it, else the first that it can. */
static const char *
image_default(const options_host *host, unsigned runtime)
{
    unsigned     i;
    const char  *first;

    first = NULL;

    for (i = host->image_count; i > 0; i--) {
        if (!image_fits(host, i - 1, runtime)) {
            continue;
        }

        first = host->images[i - 1];

        if (host->default_image != NULL
            && strcmp(first, host->default_image) == 0)
        {
            return first;
        }
    }

    return host->image_runtimes != NULL && runtime != 0 ? first
           : host->default_image;
}


int
options_image_copy(json_t *spec, json_t *in, const options_host *host,
    unsigned runtime, error **err)
{
    unsigned     i;
    const char  *image;

    image = image_default(host, runtime);

    if (json_get_string(in, "image", OPTIONS_IMAGE_MAX, &image, err) < 0) {
        return -1;
    }

    if (image == NULL) {
        return error_set_field(err, 400, "invalid_request", "image", 0,
                               "image is required: this host has no default "
                               "image");
    }

    for (i = 0; i < host->image_count; i++) {
        if (strcmp(host->images[i], image) == 0) {
            break;
        }
    }

    if (i == host->image_count) {
        return error_set_field(err, 400, "unknown_image", "image", 0,
                               "there is no image \"%.64s\" on this host",
                               image);
    }

    if (!image_fits(host, i, runtime)) {
        return error_set_field(err, 422, "unenforceable", "image", 0,
                               "the image \"%.64s\" is one for the runtime "
                               "\"%s\"", image, image_runtime(host, i));
    }

    json_object_set_new(spec, "image", json_string(image));

    return 0;
}
