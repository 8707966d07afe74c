/* Media types of files; see mime.h. */

#include <string.h>
#include <strings.h>

#include "agent/mime.h"
#include "common/utf8.h"

#define MIME_COUNT(a)  (sizeof(a) / sizeof((a)[0]))

typedef struct {
    const char  *extension;
    const char  *type;
} mime_extension;

typedef struct {
    size_t       offset;
    size_t       len;
    const char  *bytes;
    const char  *type;
} mime_magic;

static const mime_extension  mime_extensions[] = {
    { "7z", "application/x-7z-compressed" },
    { "aac", "audio/aac" },
    { "avif", "image/avif" },
    { "bmp", "image/bmp" },
    { "bz2", "application/x-bzip2" },
    { "cjs", "text/javascript" },
    { "css", "text/css" },
    { "csv", "text/csv" },
    { "doc", "application/msword" },
    { "docx", "application/vnd.openxmlformats-officedocument"
              ".wordprocessingml.document" },
    { "eot", "application/vnd.ms-fontobject" },
    { "epub", "application/epub+zip" },
    { "flac", "audio/flac" },
    { "gif", "image/gif" },
    { "gz", "application/gzip" },
    { "htm", "text/html" },
    { "html", "text/html" },
    { "ico", "image/x-icon" },
    { "ics", "text/calendar" },
    { "jar", "application/java-archive" },
    { "jpeg", "image/jpeg" },
    { "jpg", "image/jpeg" },
    { "js", "text/javascript" },
    { "json", "application/json" },
    { "json5", "text/json5" },
    { "jsonld", "application/ld+json" },
    { "jsx", "text/javascript" },
    { "m4a", "audio/mp4" },
    { "map", "application/json" },
    { "markdown", "text/markdown" },
    { "md", "text/markdown" },
    { "mjs", "text/javascript" },
    { "mkv", "video/x-matroska" },
    { "mov", "video/quicktime" },
    { "mp3", "audio/mpeg" },
    { "mp4", "video/mp4" },
    { "mpeg", "video/mpeg" },
    { "odt", "application/vnd.oasis.opendocument.text" },
    { "oga", "audio/ogg" },
    { "ogg", "audio/ogg" },
    { "ogv", "video/ogg" },
    { "otf", "font/otf" },
    { "parquet", "application/vnd.apache.parquet" },
    { "pdf", "application/pdf" },
    { "php", "application/x-httpd-php" },
    { "png", "image/png" },
    { "ppt", "application/vnd.ms-powerpoint" },
    { "pptx", "application/vnd.openxmlformats-officedocument"
              ".presentationml.presentation" },
    { "rar", "application/vnd.rar" },
    { "rtf", "application/rtf" },
    { "sh", "application/x-sh" },
    { "sql", "application/sql" },
    { "svg", "image/svg+xml" },
    { "tar", "application/x-tar" },
    { "text", "text/plain" },
    { "tgz", "application/gzip" },
    { "tif", "image/tiff" },
    { "tiff", "image/tiff" },
    { "toml", "application/toml" },
    { "ts", "text/javascript" },
    { "tsv", "text/tab-separated-values" },
    { "tsx", "text/javascript" },
    { "ttf", "font/ttf" },
    { "txt", "text/plain" },
    { "wasm", "application/wasm" },
    { "wav", "audio/wav" },
    { "weba", "audio/webm" },
    { "webm", "video/webm" },
    { "webmanifest", "application/manifest+json" },
    { "webp", "image/webp" },
    { "woff", "font/woff" },
    { "woff2", "font/woff2" },
    { "xhtml", "application/xhtml+xml" },
    { "xls", "application/vnd.ms-excel" },
    { "xlsx", "application/vnd.openxmlformats-officedocument"
              ".spreadsheetml.sheet" },
    { "xml", "application/xml" },
    { "xz", "application/x-xz" },
    { "yaml", "text/yaml" },
    { "yml", "text/yaml" },
    { "zip", "application/zip" },
    { "zst", "application/zstd" }
};

