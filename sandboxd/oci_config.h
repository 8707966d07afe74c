/*
 * The OCI runtime configuration of a sandbox: which namespaces, capabilities,
 * mounts and hidden files it gets.  Pure: JSON in memory.
 */

#ifndef SANDBOXD_OCI_CONFIG_H
#define SANDBOXD_OCI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

typedef struct {
    const char  *hostname;
    const char  *seccomp;       /* the filter in base64 */
    uint32_t     ids;           /* in the user namespace, from 0 */
    uint64_t     memory;        /* bytes, 0: unlimited; bounds /tmp */
    uint64_t     nofile;        /* the hard limit of open files */
    bool         limit_nproc;   /* there is no group that counts processes */
} oci_config;

/* The text of config.json, for the caller to free; NULL: out of memory. */
char *oci_config_build(const oci_config *config);

#endif
