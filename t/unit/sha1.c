/* sources: agent/sha1.c */
/* libs: */

/* SHA-1 against the known vectors. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sha1.h"
#include "t/unit/tap.h"


static int
is(const char *text, size_t n, const char *want)
{
    char           hex[2 * SHA1_LEN + 1];
    size_t         i;
    unsigned char  sum[SHA1_LEN];

    sha1(text, n, sum);
    for (i = 0; i < SHA1_LEN; i++) {
        sprintf(hex + 2 * i, "%02x", sum[i]);
    }

    return strcmp(hex, want) == 0;
}


static void
test_vectors(void)
{
    char               *million;
    static const char   two[] =
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char   long_text[] =
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
        "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";

    ok(is("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709"), "nothing");
    ok(is("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d"), "abc");
    ok(is(two, strlen(two), "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
       "56 bytes: the length goes into a block of its own");
    ok(is(long_text, strlen(long_text),
          "a49b2446a02c645bf419f995b67091253a04a259"), "112 bytes");
    ok(is("The quick brown fox jumps over the lazy dog", 43,
          "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"), "one block");

    million = malloc(1000000);
    memset(million, 'a', 1000000);
    ok(is(million, 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
       "a million");
    ok(is(million, 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
       "64: exactly a block");
    ok(is(million, 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"),
       "55: the most that one block holds");
    ok(is(million, 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
       "56: one more");
    free(million);
}


int
main(void)
{
    test_vectors();

    return done_testing();
}
