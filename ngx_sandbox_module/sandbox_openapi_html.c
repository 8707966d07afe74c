/*
 * The OpenAPI document as one page of HTML that needs nothing but itself.  See
 * sandbox_openapi.h.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox_openapi.h"


static const char  html_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem;"
    " margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }\n"
    "h2 { margin: 2.5rem 0 .5rem; border-bottom: 1px solid #ccc }\n"
    "code, pre { font: 14px/1.4 ui-monospace, monospace }\n"
    "pre { background: #f5f5f5; padding: .7rem; overflow: auto }\n"
    "summary { cursor: pointer; padding: .25rem 0 }\n"
    "summary b { display: inline-block; width: 4.5rem; color: #04669d;"
    " font: bold 14px ui-monospace, monospace }\n"
    "summary span { color: #555 }\n"
    "details > div { margin: 0 0 1rem 4.5rem }\n"
    "table { border-collapse: collapse }\n"
    "td { padding: .1rem 1rem .1rem 0; vertical-align: top }\n"
    "@media (prefers-color-scheme: dark) {\n"
    " body { color: #ddd; background: #181818 } pre { background: #252525 }"
    " summary b { color: #6cc1f5 } summary span { color: #aaa } }\n"
    "</style>\n";


static void
html_text(FILE *out, const char *text)
{
    for ( /* void */ ; text != NULL && *text != '\0'; text++) {

        switch (*text) {

        case '<':
            fputs("&lt;", out);
            break;

        case '>':
            fputs("&gt;", out);
            break;

        case '&':
            fputs("&amp;", out);
            break;

        case '"':
            fputs("&quot;", out);
            break;

        default:
            fputc(*text, out);
        }
    }
}


static void
html_member(FILE *out, const char *before, json_t *object, const char *name,
    const char *after)
{
    const char  *text;

    text = json_string_value(json_object_get(object, name));

    if (text != NULL) {
        fputs(before, out);
        html_text(out, text);
        fputs(after, out);
    }
}


static void
html_json(FILE *out, json_t *json)
{
    char  *dump;

    dump = json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY);

    fputs("<pre>", out);
    html_text(out, dump);
    fputs("</pre>\n", out);

    free(dump);
}


/* What a reference leads to; the value itself if it is none. */
static json_t *
html_resolve(json_t *document, json_t *value)
{
    char         part[64];
    size_t       len;
    const char  *ref;

    ref = json_string_value(json_object_get(value, "$ref"));

    if (ref == NULL) {
        return value;
    }

    value = document;

    while ((ref = strchr(ref, '/')) != NULL) {
        len = strcspn(++ref, "/");
        snprintf(part, sizeof(part), "%.*s", (int) len, ref);
        value = json_object_get(value, part);
    }

    return value;
}


static void
html_parameters(FILE *out, json_t *document, json_t *parameters)
{
    size_t       i;
    json_t      *value, *parameter;
    const char  *name;

    if (json_array_size(parameters) == 0) {
        return;
    }

    fputs("<table>\n", out);

    json_array_foreach(parameters, i, value) {
        parameter = html_resolve(document, value);
        name = json_string_value(json_object_get(parameter, "name"));

        fputs("<tr><td><code>", out);
        html_text(out, name);
        fputs("</code>", out);
        html_member(out, "<td>", parameter, "in", "");
        html_member(out, "<td>", parameter, "description", "");
        fputs("\n", out);
    }

    fputs("</table>\n", out);
}


/* Bodies: the media type, and the schema one level deep. */
static void
html_content(FILE *out, json_t *document, json_t *content)
{
    json_t      *media, *schema;
    const char  *type;

    json_object_foreach(content, type, media) {
        schema = json_object_get(media, "schema");

        fputs("<code>", out);
        html_text(out, type);
        fputs("</code>\n", out);

        if (json_object_size(schema) > 0) {
            html_json(out, html_resolve(document, schema));
        }
    }
}


static void
html_operation(FILE *out, json_t *document, const char *method,
    const char *path, json_t *op)
{
    json_t      *body, *responses, *response;
    const char  *status, *p;

    fputs("<details><summary><b>", out);

    for (p = method; *p != '\0'; p++) {
        fputc(*p - 'a' + 'A', out);
    }

    fputs("</b><code>", out);
    html_text(out, path);
    fputs("</code>", out);
    html_member(out, " <span>", op, "summary", "</span>");
    fputs("</summary>\n<div>\n", out);

    html_member(out, "<p>", op, "description", "</p>\n");
    html_parameters(out, document, json_object_get(op, "parameters"));

    body = html_resolve(document, json_object_get(op, "requestBody"));

    if (body != NULL) {
        fputs("<p>Request ", out);
        html_content(out, document, json_object_get(body, "content"));
    }

    responses = json_object_get(op, "responses");

    json_object_foreach(responses, status, response) {

        /* the form of errors is said once, at the top */

        if (strcmp(status, "default") == 0) {
            continue;
        }

        response = html_resolve(document, response);

        fputs("<p>", out);
        html_text(out, status);
        html_member(out, " ", response, "description", " ");
        html_content(out, document, json_object_get(response, "content"));
    }

    fputs("</div></details>\n", out);
}


static int
html_tagged(json_t *op, const char *tag)
{
    const char  *of;

    of = json_string_value(json_array_get(json_object_get(op, "tags"), 0));

    return of != NULL && tag != NULL && strcmp(of, tag) == 0;
}


static void
html_tag(FILE *out, json_t *document, json_t *tag)
{
    json_t      *paths, *path, *op;
    const char  *name, *method, *uri;

    name = json_string_value(json_object_get(tag, "name"));

    html_member(out, "<h2>", tag, "name", "</h2>\n");
    html_member(out, "<p>", tag, "description", "</p>\n");

    paths = json_object_get(document, "paths");

    json_object_foreach(paths, uri, path) {
        json_object_foreach(path, method, op) {
            if (html_tagged(op, name)) {
                html_operation(out, document, method, uri, op);
            }
        }
    }
}


char *
sandbox_openapi_html(json_t *document)
{
    char    *text;
    FILE    *out;
    size_t   len, i;
    json_t  *info, *tag;

    text = NULL;

    out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }

    info = json_object_get(document, "info");

    fputs(html_head, out);
    html_member(out, "<title>", info, "title", "</title>\n");
    fputs("</head>\n<body>\n", out);
    html_member(out, "<h1>", info, "title", "</h1>\n");
    html_member(out, "<p>", info, "description", "</p>\n");
    html_member(out, "<p>Version ", info, "version", "");
    html_member(out, ", OpenAPI ", document, "openapi", "</p>\n");

    json_array_foreach(json_object_get(document, "tags"), i, tag) {
        html_tag(out, document, tag);
    }

    fputs("</body>\n</html>\n", out);

    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }

    return text;
}
