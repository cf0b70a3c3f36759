/* /db/KEY and /db/: values and listings.
 *
 * Decided here, as PRODUCT.md is silent:
 * - POST answers 200 and PUT 201 or 204, always with the ETag of the new value.
 * - GET and HEAD obey If-None-Match (304) and If-Match (412), with lists and weak tags; a write takes one condition: `*` or
 *   one tag "N" in If-Match or If-None-Match. If-None-Match: "N" lets it through unless the key's tag is N. DELETE takes
 *   the same conditions.
 * - The body of GET, HEAD and DELETE is ignored.
 * - ?stale also as stale=1, true or yes; 0, false and no mean linearizable; anything else is 400. Parameters that we do not
 *   know are ignored.
 * - In listings prefix= and after= are percent-decoded once as keys are ("+" is a plus); limit= is a number from 1.
 *   Keys are percent-encoded in all three forms ("/" and RFC 3986's unreserved characters stand for themselves), so that
 *   they can be put behind /db/, prefix= or after= as they are. JSON: {"items":[{"key":..,"etag":N},..],"next":KEY} with
 *   "next" only where a limit cut the list: after=KEY goes on from there. NDJSON: {"key":..,"etag":N,"value":..} a line,
 *   with "value_base64" in place of "value" where the value is not UTF-8.
 * - A listing that fits in 64 KiB has a Content-Length, a longer one is chunked; one that cannot be completed (30 s, or the
 *   server stops) ends the connection without the last chunk. */
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "http/http_parse.h"
#include "http/http_request.h"
#include "http/pairs.h"

#define OPTION_VALUE "-max-value-size"
#define IGNORED_BODY 65536

/* ---- keys and values ---- */

/* False, and answered, if it is no key. Room for the key is the caller's. */
static bool take_key(struct exchange *x, struct view raw, const char *what, uint8_t room[SERVICE_KEY_MAX],
                     struct view *key)
{
    switch (parse_key(raw, room, key)) {
    case 0:
        return true;
    case ERR_TOO_LONG:
        exchange_error(x, 414, "key_too_long", "%s is longer than %d bytes, the limit of a key", what, SERVICE_KEY_MAX);
        return false;
    default:
        exchange_error(x, 400, "bad_request", "bad request: %s has a %% without two hexadecimal digits", what);
        return false;
    }
}

/* Answers if a condition of GET or HEAD settles it: 304 or 412. */
static bool conditions_answer(struct exchange *x, const struct service_result *result)
{
    const char *match = x->headers[HEADER_IF_MATCH], *none_match = x->headers[HEADER_IF_NONE_MATCH];
    enum tag_match m = match != NULL ? parse_tag_list(match, result->etag) : TAG_MATCHES;
    enum tag_match n = none_match != NULL ? parse_tag_list(none_match, result->etag) : TAG_OTHER;

    if (m == TAG_MALFORMED || n == TAG_MALFORMED) {
        exchange_error(x, 400, "bad_request", "bad request: If-Match and If-None-Match take * or tags in quotes");
        return true;
    }
    if (m == TAG_OTHER) {
        x->worker->result.code = SERVICE_CONDITION_FAILED;
        exchange_refuse(x, ASKED_READ);
        return true;
    }
    if (n == TAG_MATCHES) {
        exchange_send(x, &(struct reply){.status = 304, .etag = result->etag}, &result->stamp);
        return true;
    }
    return false;
}

static void get(struct exchange *x, struct view key)
{
    struct service_result *result = &x->worker->result;
    enum service_consistency consistency;
    struct reply r = {.status = 200, .type = "application/octet-stream"};

    if (!exchange_consistency(x, &consistency))
        return;
    service_get(x->http->node, key, consistency, SERVICE_DEADLINE_MS, &x->worker->value, result);
    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_READ);
        return;
    }
    if ((x->headers[HEADER_IF_MATCH] != NULL || x->headers[HEADER_IF_NONE_MATCH] != NULL) &&
        conditions_answer(x, result)) {
        return;
    }
    r.etag = result->etag;
    r.body = bytes_view(&x->worker->value);
    exchange_send(x, &r, &result->stamp);
}

static void set(struct exchange *x, struct service_write *w)
{
    struct service_result *result = &x->worker->result;

    if (!exchange_body(x, x->http->max_value_size, OPTION_VALUE))
        return;
    w->op = SERVICE_SET;
    w->value = bytes_view(&x->worker->body);
    service_write(x->http->node, w, SERVICE_DEADLINE_MS, result);
    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_WRITE);
        return;
    }
    exchange_send(x,
                  &(struct reply){
                      .status = x->method == METHOD_POST ? 200
                                : result->created        ? 201
                                                         : 204,
                      .etag = result->etag,
                  },
                  &result->stamp);
}

static void delete (struct exchange *x, struct service_write *w)
{
    struct service_result *result = &x->worker->result;

    if (!exchange_body(x, IGNORED_BODY, NULL))
        return;
    w->op = SERVICE_DELETE;
    service_write(x->http->node, w, SERVICE_DEADLINE_MS, result);
    if (result->code != SERVICE_OK)
        exchange_refuse(x, ASKED_WRITE);
    else
        exchange_send(x, &(struct reply){.status = 204}, &result->stamp);
}

void kv_handle(struct exchange *x, struct view rest)
{
    uint8_t room[SERVICE_KEY_MAX];
    struct service_write w = {.condition = SERVICE_ALWAYS};

    if (!take_key(x, rest, "the key", room, &w.key))
        return;
    if (x->method == METHOD_GET || x->method == METHOD_HEAD) {
        get(x, w.key);
        return;
    }
    if (parse_write_condition(x->headers[HEADER_IF_MATCH], x->headers[HEADER_IF_NONE_MATCH], &w.condition,
                              &w.expected) != 0) {
        exchange_error(x, 400, "bad_request",
                       "bad request: a write takes one of If-Match or If-None-Match, with * or one tag \"N\"");
        return;
    }
    if (x->method == METHOD_DELETE)
        delete (x, &w);
    else
        set(x, &w);
}

