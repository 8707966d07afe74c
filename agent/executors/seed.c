/*
 * Loaded into a Node.js that goes on in a copy of its machine: OpenSSL's first
 * generator, which the others look at, gets new bytes from the kernel.  It is
 * no addon, so Node.js lets go of it at once; a mark in its own file (see
 * javascript.js) says that it has been done.  Takes what it calls from whatever
 * the process has, so that it fits any C library.
 */

#define SEED_FD    242
#define SEED_MARK  15           /* the last byte of an ELF header's padding */

extern int RAND_poll(void) __attribute__((weak));
extern long pwrite(int fd, const void *p, unsigned long n, long offset)
    __attribute__((weak));

static void seed(void) __attribute__((constructor));


static void
seed(void)
{
    if (RAND_poll != 0 && pwrite != 0 && RAND_poll() == 1) {
        (void) pwrite(SEED_FD, "+", 1, SEED_MARK);
    }
}
