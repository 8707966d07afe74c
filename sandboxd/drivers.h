/*
 * The drivers that the command line names, each with the images that it can
 * use: where there is one, all of them; where there are two, all of them files,
 * and containers directories as well.
 */

#ifndef SANDBOXD_DRIVERS_H
#define SANDBOXD_DRIVERS_H

#include "common/error.h"
#include "sandboxd/config.h"
#include "sandboxd/driver.h"
#include "sandboxd/options.h"

typedef struct {
    driver       *all[CONFIG_DRIVERS];      /* the first is the default */
    unsigned      count;
    driver_host   hosts[CONFIG_DRIVERS];
    const char   *names[CONFIG_DRIVERS][CONFIG_IMAGES_MAX];
    const char   *paths[CONFIG_DRIVERS][CONFIG_IMAGES_MAX];
    unsigned      image_runtimes[CONFIG_IMAGES_MAX + 1];  /* bits; and "host" */
} drivers;

/* base is what all of them are told.  -1: error set; then, too, what there is
 * has to be freed. */
int drivers_open(drivers *ds, const config *cf, const driver_host *base,
    error **err);

void drivers_free(drivers *ds);

/* NULL: it is not among them. */
driver *drivers_find(const drivers *ds, const char *name);

/* The one that prepares sandboxes of an image: the first that has it.  Data of
 * drivers_preparing() is a drivers_config. */
typedef struct {
    const drivers  *ds;
    const config   *cf;
} drivers_config;

driver *drivers_preparing(void *data, const char *image);

/* What a creation may ask for; adds "host" to the images where it is one. */
void drivers_options(const drivers *ds, config *cf, options_host *host);

#endif