/* ---- listings ---- */

#define STREAM_PIECE 65536 /* what is gathered before it is sent */

enum form { FORM_TEXT, FORM_JSON, FORM_PAIRS };

struct listing {
    struct exchange *x;
    enum form form;
    struct service_scan *scan;
    struct bytes *out; /* gathered, not yet sent */
    bool streaming;    /* the head went already */
    bool cut;          /* by the limit: `last` is where to go on */
    uint64_t limit, count;
    uint8_t last[SERVICE_KEY_MAX];
    size_t last_size;
};

static const char *const form_types[] = {
    [FORM_TEXT] = "text/plain; charset=utf-8",
    [FORM_JSON] = "application/json",
    [FORM_PAIRS] = "application/x-ndjson",
};

static void append_item(struct listing *l, struct view key, struct view value, uint64_t etag)
{
    struct bytes *out = l->out;

    if (l->form == FORM_TEXT) {
        text_percent_encode(out, key);
        bytes_append_char(out, '\n');
        return;
    }
    if (l->form == FORM_PAIRS) {
        pairs_append(out, key, value, etag);
        return;
    }
    if (l->count > 0)
        bytes_append_char(out, ',');
    bytes_append_text(out, "{\"key\":\"");
    text_percent_encode(out, key);
    bytes_printf(out, "\",\"etag\":%llu}", (unsigned long long)etag);
}

/* Sends what was gathered once it is much. False: the client is gone, or wanted the head alone. */
static bool stream_if_much(struct listing *l)
{
    if (l->out->size < STREAM_PIECE)
        return true;
    if (!l->streaming)
        exchange_stream_begin(l->x, &(struct stream){.type = form_types[l->form]}, &l->x->worker->result.stamp);
    l->streaming = true;
    return exchange_stream_write(l->x, l->out) && l->x->method != METHOD_HEAD;
}

static void walk(struct listing *l)
{
    struct view key, value;
    uint64_t etag;

    if (l->form == FORM_JSON)
        bytes_append_text(l->out, "{\"items\":[");
    while (service_scan_next(l->scan, &key, &value, &etag)) {
        if (l->count == l->limit) {
            l->cut = true;
            break;
        }
        append_item(l, key, value, etag);
        l->count++;
        if (l->count == l->limit) {
            memcpy(l->last, key.data, key.size);
            l->last_size = key.size;
        }
        if (!stream_if_much(l))
            break;
    }
    if (l->form != FORM_JSON)
        return;
    bytes_append_char(l->out, ']');
    if (l->cut) {
        bytes_append_text(l->out, ",\"next\":\"");
        text_percent_encode(l->out, view_of(l->last, l->last_size));
        bytes_append_char(l->out, '"');
    }
    bytes_append_text(l->out, "}\n");
}

static void send_listing(struct listing *l)
{
    struct exchange *x = l->x;
    const struct service_stamp *stamp = &x->worker->result.stamp;
    bool complete = false;

    walk(l);
    service_scan_close(l->scan, &complete);
    complete = complete || l->cut || x->method == METHOD_HEAD;
    if (l->streaming) {
        complete = exchange_stream_write(x, l->out) && complete;
        exchange_stream_end(x, complete);
    } else if (complete) {
        struct reply r = {.status = 200, .type = form_types[l->form], .body = bytes_view(l->out)};

        exchange_send(x, &r, stamp);
    } else {
        exchange_error(x, 503, "interrupted", "the listing took too long: take it in parts with limit= and after=");
    }
}

static enum form form_of(const struct exchange *x)
{
    if (parse_accepts(x->headers[HEADER_ACCEPT], "application/x-ndjson"))
        return FORM_PAIRS;
    return x->wants_json ? FORM_JSON : FORM_TEXT;
}

static bool take_query_key(struct exchange *x, const char *name, uint8_t room[SERVICE_KEY_MAX], struct view *key)
{
    struct view raw;

    *key = view_of(NULL, 0);
    return !text_query(x->query, name, &raw) || take_key(x, raw, name, room, key);
}

void kv_list(struct exchange *x, struct view rest)
{
    uint8_t prefix_room[SERVICE_KEY_MAX], after_room[SERVICE_KEY_MAX];
    struct listing l = {.x = x, .form = form_of(x), .out = &x->worker->text, .limit = UINT64_MAX};
    enum service_consistency consistency;
    struct view prefix, after;

    (void)rest;
    if (x->method != METHOD_GET && x->method != METHOD_HEAD) {
        exchange_error(x, 400, "bad_request", "bad request: a key has 1 to %d bytes", SERVICE_KEY_MAX);
        return;
    }
    if (!take_query_key(x, "prefix", prefix_room, &prefix) || !take_query_key(x, "after", after_room, &after) ||
        !exchange_consistency(x, &consistency)) {
        return;
    }
    if (parse_number(x->query, "limit", JSON_NUMBER_MAX, &l.limit) != 0) {
        exchange_error(x, 400, "bad_request", "bad request: limit takes a number from 1");
        return;
    }
    service_scan_open(x->http->node, prefix, after, consistency, SERVICE_DEADLINE_MS, &l.scan, &x->worker->result);
    if (x->worker->result.code != SERVICE_OK) {
        exchange_refuse(x, ASKED_READ);
        return;
    }
    bytes_reset(l.out);
    send_listing(&l);
}
