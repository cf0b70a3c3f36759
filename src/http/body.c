/* The body of a request.
 *
 * Decided here, as PRODUCT.md is silent: a body is to be complete within 30 s and a millisecond more for each 64 bytes of
 * its Content-Length, else 408; "100 Continue" is sent only when the body is wanted, so that what is refused for its
 * length or its path is not sent at all; after a refusal whose body is still on its way the connection ends, having read on
 * for a second so that the client sees the answer; a body of at most 64 KiB that nobody asked for is read and ignored. */
#include "base/check.h"
#include "base/clock.h"
#include "http/http_request.h"

#define PIECE        16384        /* of a chunked body, and of what is thrown away */
#define LARGE_PIECE  65536        /* of a body that is not kept */
#define IGNORED_MAX  65536        /* a body that nobody asked for, and yet the connection stays */
#define LINGER_BYTES (4U << 20)   /* after a refusal: more than this is not read */
#define KEPT         (64U * 1024) /* a worker keeps a buffer of this size for the next request */

enum body { BODY_READ, BODY_TOO_LONG, BODY_MALFORMED, BODY_LATE };

static void arm(struct exchange *x, uint64_t ms)
{
    atomic_store_explicit(&x->worker->watched.reading, true, memory_order_relaxed);
    atomic_store_explicit(&x->worker->watched.deadline_ms, clock_now_ms() + ms, memory_order_relaxed);
}

static void disarm(struct exchange *x)
{
    atomic_store_explicit(&x->worker->watched.deadline_ms, 0, memory_order_relaxed);
}

/* civetweb reads on until it has all that was asked for, or no byte came for a while. */
static enum body read_counted(struct exchange *x)
{
    struct bytes *body = &x->worker->body;
    size_t left = (size_t)x->content_length;
    uint8_t *room = bytes_reserve(body, left);

    if (room == NULL)
        return BODY_TOO_LONG;
    while (left > 0) {
        int n = mg_read(x->connection, body->data + body->size, left);

        if (n <= 0)
            return BODY_LATE;
        body->size += (size_t)n;
        left -= (size_t)n;
    }
    return BODY_READ;
}

/* The buffer's limit leaves room for one more piece as long as the body's own limit is not passed. */
static enum body read_chunks(struct exchange *x)
{
    struct bytes *body = &x->worker->body;

    for (;;) {
        uint8_t *room = bytes_reserve(body, PIECE);
        int n;

        if (room == NULL)
            return BODY_TOO_LONG;
        n = mg_read(x->connection, room, PIECE);
        if (n == 0)
            return BODY_READ;
        if (n < 0)
            return BODY_MALFORMED;
        body->size += (size_t)n;
    }
}

/* Whether a body of which `size` bytes are known is too long; else asks for it, if the client waits for that. */
static enum body begin_body(struct exchange *x, uint64_t limit)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (x->content_length > limit)
        return BODY_TOO_LONG;
    if (!x->expects)
        return BODY_READ;
    x->expects = false;
    return mg_write(x->connection, go_on, sizeof go_on - 1) == (int)sizeof go_on - 1 ? BODY_READ : BODY_LATE;
}

static enum body read_body(struct exchange *x, uint64_t limit)
{
    enum body answer;

    if (x->body_taken)
        return BODY_READ;
    x->worker->body.limit = (size_t)limit + PIECE;
    answer = begin_body(x, limit);
    if (answer != BODY_READ)
        return answer;
    arm(x, x->http->limits.body_ms + x->content_length / 64);
    answer = x->chunked ? read_chunks(x) : read_counted(x);
    disarm(x);
    x->body_taken = answer == BODY_READ;
    return answer;
}

static bool answer_body(struct exchange *x, enum body body, uint64_t limit, const char *option)
{
    switch (body) {
    case BODY_READ:
        return true;
    case BODY_TOO_LONG:
        exchange_error(x, 413, "too_large", "the body is longer than %llu bytes%s%s", (unsigned long long)limit,
                       option != NULL ? ", the limit set by " : "", option != NULL ? option : "");
        return false;
    case BODY_MALFORMED:
        x->close = x->body_taken = true;
        exchange_error(x, 400, "bad_request", "bad request: the chunked body is malformed or broken off");
        return false;
    case BODY_LATE:
        x->close = x->body_taken = true;
        exchange_error(x, 408, "timeout", "the body did not come whole, or not in time");
        return false;
    }
    return false;
}

bool exchange_body(struct exchange *x, uint64_t limit, const char *option)
{
    return answer_body(x, read_body(x, limit), limit, option);
}

/* Takes pieces until the body is through; *went_on: `take` wanted each. What is left unread ends the connection. */
static enum body read_pieces(struct exchange *x, uint64_t limit, bool (*take)(void *context, struct view piece),
                             void *context, bool *went_on)
{
    uint64_t began = clock_now_ms(), size = 0;
    uint8_t *room = NULL;

    bytes_reset(&x->worker->body);
    x->worker->body.limit = LARGE_PIECE;
    room = bytes_reserve(&x->worker->body, LARGE_PIECE);
    while (x->chunked || size < x->content_length) {
        uint64_t known = size > x->content_length ? size : x->content_length;
        uint64_t until = began + x->http->limits.body_ms + known / 64, now = clock_now_ms();
        int n = 0;

        arm(x, until > now ? until - now : 1);
        n = mg_read(x->connection, room, LARGE_PIECE);
        if (n == 0 && x->chunked)
            break;
        if (n <= 0)
            return x->chunked ? BODY_MALFORMED : BODY_LATE;
        size += (uint64_t)n;
        if (size > limit)
            return BODY_TOO_LONG;
        *went_on = take(context, view_of(room, (size_t)n));
        if (!*went_on)
            return BODY_READ;
    }
    x->body_taken = true;
    return BODY_READ;
}

bool exchange_body_pieces(struct exchange *x, uint64_t limit, const char *option,
                          bool (*take)(void *context, struct view piece), void *context)
{
    bool went_on = true;
    enum body body = begin_body(x, limit);

    if (body == BODY_READ && !x->body_taken) {
        body = read_pieces(x, limit, take, context, &went_on);
        disarm(x);
        x->close = x->close || !x->body_taken;
    }
    return answer_body(x, body, limit, option) && went_on;
}

void exchange_settle_body(struct exchange *x)
{
    if (x->body_taken)
        return;
    if (x->close || x->expects || x->chunked || x->content_length > IGNORED_MAX ||
        read_body(x, IGNORED_MAX) != BODY_READ)
        x->close = true;
}

/* The client may be sending still: closing at once would reset the connection, and it might never see our answer. */
static void linger(struct exchange *x)
{
    size_t left = LINGER_BYTES;
    uint8_t *room;
    int n;

    bytes_reset(&x->worker->body);
    x->worker->body.limit = PIECE;
    room = bytes_reserve(&x->worker->body, PIECE);
    arm(x, x->http->limits.linger_ms);
    do {
        n = mg_read(x->connection, room, PIECE);
        left -= n > 0 && (size_t)n < left ? (size_t)n : left;
    } while (n > 0 && left > 0);
    disarm(x);
}

static void give_back(struct bytes *b)
{
    if (b->capacity > KEPT)
        bytes_clear(b);
}

void exchange_close(struct exchange *x)
{
    struct worker *w = x->worker;

    CHECK(x->status != 0);
    if (!x->body_taken && !x->expects)
        linger(x);
    give_back(&w->out);
    give_back(&w->body);
    give_back(&w->value);
    give_back(&w->text);
    metrics_count(&w->counts, x->method, x->status, clock_now_us() - x->started_us);
}
