/* sources: ngx_sandbox_module/sandbox_sign.c */
/* libs: -lcrypto */

/* Tokens of strangers: none is taken for one of ours, however it looks. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_sign.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                         *p;
    sandbox_pass                  pass;
    unsigned char                 buf[SANDBOX_TICKET_TEXT];
    sandbox_ticket                ticket;
    sandbox_pass_bound            bound = { "host", 4, 1, 8000 };
    sandbox_ticket_bound          all = { "z", 1, "i", 1, "/r", 2, "o", 1 };
    static sandbox_signer        *signer;
    static const unsigned char    key[SANDBOX_SIGN_KEY] = "a key of no secret";

    if (signer == NULL) {
        signer = sandbox_signer_create(key);
    }

    p = malloc(size ? size : 1);
    memcpy(p, data, size);

    if (sandbox_pass_read(&pass, signer, SANDBOX_PASS_COOKIE, p, size, &bound)
        == 0
        || sandbox_ticket_read(&ticket, buf, signer, p, size, &all) == 0)
    {
        abort();
    }

    bound.host = p;
    bound.host_len = size < 253 ? size : 253;
    pass.kind = SANDBOX_PASS_LINK;
    pass.expires = size;
    pass.gen = (uint32_t) size;
    pass.embed = size & 1;

    if (sandbox_pass_sign((char *) buf, signer, &pass, &bound) != 0
        || sandbox_pass_read(&pass, signer, SANDBOX_PASS_LINK, (char *) buf,
                             SANDBOX_PASS_TEXT, &bound) != 0
        || pass.expires != size)
    {
        abort();
    }

    free(p);

    return 0;
}
