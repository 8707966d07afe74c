/*
 * What the driver and its helper process say to each other.  The helper is
 * forked when the driver is made; it lives in the user namespace of the
 * sandboxes and in a mount namespace that holds /usr, the images and the
 * writable layers and nothing else of the host.  Requests come as one message
 * each on a SOCK_SEQPACKET pair; every request brings a socket of its own, on
 * which a child of the helper answers and whose end means "give up".
 */

#ifndef SANDBOXD_OCI_WIRE_H
#define SANDBOXD_OCI_WIRE_H

#include <stdint.h>
#include <sys/types.h>

#define OCI_CONFIG_MAX    65536
#define OCI_REQUEST_FDS   6

typedef enum {
    OCI_OP_START = 1,       /* fds: answer, lock, listen, boot,
                               log[, disk] */
    OCI_OP_REMOVE,          /* fds: answer; empties the directory's layer */
    OCI_OP_SIZE,            /* fds: answer; of the directory's layer */
    OCI_OP_NAME             /* fds: answer, pidfd; gives a sandbox its name */
} oci_op;

typedef struct {
    uint32_t  op;
    uint32_t  image;        /* its number */
    uint8_t   fresh;        /* nobody has run in the layer yet */
    uint8_t   disk;         /* the layer is on a disk: a start has a detached
                               mount of it */
    char      dir[30];      /* the sandbox's directory, a plain name */
    char      hostname[64]; /* "": not known yet */
    uint32_t  config_len;   /* of config.json, which follows */
} oci_request;

typedef enum {
    OCI_READY = 1,          /* mounts are made; pid is to be put in its
                               group; goes on when it is sent a byte */
    OCI_STARTED,            /* pid is PID 1 of the sandbox; brings a pidfd */
    OCI_DONE,               /* the layer is empty, the sandbox has its name */
    OCI_FAILED
} oci_answer_type;

typedef struct {
    uint32_t  type;
    int32_t   pid;
    uint64_t  start_time;   /* field 22 of /proc/<pid>/stat */
    uint64_t  bytes;        /* of a size, */
    uint32_t  partial;      /* which is larger */
    char      message[400];
} oci_answer;

/* Both return the number of bytes, or -1; received descriptors are
 * close-on-exec and those that are missing are -1. */
ssize_t oci_wire_send(int sock, const void *head, size_t head_len,
    const void *body, size_t body_len, const int *fds, unsigned nfds);
ssize_t oci_wire_recv(int sock, void *buf, size_t size, int *fds,
    unsigned nfds, int flags);

#endif
