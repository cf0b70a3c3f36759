/* Answers: a head written by hand and, if it is short, the body behind it in one send.
 *
 * Decided here, as PRODUCT.md is silent: answers have a Date; those to GET and HEAD have "Cache-Control: no-cache", as a
 * cache in between would make reads stale; Raftd-Leader is there and empty when no leader is known; Retry-After is always
 * 1 (second); the names in {"error":..} are those in refusals[] below and in the calls of exchange_error. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/text.h"
#include "http/http_request.h"

#define HEAD_MAX  768   /* without the extra lines: fixed text, names, four numbers of 20 digits */
#define ONE_WRITE 16384 /* a body up to this is copied behind its head */
#define RETRY     "Retry-After: 1\r\n"

#define NOT_LEADER_TEXT "raft.Server: Not current leader" /* goraft's words: scripts look for them */

static char *put(char *p, const char *text, size_t size)
{
    memcpy(p, text, size);
    return p + size;
}

#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

static char *put_text(char *p, const char *text)
{
    return put(p, text, strlen(text));
}

static char *put_number(char *p, uint64_t number)
{
    char digits[20];
    size_t n = sizeof digits;

    do {
        digits[--n] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(p, digits + n, sizeof digits - n);
}

static const char *status_line(int status)
{
    switch (status) {
    case 200:
        return "HTTP/1.1 200 OK\r\n";
    case 201:
        return "HTTP/1.1 201 Created\r\n";
    case 204:
        return "HTTP/1.1 204 No Content\r\n";
    case 304:
        return "HTTP/1.1 304 Not Modified\r\n";
    case 307:
        return "HTTP/1.1 307 Temporary Redirect\r\n";
    case 400:
        return "HTTP/1.1 400 Bad Request\r\n";
    case 403:
        return "HTTP/1.1 403 Forbidden\r\n";
    case 404:
        return "HTTP/1.1 404 Not Found\r\n";
    case 405:
        return "HTTP/1.1 405 Method Not Allowed\r\n";
    case 408:
        return "HTTP/1.1 408 Request Timeout\r\n";
    case 409:
        return "HTTP/1.1 409 Conflict\r\n";
    case 412:
        return "HTTP/1.1 412 Precondition Failed\r\n";
    case 413:
        return "HTTP/1.1 413 Content Too Large\r\n";
    case 414:
        return "HTTP/1.1 414 URI Too Long\r\n";
    case 417:
        return "HTTP/1.1 417 Expectation Failed\r\n";
    case 428:
        return "HTTP/1.1 428 Precondition Required\r\n";
    case 429:
        return "HTTP/1.1 429 Too Many Requests\r\n";
    case 431:
        return "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    case 503:
        return "HTTP/1.1 503 Service Unavailable\r\n";
    case 504:
        return "HTTP/1.1 504 Gateway Timeout\r\n";
    case 505:
        return "HTTP/1.1 505 HTTP Version Not Supported\r\n";
    case 507:
        return "HTTP/1.1 507 Insufficient Storage\r\n";
    default:
        return "HTTP/1.1 500 Internal Server Error\r\n";
    }
}

/* The text changes once a second. */
static const char *date(struct worker *w)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm tm;

    if (w->date_s == now)
        return w->date;
    gmtime_r(&now, &tm);
    snprintf(w->date, sizeof w->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday,
             (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
    w->date_s = now;
    return w->date;
}

/* What every answer begins with. */
static char *put_head(char *p, struct exchange *x, int status, const char *type, const struct service_stamp *stamp)
{
    p = put_text(p, status_line(status));
    p = PUT(p, "Date: ");
    p = put_text(p, date(x->worker));
    p = PUT(p, "\r\nRaftd-Node: ");
    p = put_text(p, stamp->node);
    p = PUT(p, "\r\nRaftd-Leader: ");
    p = put_text(p, stamp->leader);
    p = PUT(p, "\r\nRaftd-Term: ");
    p = put_number(p, stamp->term);
    p = PUT(p, "\r\nRaftd-Index: ");
    p = put_number(p, stamp->index);
    p = PUT(p, "\r\n");
    if (x->method == METHOD_GET || x->method == METHOD_HEAD)
        p = PUT(p, "Cache-Control: no-cache\r\n");
    if (x->close)
        p = PUT(p, "Connection: close\r\n");
    else if (x->http_1_0)
        p = PUT(p, "Connection: keep-alive\r\n");
    if (type != NULL) {
        p = PUT(p, "Content-Type: ");
        p = put_text(p, type);
        p = PUT(p, "\r\n");
    }
    return p;
}

/* Long answers to slow readers are ended by the watch, whatever little they read now and then. Short ones need none: the
 * kernel takes them whole once the reader made room, or civetweb's own time-out ends the wait. */
static void arm(struct exchange *x, uint64_t ms)
{
    atomic_store_explicit(&x->worker->watched.reading, false, memory_order_relaxed);
    atomic_store_explicit(&x->worker->watched.deadline_ms, clock_now_ms() + ms, memory_order_relaxed);
}

static void disarm(struct exchange *x)
{
    atomic_store_explicit(&x->worker->watched.deadline_ms, 0, memory_order_relaxed);
}

static bool write_all(struct exchange *x, const void *data, size_t size)
{
    const char *p = data;

    while (size > 0) {
        size_t piece = size < (1U << 30) ? size : 1U << 30;

        if (mg_write(x->connection, p, piece) != (int)piece) {
            x->close = true;
            return false;
        }
        p += piece;
        size -= piece;
    }
    return true;
}

void exchange_send(struct exchange *x, const struct reply *r, const struct service_stamp *stamp)
{
    struct bytes *out = &x->worker->out;
    bool body = r->body.size > 0 && x->method != METHOD_HEAD;
    bool together = body && r->body.size <= ONE_WRITE;
    char *begin, *p;

    CHECK(x->status == 0);
    x->status = r->status;
    exchange_settle_body(x);
    bytes_reset(out);
    begin = p = (char *)bytes_reserve(out, HEAD_MAX + r->extra.size + (together ? r->body.size : 0));
    p = put_head(p, x, r->status, r->type, stamp);
    if (r->etag != 0) {
        p = PUT(p, "ETag: \"");
        p = put_number(p, r->etag);
        p = PUT(p, "\"\r\n");
    }
    if (r->extra.size > 0)
        p = put(p, (const char *)r->extra.data, r->extra.size);
    if (r->status != 204 && r->status != 304) {
        p = PUT(p, "Content-Length: ");
        p = put_number(p, r->body.size);
        p = PUT(p, "\r\n");
    }
    p = PUT(p, "\r\n");
    if (together)
        p = put(p, (const char *)r->body.data, r->body.size);
    if (!body || together) {
        write_all(x, begin, (size_t)(p - begin));
        return;
    }
    arm(x, x->http->limits.body_ms + r->body.size / 64);
    if (write_all(x, begin, (size_t)(p - begin)))
        write_all(x, r->body.data, r->body.size);
    disarm(x);
}

void exchange_send_json(struct exchange *x, int status, json_t *value, const struct service_stamp *stamp)
{
    char *text = json_dumps(value, JSON_COMPACT);
    struct bytes *out = &x->worker->text;

    CHECK(text != NULL);
    bytes_reset(out);
    bytes_append_text(out, text);
    bytes_append_char(out, '\n');
    free(text);
    json_decref(value);
    exchange_send(x, &(struct reply){.status = status, .type = "application/json", .body = bytes_view(out)}, stamp);
}

void exchange_error_with(struct exchange *x, int status, const char *code, const char *extra, const char *text,
                         const struct service_stamp *stamp)
{
    struct bytes *body = &x->worker->text;
    struct reply r = {.status = status, .extra = view_of_text(extra)};

    bytes_reset(body);
    if (x->wants_json) {
        r.type = "application/json";
        bytes_append_text(body, "{\"error\":\"");
        bytes_append_text(body, code);
        bytes_append_text(body, "\",\"message\":\"");
        text_json_escape(body, view_of_text(text));
        bytes_append_text(body, "\"}\n");
    } else {
        r.type = "text/plain; charset=utf-8";
        bytes_append_text(body, text);
        bytes_append_char(body, '\n');
    }
    r.body = bytes_view(body);
    exchange_send(x, &r, stamp);
}

void exchange_error(struct exchange *x, int status, const char *code, const char *format, ...)
{
    struct service_stamp stamp;
    char text[512] = "raftd: "; /* what comes from outside in it is short */
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, sizeof text - used, format, args);
    va_end(args);
    service_stamp(x->http->node, &stamp);
    exchange_error_with(x, status, code, status == 429 || status == 503 ? RETRY : "", text, &stamp);
}

/* Where the leader has the routes that this listener has; "": nowhere. A server that joins is taken at any leader's port for
 * members, too. */
static const char *leader_address(const struct exchange *x)
{
    const struct service_stamp *stamp = &x->worker->result.stamp;

    if (stamp->leader_profile == x->http->profile)
        return stamp->leader_client;
    if (x->http->profile == PROFILE_RAFTD && x->method == METHOD_POST &&
        view_equal(x->path, view_of_text("/cluster/members")))
        return stamp->leader_peer;
    return "";
}

/* 307 to the leader, at the same path and query. */
static void redirect(struct exchange *x)
{
    const struct service_stamp *stamp = &x->worker->result.stamp;
    struct bytes *extra = &x->worker->extra;

    bytes_reset(extra);
    bytes_append_text(extra, "Location: http://");
    bytes_append_text(extra, leader_address(x));
    bytes_append(extra, x->path.data, x->path.size);
    if (x->info->query_string != NULL) {
        bytes_append_char(extra, '?');
        bytes_append(extra, x->query.data, x->query.size);
    }
    bytes_append(extra, "\r\n", 3);
    exchange_error_with(x, 307, "not_leader", (const char *)extra->data, NOT_LEADER_TEXT, stamp);
}

static const struct {
    int status;
    const char *code, *extra;
    const char *read, *write; /* NULL: the service's own text */
} refusals[] = {
    [SERVICE_OK] = {500, "failed", "", "raftd: no answer", "raftd: no answer"},
    [SERVICE_NOT_FOUND] = {404, "no_such_key", "", "raftd: no such key", "raftd: no such key"},
    [SERVICE_CONDITION_FAILED] = {412, "condition_failed", "", "raftd: the condition does not hold",
                                  "raftd: the condition does not hold: nothing was changed"},
    [SERVICE_NOT_LEADER] = {503, "not_leader", RETRY, NOT_LEADER_TEXT, NOT_LEADER_TEXT},
    [SERVICE_NO_LEADER] = {503, "no_leader", RETRY,
                           "raftd: no leader is known: add ?stale to read what this member has", NOT_LEADER_TEXT},
    [SERVICE_LOST] = {503, "lost", RETRY, "raftd: the leader changed while this was read: try again, or add ?stale",
                      "raftd: another leader took over and this was not done: try again"},
    [SERVICE_UNKNOWN] = {504, "unknown", "",
                         "raftd: no answer from a quorum in time: add ?stale to read what this member has",
                         "raftd: no answer from a quorum in time: it may have been done, or be done yet, or never"},
    [SERVICE_NO_QUORUM] = {503, "no_quorum", RETRY, "raftd: no quorum answers: add ?stale to read what this member has",
                           "raftd: no quorum answers: nothing was changed"},
    [SERVICE_BUSY] = {429, "busy", RETRY, "raftd: too many requests at once: try again",
                      "raftd: too many requests at once, nothing was changed: try again"},
    [SERVICE_NO_SPACE] = {507, "no_space", "", "raftd: no space left on the disk of this member",
                          "raftd: no space left on the disk or within -max-db-size: nothing was changed"},
    [SERVICE_STOPPING] = {503, "stopping", RETRY, "raftd: this server is stopping",
                          "raftd: this server is stopping: nothing was changed"},
    [SERVICE_INVALID] = {400, "invalid", "", NULL, NULL},
    [SERVICE_CONFLICT] = {409, "conflict", "", NULL, NULL},
    [SERVICE_DOUBTED] = {503, "map_doubted", RETRY, NULL, NULL},
    [SERVICE_FAILED] = {500, "failed", "", NULL, NULL},
};

/* The leader has no paths for members among those for clients: only whoever asks at its -admin port reaches them. To ask
 * again here would not help. */
static void name_other_leader(struct exchange *x)
{
    const struct service_stamp *stamp = &x->worker->result.stamp;
    struct address peer;
    char text[480];

    if (address_parse(stamp->leader_peer, &peer) != 0)
        snprintf(peer.host, sizeof peer.host, "its machine");
    snprintf(text, sizeof text,
             "raftd: member %s leads, and speaks %s to clients: ask for this at its -admin port (on %.255s)",
             stamp->leader, profile_name(stamp->leader_profile), peer.host);
    exchange_error_with(x, 503, "not_leader", "", text, stamp);
}

void exchange_refuse(struct exchange *x, enum asked what)
{
    const struct service_result *result = &x->worker->result;
    enum service_code code = result->code;
    const char *text = what == ASKED_READ ? refusals[code].read : refusals[code].write;
    const char *extra = refusals[code].extra;
    char line[sizeof result->text + 8], etag[40];

    if (code == SERVICE_STOPPING)
        x->close = true;
    if (code == SERVICE_NOT_LEADER && leader_address(x)[0] != '\0') {
        redirect(x);
        return;
    }
    if (code == SERVICE_NOT_LEADER && what == ASKED_MEMBER && x->http->profile == PROFILE_RAFTD &&
        result->stamp.leader_profile != PROFILE_RAFTD) {
        name_other_leader(x);
        return;
    }
    if (code == SERVICE_NOT_FOUND && what == ASKED_MEMBER) {
        exchange_error_with(x, 404, "no_such_member", "", "raftd: no such member", &result->stamp);
        return;
    }
    if (code == SERVICE_CONDITION_FAILED && result->etag != 0) {
        snprintf(etag, sizeof etag, "ETag: \"%" PRIu64 "\"\r\n", result->etag);
        extra = etag;
    }
    if (text == NULL) {
        snprintf(line, sizeof line, "raftd: %s", result->text);
        text = line;
    }
    exchange_error_with(x, refusals[code].status, refusals[code].code, extra, text, &result->stamp);
}

void exchange_stream_begin(struct exchange *x, const struct stream *head, const struct service_stamp *stamp)
{
    struct bytes *out = &x->worker->out;
    char *begin, *p;

    CHECK(x->status == 0);
    x->status = 200;
    x->counted = head->counted;
    exchange_settle_body(x);
    if (x->http_1_0 && !x->counted)
        x->close = true;
    bytes_reset(out);
    begin = p = (char *)bytes_reserve(out, HEAD_MAX + head->extra.size);
    p = put_head(p, x, 200, head->type, stamp);
    if (head->extra.size > 0)
        p = put(p, (const char *)head->extra.data, head->extra.size);
    if (x->counted) {
        p = PUT(p, "Content-Length: ");
        p = put_number(p, head->size);
        p = PUT(p, "\r\n");
    } else if (!x->http_1_0) {
        p = PUT(p, "Transfer-Encoding: chunked\r\n");
    }
    p = PUT(p, "\r\n");
    arm(x, x->http->limits.body_ms + head->size / 64);
    write_all(x, begin, (size_t)(p - begin));
}

bool exchange_stream_write(struct exchange *x, struct bytes *data)
{
    struct bytes *out = &x->worker->out;
    bool chunked = !x->http_1_0 && !x->counted;
    bool ok = true;

    if (data->size > 0 && x->method != METHOD_HEAD) {
        bytes_reset(out);
        if (chunked)
            bytes_printf(out, "%zx\r\n", data->size);
        bytes_append(out, data->data, data->size);
        if (chunked)
            bytes_append_text(out, "\r\n");
        CHECK(!out->overflow);
        ok = write_all(x, out->data, out->size);
    }
    bytes_reset(data);
    return ok;
}

void exchange_stream_end(struct exchange *x, bool complete)
{
    if (!complete)
        x->close = true;
    else if (!x->http_1_0 && !x->counted && x->method != METHOD_HEAD)
        write_all(x, "0\r\n\r\n", 5);
    disarm(x);
}
