/* /backup: the whole map as one file.
 *
 * Decided here, as PRODUCT.md is silent:
 * - GET is served by any member, and contains whatever was acknowledged before the request; with ?stale it is what this member
 *   has at once. It is a dump (raftd-protocol(7)), or with `Accept: application/x-ndjson` lines of JSON (pairs.h).
 * - The dump has a Content-Length; the lines are chunked. Either ends with a checksum; one that cannot be completed ends the
 *   connection before that.
 * - Raftd-Index is the index of the last entry in it, Raftd-Cluster the cluster's id, and Content-Disposition names the file
 *   raftd-CLUSTER-INDEX.dump or .ndjson. HEAD makes the backup to say how long it is.
 * - Two at once on a member; more are 429.
 * - PUT replaces all keys and values by those of a backup in either form. It is guarded by the cluster's id in If-Match (428, 412);
 *   the leader alone takes it (307). All of the body is looked at before anything is changed: 400 says where it is wrong. 200 and
 *   {"keys":N,"index":N} once it is done. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/checksum.h"
#include "http/http_parse.h"
#include "http/http_request.h"
#include "http/pairs.h"

#define STREAM_PIECE 65536 /* sent at once */

static void stream_dump(struct exchange *x, struct service_backup *b)
{
    struct bytes *out = &x->worker->text;

    bytes_reset(out);
    while (x->method != METHOD_HEAD && service_backup_read(b, STREAM_PIECE, out))
        if (!exchange_stream_write(x, out))
            return;
    exchange_stream_end(x, !service_backup_failed(b));
}

/* What is gathered, if it is much or `all` is wanted; it goes into the checksum. False: the client is gone. */
static bool send_lines(struct exchange *x, struct checksum_stream *sum, struct bytes *out, size_t least)
{
    if (out->size < least)
        return true;
    checksum_stream_add(sum, out->data, out->size);
    return exchange_stream_write(x, out);
}

static void stream_pairs(struct exchange *x, struct service_backup *b)
{
    const struct service_backup_info *info = service_backup_info(b);
    struct checksum_stream *sum = checksum_stream_new(0);
    struct bytes *out = &x->worker->text;
    struct view key, value;
    uint64_t etag, count = 0;
    bool there = true;

    bytes_reset(out);
    pairs_append_header(out, info->cluster, info->index, info->term);
    while (there && x->method != METHOD_HEAD && service_backup_next(b, &key, &value, &etag)) {
        pairs_append(out, key, value, etag);
        count++;
        there = send_lines(x, sum, out, STREAM_PIECE);
    }
    there = there && send_lines(x, sum, out, 0);
    if (there && !service_backup_failed(b)) {
        pairs_append_trailer(out, count, checksum_stream_value(sum));
        there = exchange_stream_write(x, out);
    }
    exchange_stream_end(x, there && !service_backup_failed(b));
    checksum_stream_free(sum);
}

static void send_backup(struct exchange *x, struct service_backup *b)
{
    const struct service_backup_info *info = service_backup_info(b);
    bool pairs = parse_accepts(x->headers[HEADER_ACCEPT], "application/x-ndjson");
    struct bytes *extra = &x->worker->extra;
    struct stream head = {
        .type = pairs ? "application/x-ndjson" : "application/octet-stream", .counted = !pairs, .size = info->size};

    bytes_reset(extra);
    bytes_printf(extra,
                 "Raftd-Cluster: %" PRIu64 "\r\nContent-Disposition: attachment; filename=\"raftd-%" PRIu64 "-%" PRIu64
                 ".%s\"\r\n",
                 info->cluster, info->cluster, info->index, pairs ? "ndjson" : "dump");
    head.extra = bytes_view(extra);
    exchange_stream_begin(x, &head, &x->worker->result.stamp);
    if (pairs)
        stream_pairs(x, b);
    else
        stream_dump(x, b);
}

static void get(struct exchange *x)
{
    struct service_result *result = &x->worker->result;
    enum service_consistency consistency = SERVICE_LINEARIZABLE;
    struct service_backup *b = NULL;

    if (!exchange_consistency(x, &consistency))
        return;
    service_backup_open(x->http->node, consistency, SERVICE_DEADLINE_MS, &b, result);
    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_READ);
        return;
    }
    send_backup(x, b);
    service_backup_close(b);
}

