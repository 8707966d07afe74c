/*
 * Keeps what the tar part of libarchive would drag in, and never needs, out of
 * the static binary.  All of it is weak: where a release of a library has one
 * of these in an object that is linked anyway, that one is taken, and where it
 * has none, nothing calls ours.
 *
 * Names in archives are bytes that are UTF-8 by convention: nothing is
 * converted, so there is no iconv() (glibc's own loads shared libraries of the
 * image at run time), and the one character set that is asked for is UTF-8.
 *
 * The last function lies in the same object as the list of all formats that
 * libarchive writes, and would pull in every one of them with its compressors.
 * It only words the refusal of a file type, and none such is handed over.
 */

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <iconv.h>
#include <langinfo.h>

#pragma weak iconv_open
#pragma weak iconv
#pragma weak iconv_close
#pragma weak nl_langinfo
#pragma weak __archive_write_entry_filetype_unsupported

void __archive_write_entry_filetype_unsupported(struct archive *a,
    struct archive_entry *entry, const char *format);


iconv_t
iconv_open(const char *to, const char *from)
{
    (void) to;
    (void) from;

    errno = EINVAL;

    return (iconv_t) -1;
}


size_t
iconv(iconv_t cd, char **in, size_t *in_left, char **out, size_t *out_left)
{
    (void) cd;
    (void) in;
    (void) in_left;
    (void) out;
    (void) out_left;

    errno = EBADF;

    return (size_t) -1;
}


int
iconv_close(iconv_t cd)
{
    (void) cd;

    errno = EBADF;

    return -1;
}


char *
nl_langinfo(nl_item item)
{
    static char  charset[] = "UTF-8";
    static char  nothing[] = "";

    return item == CODESET ? charset : nothing;
}


void
__archive_write_entry_filetype_unsupported(struct archive *a,
    struct archive_entry *entry, const char *format)
{
    archive_set_error(a, EINVAL, "%s: no %s entry for a file of this type",
                      archive_entry_pathname(entry), format);
}
