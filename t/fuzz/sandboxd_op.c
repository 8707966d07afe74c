/* sources: sandboxd/op.c sandboxd/options_create.c sandboxd/options_image.c sandboxd/options_expose.c sandboxd/options_part.c sandboxd/limits.c sandboxd/options_resources.c sandboxd/spec.c sandboxd/names.c sandboxd/net_policy.c common/json_get.c common/frame.c common/error.c */
/* libs: -ljansson -lcrypto */

/*
 * What a worker can send, as the server takes it: frames out of a stream of
 * bytes, a frame's text as an operation, and the options in it.
 */

#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "sandboxd/op.h"
#include "sandboxd/options.h"


static const char *const  images[] = { "host" };

static const options_host  here = {
    .default_image = "host", .images = images, .image_count = 1,
    .runtimes = { { .name = "oci", .enforces_memory = true,
                    .enforces_pids = true } },
    .runtime_count = 1
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(int condition)
{
    if (!condition) {
        abort();
    }
}


/* A spec that was accepted must survive being stored. */
static void
check_spec(json_t *spec)
{
    char           *text;
    json_t         *again;
    driver_limits   limits;

    text = json_dumps(spec, JSON_COMPACT);
    check(text != NULL);
    again = json_loads(text, 0, NULL);
    check(again != NULL && json_equal(spec, again));
    free(text);
    json_decref(again);

    spec_limits(spec, &limits);
    check(limits.cpu >= 0 && limits.cpu <= 1024);
    check(limits.memory == 0 || limits.memory >= 16 << 20);
    check(spec_start_timeout(spec) >= 1000);
    check(spec_queue_timeout(spec) >= 5000);
}


static void
take_op(const op *o)
{
    char             label[LABEL_MAX + 1], id[ID_MAX + 1];
    error           *err;
    json_t          *warnings;
    create_options   create;
    expose_options   expose;

    err = NULL;

    if (o->sandbox[0] != '\0') {
        check(id_check(o->sandbox, false, id, NULL) == 0);
    }

    if (o->kind == OP_CREATE) {
        if (create_options_parse(&create, o->options, &here, &err) == 0) {
            check(create.id[0] == '\0'
                  || id_check(create.id, false, id, NULL) == 0);
            check_spec(create.spec);
            create_options_free(&create);

        } else {
            check(err->status >= 400 && err->code[0] && err->message[0]);
        }

    } else if (o->kind == OP_EXPOSE) {
        warnings = json_array();

        if (expose_options_parse(&expose, o->options, warnings, &err) == 0) {
            check(expose.port >= 1024 && expose.port != 3000);
            if (label_build(label, expose.port, o->sandbox,
                            expose.token[0] ? expose.token : NULL, NULL) == 0)
            {
                check(strlen(label) <= 63);
            }

        } else {
            check(err->status >= 400 && err->field[0]);
        }

        json_decref(warnings);
    }

    error_free(err);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    op         o;
    long       len;
    char      *text;
    error     *err;
    json_t    *frame;
    op_result  result;

    while (size >= FRAME_HEADER) {
        len = frame_get_header(data);

        if (len < 0 || (size_t) len > size - FRAME_HEADER) {
            /* Most mutations break the length: take the rest for a text. */
            len = (long) (size - FRAME_HEADER);
        }

        text = malloc((size_t) len + 1);
        memcpy(text, data + FRAME_HEADER, (size_t) len);
        data += FRAME_HEADER + len;
        size -= FRAME_HEADER + (size_t) len;

        frame = op_read(text, (size_t) len);
        free(text);

        if (frame == NULL) {
            continue;
        }

        err = NULL;
        result = op_parse(&o, frame, &err);

        if (result == OP_OK) {
            check(o.id > 0 || o.kind == OP_ACK);
            take_op(&o);

        } else if (result == OP_BAD) {
            check(o.id > 0 && err != NULL && err->status >= 400);
        }

        error_free(err);
        json_decref(frame);
    }

    return 0;
}
