/*
 * Where the agent of a sandbox that others run is reached, as it is registered
 * (docs/api.md, "Sandboxes elsewhere"):
 *
 *   {"kind":"unix","name":"pod-7/agent.sock"}     below --external-dir
 *   {"kind":"unix","name":"vm-7/v.sock","vsockPort":1024}     that of a VMM
 *   {"kind":"tcp","address":"10.0.0.7","port":7000}
 *   {"kind":"vsock","cid":7,"port":1024}
 *
 * and which of them sandboxd was told to take.  Pure: no I/O, no libuv.
 */

#ifndef SANDBOXD_ENDPOINT_H
#define SANDBOXD_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <jansson.h>

#include "common/error.h"

#define ENDPOINT_NAME_MAX      255      /* bytes of a socket's name */
#define ENDPOINT_ADDRESS_MAX    45      /* of an IPv6 address as text */
#define ENDPOINT_NETS_MAX       32
#define ENDPOINT_ID_MAX        127      /* of a sandbox that has one, qualified:
                                           its line in a zone is bounded */

#define ENDPOINT_CID_LOCAL       1      /* this machine */
#define ENDPOINT_CID_MIN         3      /* else; below: hypervisor, host */
#define ENDPOINT_CID_MAX  0xfffffffeu

typedef enum {
    ENDPOINT_UNIX,
    ENDPOINT_TCP,
    ENDPOINT_VSOCK
} endpoint_kind;

typedef struct {
    endpoint_kind   kind;
    char            name[ENDPOINT_NAME_MAX + 1];    /* unix */
    int             family;                         /* tcp: AF_INET, -6 */
    unsigned char   address[16];
    uint32_t        cid;                            /* vsock */
    uint32_t        port;                           /* 0: none */
} endpoint;

typedef struct {
    int             family;
    unsigned char   address[16];
    unsigned        bits;
} endpoint_net;

/* Nothing is allowed that isn't listed. */
typedef struct {
    bool            names;          /* there is an --external-dir */
    endpoint_net    nets[ENDPOINT_NETS_MAX];
    unsigned        net_count;
    uint32_t        cid_first;      /* 0: none */
    uint32_t        cid_last;
} endpoint_rules;

/* 400 `invalid_request` with the member's name; what is unknown in it is an
 * error as well: half of an address would be another one. */
int endpoint_parse(endpoint *dst, json_t *in, error **err);

/* The canonical form, which parses to the same. */
json_t *endpoint_json(const endpoint *e);

/*
 * 403 `endpoint_not_allowed`.  An address of this machine itself, of its links
 * or of a cloud's metadata is allowed by a net only that lies within those:
 * 0.0.0.0/0 doesn't mean 127.0.0.1.
 */
int endpoint_check(const endpoint *e, const endpoint_rules *rules,
    error **err);

/* "10.0.0.0/8", "fd00::/8", or an address alone; false: none of them. */
bool endpoint_net_parse(endpoint_net *dst, const char *text);

/* "7" or "1000-1999". */
bool endpoint_cids_parse(endpoint_rules *dst, const char *text);

/* Tells endpoints apart; its lowest two bits are the kind. */
uint64_t endpoint_tag(const endpoint *e);
#define ENDPOINT_TAG_KIND  3

/* Of a tcp or vsock endpoint. */
socklen_t endpoint_sockaddr(const endpoint *e, struct sockaddr_storage *dst);

#endif
