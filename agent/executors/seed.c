/*
 * Loaded into a Node.js that goes on in a copy of its machine.  OpenSSL's first
 * generator, which the others look at, gets new bytes from the kernel; where no
 * cell has run yet, so do V8's, from which Math.random of each new context and
 * the hashes of objects come, and Math.random of this one begins anew.
 *
 * It is no addon, so Node.js lets go of it at once; marks in its own file (see
 * javascript.js) say what is to be done, and that it has been.  Takes what it
 * calls from whatever the process has, so that it fits any C library, and does
 * nothing in a Node.js that hides it.
 */

#define SEED_FD    242
#define SEED_MARK  15           /* the last byte of an ELF header's padding */
#define SEED_WHAT  63           /* of the number of a section: none is read */
#define SEED_ALL   'a'

#define WEAK(symbol)  __asm__(symbol) __attribute__((weak))

extern int RAND_poll(void) __attribute__((weak));
extern long pread(int fd, void *p, unsigned long n, long offset)
    __attribute__((weak));
extern long pwrite(int fd, const void *p, unsigned long n, long offset)
    __attribute__((weak));
extern int getentropy(void *p, unsigned long n) __attribute__((weak));

/* v8::Isolate::GetCurrent(), GetCurrentContext(): a handle, which is where the
 * context's tagged address stands. */
extern void *v8_isolate(void) WEAK("_ZN2v87Isolate10GetCurrentEv");
extern unsigned long *v8_context(void *isolate)
    WEAK("_ZN2v87Isolate17GetCurrentContextEv");

/* v8::internal::Isolate::random_number_generator(),
 * v8::base::RandomNumberGenerator::SetSeed(). */
extern void *v8_generator(void *isolate)
    WEAK("_ZN2v88internal7Isolate23random_number_generatorEv");
extern void v8_set_seed(void *generator, long seed)
    WEAK("_ZN2v84base21RandomNumberGenerator7SetSeedEl");

/* v8::internal::MathRandom::ResetContext(), by V8's age. */
extern void v8_reset_context(unsigned long context)
    WEAK("_ZN2v88internal10MathRandom12ResetContextENS0_6TaggedINS0_7ContextE"
         "EE");
extern void v8_reset_context_10(unsigned long context)
    WEAK("_ZN2v88internal10MathRandom12ResetContextENS0_7ContextE");

static void seed(void) __attribute__((constructor));


static int
seed_v8(void)
{
    long            number;
    void           *isolate;
    unsigned long  *context;

    if (v8_isolate == 0 || v8_context == 0 || v8_generator == 0
        || v8_set_seed == 0 || getentropy == 0
        || (v8_reset_context == 0 && v8_reset_context_10 == 0)
        || getentropy(&number, sizeof(number)) != 0)
    {
        return 0;
    }

    isolate = v8_isolate();
    context = isolate != 0 ? v8_context(isolate) : 0;

    if (context == 0) {
        return 0;
    }

    v8_set_seed(v8_generator(isolate), number);

    if (v8_reset_context != 0) {
        v8_reset_context(*context);
    } else {
        v8_reset_context_10(*context);
    }

    return 1;
}


static void
seed(void)
{
    char  what;

    what = '\0';

    if (RAND_poll != 0 && pread != 0 && pwrite != 0
        && pread(SEED_FD, &what, 1, SEED_WHAT) == 1 && RAND_poll() == 1
        && (what != SEED_ALL || seed_v8()))
    {
        (void) pwrite(SEED_FD, "+", 1, SEED_MARK);
    }
}
