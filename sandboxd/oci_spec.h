/*
 * What a start is asked for: finds the image, decides on the limits, and puts
 * the agent's boot message and crun's configuration into words.
 */

#ifndef SANDBOXD_OCI_SPEC_H
#define SANDBOXD_OCI_SPEC_H

#include "sandboxd/oci.h"

#define OCI_BOOT_MAX  1048576

/* The number under which the helper has the image. */
int oci_spec_image(const oci_driver *o, const char *name, uint32_t *image,
    error **err);

/* The limits that will be enforced: those asked for, and of the defaults those
 * that can be. */
void oci_spec_limits(const oci_driver *o, const driver_spec *spec,
    driver_limits *l);

/* Fails if one of the limits can't be enforced. */
int oci_spec_check(const oci_driver *o, const driver_limits *l, error **err);

/* Texts for the caller to free. */
char *oci_spec_boot(const driver_spec *spec, error **err);
char *oci_spec_config(const oci_driver *o, const driver_spec *spec,
    uint64_t memory, error **err);

#endif
