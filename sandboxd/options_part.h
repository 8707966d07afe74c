/* Helpers of options*.c alone; the contract is options.h. */

#ifndef SANDBOXD_OPTIONS_PART_H
#define SANDBOXD_OPTIONS_PART_H

#include "sandboxd/options.h"

/* A string without a NUL in it; else NULL. */
const char *options_text(json_t *value);

/* Bytes of a number or of "512M"; -1 if it is neither. */
json_int_t options_bytes(json_t *value);

bool options_listed(const char *const *list, const char *name);
void options_warn(json_t *warnings, const char *prefix, const char *name,
    const char *text);

/* Names the members of an object that are not in the list, with a prefix. */
void options_unknown(json_t *in, const char *const *known,
    const char *prefix, json_t *warnings);

/* The members "labels", "ttl" and "limits", which any sandbox can have. */
int options_common(json_t *spec, json_t *in, error **err);

/* The members of a patch over those of a copy of a spec. */
void options_merge(json_t *dst, const char *name, json_t *value);

/* Its member "runtime", or the default one: which of the host's that is. */
int options_runtime_copy(json_t *spec, json_t *in, const options_host *host,
    unsigned *runtime, error **err);

/* Its member "image", or what is the default with that runtime. */
int options_image_copy(json_t *spec, json_t *in, const options_host *host,
    unsigned runtime, error **err);

/* All members of a creation but its id, runtime and image; on error there is
 * something left to free. */
int options_rest(create_options *dst, json_t *in, const options_host *host,
    unsigned runtime, error **err);

/* The members "resources" and "network" of a creation. */
int options_resources(json_t *spec, json_t *in, const options_runtime *host,
    error **err);
int options_network(json_t *spec, json_t *in, const net_rules *rules,
    error **err);

#endif
