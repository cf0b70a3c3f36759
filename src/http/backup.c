/* /backup: the whole map as one file.
 *
 * Decided here, as PRODUCT.md is silent:
 * - GET is served by any member, and contains whatever was acknowledged before the request; with ?stale it is what this member
 *   has at once. It is a dump (raftd-protocol(7)), or with `Accept: application/x-ndjson` lines of JSON (pairs.h).
 * - The dump has a Content-Length; the lines are chunked. Either ends with a checksum; one that cannot be completed ends the
 *   connection before that.
 * - Raftd-Index is the index of the last entry in it, Raftd-Cluster the cluster's id, and Content-Disposition names the file
 *   raftd-CLUSTER-INDEX.dump or .ndjson. HEAD makes the backup to say how long it is.
 * - Two at once on a member; more are 429. */
#include <inttypes.h>
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

void backup_handle(struct exchange *x, struct view rest)
{
    (void)rest;
    get(x);
}
