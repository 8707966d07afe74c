/*
 * What Firecracker answers: one form of HTTP, no other.  Behind it may be a
 * guest that has broken out, so nothing of it is believed; see fc_api.h.
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "sandboxd/fc_api.h"

#define LENGTH  "content-length:"


/* "HTTP/1.1 204 " and anything: the status, or -1. */
static int
answer_status(const char *p, size_t len)
{
    if (len < 12 || memcmp(p, "HTTP/1.1 ", 9) != 0
        || (len > 12 && p[12] != ' ')
        || strspn(p + 9, "0123456789") != 3)
    {
        return -1;
    }

    return (p[9] - '0') * 100 + (p[10] - '0') * 10 + p[11] - '0';
}


/* Of a header line's value; -1: it is none. */
static long
answer_length(const char *p, const char *end)
{
    long  n;

    while (p < end && *p == ' ') {
        p++;
    }

    if (p == end) {
        return -1;
    }

    for (n = 0; p < end; p++) {
        if (!isdigit((unsigned char) *p) || n > FC_BODY_MAX) {
            return -1;
        }
        n = n * 10 + (*p - '0');
    }

    return n > FC_BODY_MAX ? -1 : n;
}


/* The lines between p and end, of which each ends with CR and LF.  Sets the
 * body's length. */
static int
answer_head(fc_answer *a, const char *p, const char *end)
{
    long         n;
    bool         told;
    const char  *eol;

    eol = memmem(p, (size_t) (end - p), "\r\n", 2);
    a->status = answer_status(p, (size_t) (eol - p));
    a->body_len = 0;

    /* An interim answer would be one that nobody has asked for. */
    if (a->status < 200) {
        return -1;
    }

    told = false;

    for (p = eol + 2; p < end; p = eol + 2) {
        eol = memmem(p, (size_t) (end - p), "\r\n", 2);

        if (strncasecmp(p, "transfer-encoding:",
                        sizeof("transfer-encoding:") - 1) == 0)
        {
            return -1;
        }

        if (strncasecmp(p, LENGTH, sizeof(LENGTH) - 1) != 0) {
            continue;
        }

        n = answer_length(p + sizeof(LENGTH) - 1, eol);
        if (n == -1 || told) {
            return -1;
        }

        told = true;
        a->body_len = (size_t) n;
    }

    /* It has none, and no length of it. */
    return a->status == 204 && a->body_len != 0 ? -1 : 0;
}


int
fc_answer_look(fc_answer *a)
{
    char    *end;
    size_t   head;

    end = memmem(a->text, a->len, "\r\n\r\n", 4);

    if (end == NULL) {
        return a->len > FC_HEAD_MAX ? -1 : 0;
    }

    head = (size_t) (end + 4 - a->text);

    if (head > FC_HEAD_MAX || answer_head(a, a->text, end + 2) != 0
        || a->len > head + a->body_len)
    {
        return -1;
    }

    if (a->len < head + a->body_len) {
        return 0;
    }

    a->body = a->text + head;
    a->body[a->body_len] = '\0';

    return 1;
}


void
fc_answer_fault(const fc_answer *a, char fault[FC_FAULT_MAX])
{
    char         c;
    size_t       i;
    json_t      *root;
    const char  *text;

    root = json_loadb(a->body, a->body_len, 0, NULL);
    text = json_string_value(json_object_get(root, "fault_message"));
    text = text != NULL ? text : "no reason given";

    for (i = 0; i < FC_FAULT_MAX - 1 && text[i] != '\0'; i++) {
        c = text[i];
        fault[i] = c == '\n' || c == '\t' ? ' '
                   : c >= ' ' && c < 0x7f ? c : '?';
    }

    fault[i] = '\0';
    json_decref(root);
}
