/* The head of a request: what civetweb's parser lets through and we do not.
 *
 * civetweb (1.15) takes as the end of the headers whatever it cannot read as one: the 65th header, a folded line, a line
 * that begins with ":". It takes a bare LF for a line's end, "5xyz" for a length of 5, the first of two Content-Lengths. A
 * proxy in front of us may read such a request in another way, and then one client's body becomes another client's
 * request. It leaves the bytes in place and puts a NUL where a token ended, so the places tell what stood between.
 *
 * Decided here, as PRODUCT.md is silent: at most 64 header lines (431); a head of at most 16 KiB (400, all
 * that civetweb tells of it); Content-Length
 * with Transfer-Encoding, either of them twice, any coding but chunked, two Hosts, no Host in HTTP/1.1: 400 and the end of
 * the connection; If-Match or If-None-Match twice: 400; an Expect that is not 100-continue: 417. */
#include <string.h>
#include <strings.h>

#include "http/http_parse.h"
#include "http/http_request.h"

static const char *const header_names[HEADERS] = {
    [HEADER_HOST] = "Host",
    [HEADER_CONTENT_LENGTH] = "Content-Length",
    [HEADER_TRANSFER_ENCODING] = "Transfer-Encoding",
    [HEADER_EXPECT] = "Expect",
    [HEADER_CONNECTION] = "Connection",
    [HEADER_ACCEPT] = "Accept",
    [HEADER_IF_MATCH] = "If-Match",
    [HEADER_IF_NONE_MATCH] = "If-None-Match",
    [HEADER_SEC_FETCH_SITE] = "Sec-Fetch-Site",
};

static enum http_method method_of(const char *name)
{
    static const char *const names[METHOD_OTHER] = {
        [METHOD_GET] = "GET", [METHOD_HEAD] = "HEAD",     [METHOD_POST] = "POST",
        [METHOD_PUT] = "PUT", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS",
    };

    for (unsigned i = 0; i < METHOD_OTHER; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum http_method)i;
    return METHOD_OTHER;
}

/* Whether `text` was followed by exactly CR LF, both of which are NUL now, and then by `next`. */
static bool line_ends_before(const char *text, const char *next)
{
    return text + strlen(text) + 2 == next;
}

/* Between a name and its value there was a colon (NUL now) and then nothing but blanks. */
static bool colon_follows(const struct mg_header *h)
{
    for (const char *p = h->name + strlen(h->name) + 1; p < h->value; p++)
        if (*p != ' ' && *p != '\t')
            return false;
    return true;
}

/* NULL, or what is wrong with how the lines are put together. */
static const char *lines_fault(const struct mg_request_info *info)
{
    const char *uri_end = info->query_string != NULL ? info->query_string + strlen(info->query_string)
                                                     : info->request_uri + strlen(info->request_uri);
    const char *version = info->http_version - strlen("HTTP/");
    const struct mg_header *h = info->http_headers;
    int last = info->num_headers - 1;
    const char *end;

    if (info->request_method + strlen(info->request_method) + 1 != info->request_uri || uri_end + 1 != version)
        return "the request line must have single spaces";
    if (info->num_headers == 0)
        return strcmp(info->http_version, "1.0") == 0 ? NULL : "there is no Host header";
    if (!line_ends_before(version, h[0].name))
        return "the request line must end with CR LF, and the next line begin with a header's name";
    for (int i = 0; i <= last; i++) {
        if (!colon_follows(&h[i]))
            return "a header's name must be followed by a colon at once";
        if (i < last && !line_ends_before(h[i].value, h[i + 1].name))
            return "a header line must end with CR LF";
    }
    end = h[last].value + strlen(h[last].value);
    if (end[1] != '\0' || end[2] != '\r' || end[3] != '\0')
        return info->num_headers == MG_MAX_HEADERS ? "more than 64 header lines"
                                                   : "a header line is folded, has no name, or does not end with CR LF";
    return NULL;
}

/* civetweb skips blank lines before a request and then may take for the request what an earlier one left in its buffer.
 * That buffer is the worker's for life, so the lowest place where a request began is its beginning. */