/* ---- PUT ---- */

struct upload {
    struct exchange *x;
    struct service_upload *to;
    bool begun, pairs; /* its first byte tells its form */
    struct pairs_reader *lines;
    enum pairs_step step;
    bool end; /* the last line came */
};

/* Whoever replaces everything must say of which cluster. False, and answered, if it is not ours. */
static bool is_meant(struct exchange *x)
{
    const char *match = x->headers[HEADER_IF_MATCH];
    enum service_condition condition;
    struct service_status status;
    uint64_t cluster = 0;

    if (match == NULL) {
        exchange_error(
            x, 428, "precondition_required",
            "PUT /backup replaces all that a cluster holds: say which one is meant, with If-Match: \"ID\" (GET "
            "/cluster has the id)");
        return false;
    }
    if (parse_write_condition(match, NULL, &condition, &cluster) != 0 || condition != SERVICE_IF_INDEX) {
        exchange_error(x, 400, "bad_request", "bad request: If-Match takes the id of the cluster, in quotes");
        return false;
    }
    service_status(x->http->node, &status);
    if (status.cluster == cluster)
        return true;
    exchange_error(x, 412, "condition_failed", "this is cluster %" PRIu64 ", not %" PRIu64 ": nothing was changed",
                   status.cluster, cluster);
    return false;
}

static bool refuse_lines(struct upload *u, const char *fault)
{
    struct service_result *result = &u->x->worker->result;

    result->code = SERVICE_INVALID;
    snprintf(result->text, sizeof result->text, "the backup is no good: %s; nothing was changed", fault);
    return false;
}

static bool take_lines(struct upload *u)
{
    struct pairs_item item;

    do {
        if (pairs_reader_next(u->lines, &u->step, &item) != 0)
            return refuse_lines(u, pairs_reader_fault(u->lines));
        if (u->step == PAIRS_PAIR && !service_upload_pair(u->to, item.key, item.value, &u->x->worker->result))
            return false;
        u->end = u->end || u->step == PAIRS_END;
    } while (u->step != PAIRS_WANTS_MORE);
    return true;
}

static bool take_piece(void *context, struct view piece)
{
    struct upload *u = context;

    if (!u->begun) {
        u->begun = true;
        u->pairs = piece.data[0] == '{';
        u->lines = u->pairs ? pairs_reader_new() : NULL;
    }
    if (!u->pairs)
        return service_upload_bytes(u->to, piece, &u->x->worker->result);
    pairs_reader_feed(u->lines, piece);
    return take_lines(u);
}

/* False: answered. */
static bool take_body(struct exchange *x, struct upload *u)
{
    bool good = exchange_body_pieces(x, service_upload_limit(x->http->node), "-max-db-size", take_piece, u);

    if (good && !u->begun)
        good = refuse_lines(u, "the body is empty");
    else if (good && u->pairs && !u->end)
        good = refuse_lines(u, "it ends before its last line, {\"count\":..}");
    if (!good && x->status == 0)
        exchange_refuse(x, ASKED_WRITE);
    return good;
}

static void replace(struct exchange *x, struct service_upload *to)
{
    struct service_result *result = &x->worker->result;
    uint64_t keys = 0;
    json_t *object = NULL;

    service_upload_restore(to, SERVICE_DEADLINE_MS, &keys, result);
    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_WRITE);
        return;
    }
    object = json_object();
    json_object_set_new(object, "keys", json_integer((json_int_t)keys));
    json_object_set_new(object, "index", json_integer((json_int_t)result->stamp.index));
    exchange_send_json(x, 200, object, &result->stamp);
}

static void put(struct exchange *x)
{
    struct upload u = {.x = x};

    if (!is_meant(x))
        return;
    service_upload_open(x->http->node, &u.to, &x->worker->result);
    if (x->worker->result.code != SERVICE_OK) {
        exchange_refuse(x, ASKED_WRITE);
        return;
    }
    if (take_body(x, &u))
        replace(x, u.to);
    pairs_reader_free(u.lines);
    service_upload_close(u.to);
}

void backup_handle(struct exchange *x, struct view rest)
{
    (void)rest;
    if (x->method == METHOD_PUT)
        put(x);
    else
        get(x);
}