static const mime_magic  mime_magics[] = {
    { 0, 8, "\x89PNG\r\n\x1a\n", "image/png" },
    { 0, 3, "\xff\xd8\xff", "image/jpeg" },
    { 0, 4, "GIF8", "image/gif" },
    { 8, 4, "WEBP", "image/webp" },
    { 8, 4, "WAVE", "audio/x-wav" },
    { 4, 8, "ftypavif", "image/avif" },
    { 4, 4, "ftyp", "video/mp4" },
    { 0, 4, "OggS", "application/ogg" },
    { 0, 4, "fLaC", "audio/flac" },
    { 0, 4, "\x1a\x45\xdf\xa3", "video/x-matroska" },
    { 0, 4, "\x7f" "ELF", "application/x-executable" },
    { 0, 4, "\0asm", "application/wasm" },
    { 0, 4, "\xca\xfe\xba\xbe", "application/x-java-applet" },
    { 0, 5, "%PDF-", "application/pdf" },
    { 0, 2, "\x1f\x8b", "application/gzip" },
    { 0, 3, "BZh", "application/x-bzip2" },
    { 0, 6, "\xfd" "7zXZ\0", "application/x-xz" },
    { 0, 4, "\x28\xb5\x2f\xfd", "application/zstd" },
    { 0, 6, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed" },
    { 0, 4, "PK\x03\x04", "application/zip" },
    { 0, 4, "PK\x05\x06", "application/zip" },
    { 257, 5, "ustar", "application/x-tar" },
    { 0, 16, "SQLite format 3\0", "application/vnd.sqlite3" },
    { 0, 4, "wOFF", "font/woff" },
    { 0, 4, "wOF2", "font/woff2" },
    { 0, 4, "PAR1", "application/vnd.apache.parquet" },

    /* UTF-16: text to an editor, but not in the UTF-8 of our answers. */
    { 0, 2, "\xff\xfe", "application/octet-stream" },
    { 0, 2, "\xfe\xff", "application/octet-stream" }
};

/* How text begins that is something more. */
static const mime_magic  mime_texts[] = {
    { 0, 5, "<?xml", "text/xml" },
    { 0, 5, "<html", "text/html" },
    { 0, 14, "<!doctype html", "text/html" },
    { 0, 5, "<?php", "application/x-httpd-php" },
    { 0, 5, "{\\rtf", "application/rtf" }
};

static const char *const  mime_text_types[] = {
    "application/ecmascript", "application/javascript", "application/json",
    "application/json-seq", "application/rtf", "application/sql",
    "application/toml", "application/typescript", "application/x-empty",
    "application/x-httpd-php", "application/x-javascript", "application/x-sh",
    "application/x-shellscript", "application/x-typescript",
    "application/x-yaml", "application/xml", "application/xml-dtd",
    "application/xml-external-parsed-entity", "application/yaml",
    "inode/x-empty"
};

static bool mime_looks_like_text(const unsigned char *p, size_t n,
    bool whole);
static const char *mime_text_kind(const char *p, size_t n);


const char *
mime_by_name(const char *name)
{
    size_t       i;
    const char  *base, *dot;

    base = strrchr(name, '/');
    base = base ? base + 1 : name;
    dot = strrchr(base, '.');

    if (dot == NULL || dot == base) {
        return NULL;
    }

    for (i = 0; i < MIME_COUNT(mime_extensions); i++) {
        if (strcasecmp(dot + 1, mime_extensions[i].extension) == 0) {
            return mime_extensions[i].type;
        }
    }

    return NULL;
}


const char *
mime_sniff(const void *data, size_t n, bool whole)
{
    size_t             i;
    const char        *p;
    const mime_magic  *m;

    if (n == 0) {
        return "inode/x-empty";
    }

    p = data;

    for (i = 0; i < MIME_COUNT(mime_magics); i++) {
        m = &mime_magics[i];

        if (n >= m->offset + m->len
            && memcmp(p + m->offset, m->bytes, m->len) == 0)
        {
            return m->type;
        }
    }

    if (n > MIME_SNIFF) {
        n = MIME_SNIFF;
        whole = false;
    }

    return mime_looks_like_text(data, n, whole) ? mime_text_kind(p, n)
                                                : "application/octet-stream";
}


bool
mime_is_text(const char *type)
{
    size_t  i, n;

    n = strlen(type);

    if (strncmp(type, "text/", 5) == 0
        || (n > 5 && strcmp(type + n - 5, "+json") == 0)
        || (n > 4 && strcmp(type + n - 4, "+xml") == 0))
    {
        return true;
    }

    for (i = 0; i < MIME_COUNT(mime_text_types); i++) {
        if (strcmp(type, mime_text_types[i]) == 0) {
            return true;
        }
    }

    return false;
}


/*
 * Control characters that no text has decide first.  Then UTF-8 is text, and
 * so is what could be Latin-1; bytes that are control characters even there
 * mean that it is neither.
 */

static bool
mime_looks_like_text(const unsigned char *p, size_t n, bool whole)
{
    bool    c1;
    size_t  i, valid;

    for (c1 = false, i = 0; i < n; i++) {
        if (p[i] == 0x7f
            || (p[i] < 0x20 && (p[i] < 7 || p[i] > 13) && p[i] != 27))
        {
            return false;
        }

        c1 = c1 || (p[i] >= 0x80 && p[i] <= 0x9f);
    }

    valid = utf8_valid(p, n);

    return !c1 || valid == n || (!whole && valid == utf8_complete(p, n));
}


static const char *
mime_text_kind(const char *p, size_t n)
{
    size_t       i, line;
    const char  *end;

    if (n > 2 && p[0] == '#' && p[1] == '!') {
        end = memchr(p, '\n', n);
        line = end ? (size_t) (end - p) : n;

        if (memmem(p, line, "python", 6) != NULL) {
            return "text/x-script.python";
        }

        if (memmem(p, line, "node", 4) != NULL) {
            return "application/javascript";
        }

        if (memmem(p, line, "perl", 4) != NULL) {
            return "text/x-perl";
        }

        if (memmem(p, line, "sh", 2) != NULL) {
            return "text/x-shellscript";
        }
    }

    while (n > 0 && strchr(" \t\r\n", *p) != NULL) {
        p++;
        n--;
    }

    for (i = 0; i < MIME_COUNT(mime_texts); i++) {
        if (n >= mime_texts[i].len
            && strncasecmp(p, mime_texts[i].bytes, mime_texts[i].len) == 0)
        {
            return mime_texts[i].type;
        }
    }

    return "text/plain";
}