static bool begins_where_it_should(struct exchange *x)
{
    const char *start = x->info->request_method;

    if (x->worker->buffer == NULL || start < x->worker->buffer)
        x->worker->buffer = start;
    return start == x->worker->buffer || (start == x->worker->buffer + 2 && start[-2] == '\r' && start[-1] == '\n');
}

/* Fills x->headers. NULL, or the name of the first one that stands there twice and must not. */
static const char *collect_headers(struct exchange *x)
{
    for (int i = 0; i < x->info->num_headers; i++) {
        const struct mg_header *h = &x->info->http_headers[i];

        for (unsigned k = 0; k < HEADERS; k++) {
            if ((h->name[0] | 0x20) != (header_names[k][0] | 0x20) || strcasecmp(h->name, header_names[k]) != 0)
                continue;
            if (x->headers[k] == NULL)
                x->headers[k] = h->value;
            else if (k == HEADER_CONNECTION)
                x->close = true;
            else if (k != HEADER_ACCEPT)
                return header_names[k];
        }
    }
    return NULL;
}

/* How long the body is, and whether another request may follow. NULL, or the fault. */
static const char *framing_fault(struct exchange *x)
{
    const char *length = x->headers[HEADER_CONTENT_LENGTH];
    const char *coding = x->headers[HEADER_TRANSFER_ENCODING];
    const char *connection = x->headers[HEADER_CONNECTION];

    if (connection == NULL)
        x->close = x->close || x->http_1_0;
    else if (!parse_has_token(connection, "keep-alive") || parse_has_token(connection, "upgrade"))
        x->close = true;
    if (coding != NULL) {
        if (length != NULL)
            return "Content-Length and Transfer-Encoding exclude each other";
        if (strcasecmp(coding, "chunked") != 0 || x->http_1_0)
            return "the only transfer coding is chunked, in HTTP/1.1";
        x->chunked = true;
    } else if (length != NULL && parse_content_length(length, &x->content_length) != 0) {
        return "Content-Length is no number";
    }
    if (!x->http_1_0 && x->headers[HEADER_HOST] == NULL)
        return "there is no Host header";
    x->body_taken = !x->chunked && x->content_length == 0;
    x->expects = !x->body_taken && !x->http_1_0 && x->headers[HEADER_EXPECT] != NULL;
    return NULL;
}

/* Refuses, and believes nothing of what follows on this connection. */
static bool refuse_head(struct exchange *x, int status, const char *fault)
{
    x->close = true;
    x->body_taken = true;
    exchange_error(x, status, status == 431 ? "head_too_large" : "bad_request", "bad request: %s", fault);
    return false;
}

bool exchange_open(struct exchange *x)
{
    const char *fault = lines_fault(x->info);
    const char *twice;

    x->method = method_of(x->info->request_method);
    x->http_1_0 = strcmp(x->info->http_version, "1.0") == 0;
    bytes_reset(&x->worker->body);
    x->path = view_of_text(x->info->local_uri_raw);
    if (x->info->query_string != NULL)
        x->query = view_of_text(x->info->query_string);
    if (!begins_where_it_should(x))
        return refuse_head(x, 400, "there is something before the request line");
    if (fault != NULL)
        return refuse_head(x, fault[0] == 'm' ? 431 : 400, fault);
    twice = collect_headers(x);
    x->wants_json = parse_accepts(x->headers[HEADER_ACCEPT], "application/json");
    if (twice != NULL) {
        x->close = true;
        x->body_taken = true;
        exchange_error(x, 400, "bad_request", "bad request: two %s headers", twice);
        return false;
    }
    fault = framing_fault(x);
    if (fault != NULL)
        return refuse_head(x, 400, fault);
    if (x->expects && strcasecmp(x->headers[HEADER_EXPECT], "100-continue") != 0) {
        exchange_error(x, 417, "bad_request", "only \"Expect: 100-continue\" can be met");
        return false;
    }
    return true;
}

bool exchange_consistency(struct exchange *x, enum service_consistency *consistency)
{
    bool stale;

    if (parse_flag(x->query, "stale", &stale) != 0) {
        exchange_error(x, 400, "bad_request", "bad request: stale takes no value, or 1 or 0");
        return false;
    }
    *consistency = stale ? SERVICE_STALE : SERVICE_LINEARIZABLE;
    return true;
}
