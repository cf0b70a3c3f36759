#include "net/link.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/checksum.h"
#include "net/socket.h"

#define BUFFER_GREETING (FRAME_HEADER_SIZE + FRAME_GREETING_MAX)
#define BUFFER_MESSAGES 65536
#define DRAIN_MS        500 /* how long, and how much, we listen to somebody whom we have sent away */
#define DRAIN_BYTES     (1u << 20)

/* The owner's thread alone touches everything but `wake` and `interrupted`. Another thread that interrupts does not look
 * at the descriptor, which the owner may be closing or opening at that moment: it sets a flag for those who come later
 * and makes `wake` readable for ever, which each wait polls beside the socket. So no lock is needed. */
struct link {
    int fd;   /* -1: closed */
    int wake; /* -1: there was no descriptor left for it */
    atomic_bool interrupted;

    uint8_t *data; /* what has arrived and was not used yet: data[begin] .. data[end - 1] */
    size_t capacity, begin, end;
    size_t handed_out; /* size of the frame at `begin` that the caller may still look at */
    size_t floor;      /* the capacity to keep: small until a greeting was accepted */
    bool drained;      /* the last read left nothing behind it: wait before the next one */

    struct welcome welcomed;
    struct checksum_stream *checksum;
    struct iovec parts[LINK_PARTS_MAX + 1]; /* of the frame being sent */
};

struct link *link_new(void)
{
    struct link *l = xcalloc(1, sizeof *l);

    l->fd = -1;
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_init(&l->interrupted, false);
    l->checksum = checksum_stream_new(0);
    return l;
}

void link_close(struct link *l)
{
    socket_close(l->fd);
    l->fd = -1;
    free(l->data);
    l->data = NULL;
    l->capacity = l->begin = l->end = l->handed_out = 0;
    l->drained = false;
}

void link_free(struct link *l)
{
    if (l == NULL)
        return;
    link_close(l);
    socket_close(l->wake);
    checksum_stream_free(l->checksum);
    free(l);
}

bool link_is_open(const struct link *l)
{
    return l->fd >= 0;
}

void link_interrupt(struct link *l)
{
    uint64_t one = 1;

    atomic_store(&l->interrupted, true);
    /* It can fail only where nobody waits: there is no `wake`, or it is readable already and its counter full. */
    while (write(l->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* Whether a connection may be begun. */
static int check_free(struct link *l)
{
    if (atomic_load(&l->interrupted))
        return ERR_CLOSED;
    return l->wake < 0 ? ERR_NO_RESOURCES : 0;
}

void link_reset(struct link *l)
{
    uint64_t count;

    link_close(l);
    if (l->wake < 0)
        l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    while (read(l->wake, &count, sizeof count) < 0 && errno == EINTR)
        ;
    atomic_store(&l->interrupted, false);
}

static bool is_usable(struct link *l)
{
    return link_is_open(l) && !atomic_load(&l->interrupted);
}

static struct socket_wait wait_of(const struct link *l, int timeout_ms)
{
    return socket_wait_for(timeout_ms, l->wake);
}

/* The time that a payload takes even on a slow line comes on top: a large entry must get through it, too. */
static struct socket_wait allow_for(struct socket_wait w, size_t size)
{
    if (w.until_ms != UINT64_MAX)
        w.until_ms += size / LINK_RATE_MIN;
    return w;
}

/* Closes on an error; returns it. */
static int ended(struct link *l, int err)
{
    if (err != 0)
        link_close(l);
    return err;
}

/* ---- frames in ---------------------------------------------------------------------------------------------- */

/* Room for a frame of `size` bytes from `begin` on, and for whatever else fits. What a large frame needed is given back
 * when nothing is left of it and nothing more is waiting: many of them in a row use the same memory. */
static void make_room(struct link *l, size_t size)
{
    size_t have = l->end - l->begin;
    size_t wanted = size > l->floor ? size : l->floor;

    if (l->begin > 0 && have > 0)
        memmove(l->data, l->data + l->begin, have);
    l->begin = 0;
    l->end = have;
    if (l->capacity >= wanted && (l->capacity == wanted || have > 0 || !l->drained))
        return;
    l->data = xrealloc(l->data, wanted);
    l->capacity = wanted;
}

/* Reads as much as is there, at least one byte; the frame in work takes `size`. */
static int fill(struct link *l, size_t size, struct socket_wait w)
{
    size_t got = 0;
    int err = 0;

    make_room(l, size);
    if (l->drained)
        err = socket_await_input(l->fd, w);
    if (err == 0)
        err = socket_read_some_until(l->fd, l->data + l->end, l->capacity - l->end, w, &got);
    if (err != 0)
        return err;
    l->end += got;
    l->drained = l->end < l->capacity;
    return 0;
}

/* The size of the frame that begins at `begin`, header included; while its header is not complete, the header's. */
static int frame_size(const struct link *l, uint32_t limit, struct frame_header *h, size_t *size)
{
    *size = FRAME_HEADER_SIZE;
    if (l->end - l->begin < FRAME_HEADER_SIZE)
        return 0;

    int err = frame_header_decode(l->data + l->begin, limit, h);

    if (err == 0)
        *size += h->size;
    return err;
}

/* Hands out the frame that is complete at `begin`. */
static int take_frame(struct link *l, const struct frame_header *h, enum frame_type *type, struct view *payload)
{
    const uint8_t *header = l->data + l->begin;
    struct view found = view_of(header + FRAME_HEADER_SIZE, h->size);
    int err = frame_verify(header, found);

    if (err != 0)
        return err;
    l->handed_out = FRAME_HEADER_SIZE + (size_t)h->size;
    *type = h->type;
    *payload = found;
    return 0;
}

static void forget_handed_out(struct link *l)
{
    l->begin += l->handed_out;
    l->handed_out = 0;
}

static int read_frame(struct link *l, uint32_t limit, struct socket_wait w, enum frame_type *type, struct view *payload)
{
    for (;;) {
        struct frame_header h = {0};
        size_t size;
        int err = frame_size(l, limit, &h, &size);

        if (err != 0)
            return err;
        if (h.type != 0 && l->end - l->begin >= size)
            return take_frame(l, &h, type, payload);
        err = fill(l, size, allow_for(w, h.size));
        if (err != 0)
            return err;
    }
}

int link_receive(struct link *l, int timeout_ms, enum frame_type *type, struct view *payload)
{
    int err = 0;

    if (!is_usable(l))
        return ended(l, ERR_CLOSED);
    forget_handed_out(l);
    if (l->begin == l->end)
        err = fill(l, FRAME_HEADER_SIZE, wait_of(l, timeout_ms));
    if (err == 0)
        err = read_frame(l, FRAME_PAYLOAD_MAX, wait_of(l, LINK_FRAME_TIMEOUT_MS), type, payload);
    return ended(l, err);
}

/* ---- frames out --------------------------------------------------------------------------------------------- */

/* The header goes in front of the parts, in the same system call; its checksum is taken over them where they lie. */
static int send_frame(struct link *l, enum frame_type type, const struct iovec *parts, int count, struct socket_wait w)
{
    uint8_t header[FRAME_HEADER_SIZE];
    size_t size = 0;

    CHECK(count >= 0);
    CHECK(count <= LINK_PARTS_MAX);
    l->parts[0] = (struct iovec){.iov_base = header, .iov_len = sizeof header};
    checksum_stream_reset(l->checksum, 0);
    for (int i = 0; i < count; i++) {
        CHECK(parts[i].iov_len <= FRAME_PAYLOAD_MAX - size);
        size += parts[i].iov_len;
        l->parts[i + 1] = parts[i];
        checksum_stream_add(l->checksum, parts[i].iov_base, parts[i].iov_len);
    }
    frame_header_encode(type, (uint32_t)size, checksum_stream_value(l->checksum), header);
    return socket_write_until(l->fd, l->parts, count + 1, allow_for(w, size));
}

static int send_bytes(struct link *l, enum frame_type type, const struct bytes *payload, struct socket_wait w)
{
    struct iovec part = {.iov_base = payload->data, .iov_len = payload->size};

    return send_frame(l, type, &part, 1, w);
}

/* ---- the sender's side -------------------------------------------------------------------------------------- */

static int decode_refusal(struct view payload, struct refusal *out)
{
    int err = refusal_decode(payload, out);

    return err == 0 ? ERR_REFUSED : err;
}

/* What the other side said after its welcome, if it did, without waiting: all that it may say is a refusal. */
static int look_for_refusal(struct link *l, struct refusal *refusal)
{
    for (;;) {
        struct frame_header h = {0};
        enum frame_type type;
        struct view payload;
        size_t size;
        int err = frame_size(l, FRAME_GREETING_MAX, &h, &size);

        if (err == 0 && h.type != 0 && l->end - l->begin >= size) {
            err = take_frame(l, &h, &type, &payload);
            if (err == 0)
                err = type == FRAME_REFUSED ? decode_refusal(payload, refusal) : ERR_MALFORMED;
            return err;
        }
        if (err == 0 && !socket_readable(l->fd))
            return 0;
        if (err == 0)
            err = fill(l, size, wait_of(l, 0));
        if (err != 0)
            return err;
    }
}

/* Sends the greeting and reads what is answered. */
static int greet(struct link *l, const struct hello *hello, struct socket_wait w, struct refusal *refusal)
{
    struct bytes out;
    enum frame_type type;
    struct view payload;
    struct welcome welcome;
    int err;

    bytes_init(&out, FRAME_GREETING_MAX);
    hello_encode(hello, &out);
    CHECK(!out.overflow);
    err = send_bytes(l, FRAME_HELLO, &out, w);
    bytes_clear(&out);
    if (err == 0)
        err = read_frame(l, FRAME_GREETING_MAX, w, &type, &payload);
    if (err != 0)
        return err;
    forget_handed_out(l); /* the views stay valid until the next fill */
    if (type == FRAME_REFUSED)
        return decode_refusal(payload, refusal);
    if (type != FRAME_WELCOME)
        return ERR_MALFORMED;
    err = welcome_decode(payload, &welcome);
    if (err != 0)
        return err;
    if (welcome.version < hello->version_min || welcome.version > hello->version_max)
        return ERR_MALFORMED;
    if (hello->to != 0 && welcome.id != hello->to)
        return ERR_MALFORMED;
    l->welcomed = welcome;
    return 0;
}

const struct welcome *link_welcomed(const struct link *l)
{
    return &l->welcomed;
}

int link_open(struct link *l, const struct address *to, const struct hello *hello, int timeout_ms,
              struct refusal *refusal)
{
    struct socket_wait w = wait_of(l, timeout_ms);
    int fd = -1;
    int err;

    link_close(l);
    err = check_free(l);
    if (err == 0)
        err = socket_connect_until(to, w, &fd);
    if (err != 0)
        return err;
    l->fd = fd;
    l->floor = BUFFER_GREETING;
    return ended(l, greet(l, hello, w, refusal));
}

int link_send(struct link *l, enum frame_type type, struct iovec *parts, int count, int timeout_ms,
              struct refusal *refusal)
{
    int err;

    if (!is_usable(l))
        return ended(l, ERR_CLOSED);
    err = look_for_refusal(l, refusal);
    if (err == 0) {
        err = send_frame(l, type, parts, count, wait_of(l, timeout_ms));
        /* Whoever refuses us says so before it closes: that explains why we could not write. */
        if (err == ERR_CLOSED && look_for_refusal(l, refusal) == ERR_REFUSED)
            err = ERR_REFUSED;
    }
    return ended(l, err);
}

bool link_is_dead(struct link *l, struct refusal *refusal)
{
    int err = ERR_CLOSED;

    memset(refusal, 0, sizeof *refusal);
    if (is_usable(l))
        err = look_for_refusal(l, refusal);
    return ended(l, err) != 0;
}

/* ---- the receiver's side ------------------------------------------------------------------------------------ */

/* Ends our half and reads on for a moment: a close with input unread would be a reset, which can take our last words
 * away from the other side before it has read them. */
static void say_goodbye(struct link *l)
{
    struct socket_wait w = wait_of(l, DRAIN_MS);
    size_t total = 0;
    size_t got = 0;

    socket_finish(l->fd);
    forget_handed_out(l);
    l->begin = l->end = 0;
    make_room(l, FRAME_HEADER_SIZE);
    while (total < DRAIN_BYTES && socket_read_some_until(l->fd, l->data, l->capacity, w, &got) == 0)
        total += got;
    link_close(l);
}

static bool begins_like_http(const uint8_t *data)
{
    static const char *const methods[] = {"GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC"};

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (memcmp(data, methods[i], 4) == 0)
            return true;
    return false;
}

/* The path and query of a request line, "/" if there is none that can be put into a header as it is. */
static struct view request_target(const char *line, size_t size)
{
    const char *start = memchr(line, ' ', size);
    size_t length = 0;

    if (start == NULL || ++start == line + size || *start != '/')
        return view_of_text("/");
    while (start + length < line + size && start[length] > ' ' && start[length] <= '~')
        length++;
    if (start + length == line + size || start[length] != ' ')
        return view_of_text("/");
    return view_of(start, length);
}

static const char *reason_of(int status)
{
    return status == 200 ? "OK" : status == 307 ? "Temporary Redirect" : status < 500 ? "Refused" : "Unavailable";
}

/* One answer, then the end of the connection. */
static int answer(struct link *l, int status, const char *location, struct view body, struct socket_wait w)
{
    struct bytes out;
    struct iovec part;
    int err;

    bytes_init(&out, 65536);
    bytes_printf(&out, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
    if (location != NULL)
        bytes_printf(&out, "Location: %s\r\n", location);
    bytes_printf(&out, "Content-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", body.size);
    bytes_append(&out, body.data, body.size);
    part = (struct iovec){.iov_base = out.data, .iov_len = out.size};
    err = out.overflow ? ERR_TOO_LONG : socket_write_until(l->fd, &part, 1, w);
    bytes_clear(&out);
    if (err == 0)
        say_goodbye(l);
    return err;
}

/* A client, or a -join, that named the peer port is sent to the client port. One line of its request is enough. */
static int answer_http(struct link *l, const char *client_url, struct socket_wait w)
{
    static const char body[] = "raftd: this port is for members; clients are sent to the one that Location names\n";
    const char *line_end;
    size_t url_length = strlen(client_url);
    struct view target;
    struct bytes location;
    int err = 0;

    while ((line_end = memchr(l->data + l->begin, '\n', l->end - l->begin)) == NULL && err == 0)
        err = l->end - l->begin == BUFFER_GREETING ? ERR_MALFORMED : fill(l, BUFFER_GREETING, w);
    if (err != 0)
        return err;
    while (url_length > 0 && client_url[url_length - 1] == '/')
        url_length--;
    const char *line = (const char *)l->data + l->begin;

    target = request_target(line, (size_t)(line_end - line));
    bytes_init(&location, 2 * BUFFER_GREETING);
    bytes_printf(&location, "%.*s%.*s", (int)url_length, client_url, (int)target.size, (const char *)target.data);
    bytes_append_char(&location, '\0');
    err = answer(l, 307, (const char *)location.data, view_of_text(body), w);
    bytes_clear(&location);
    return err == 0 ? ERR_REFUSED : err;
}

/* Where the head of the request ends, its blank line included; 0: not yet. */
static size_t head_size(struct view raw)
{
    const uint8_t *end = raw.size == 0 ? NULL : memmem(raw.data, raw.size, "\r\n\r\n", 4);

    return end == NULL ? 0 : (size_t)(end - raw.data) + 4;
}

/* The length that the head tells of its body; ERR_MALFORMED: more than fits, or another framing. */
static int body_size(const char *head, size_t size, size_t *out)
{
    static const char name[] = "\ncontent-length:", other[] = "\ntransfer-encoding:";

    *out = 0;
    for (size_t i = 0; i + sizeof other <= size; i++) {
        if (strncasecmp(head + i, other, sizeof other - 1) == 0)
            return ERR_MALFORMED;
        if (strncasecmp(head + i, name, sizeof name - 1) == 0)
            *out = (size_t)strtoul(head + i + sizeof name - 1, NULL, 10); /* ends at the CR LF that is there */
    }
    return *out < LINK_REQUEST_MAX ? 0 : ERR_MALFORMED;
}

int link_read_request(struct link *l, int timeout_ms, struct link_request *out)
{
    struct socket_wait w = wait_of(l, timeout_ms);
    size_t head = 0, body = 0;
    const char *line, *blank;
    struct view raw;

    for (;;) {
        int err = 0;

        raw = view_of(l->data + l->begin, l->end - l->begin);
        if (head == 0 && (head = head_size(raw)) != 0)
            err = body_size((const char *)raw.data, head, &body);
        if (err == 0 && head != 0 && raw.size >= head + body)
            break;
        if (err == 0)
            err = raw.size >= LINK_REQUEST_MAX || head + body > LINK_REQUEST_MAX ? ERR_MALFORMED
                                                                                 : fill(l, LINK_REQUEST_MAX, w);
        if (err != 0)
            return ended(l, err);
    }
    line = (const char *)raw.data;
    blank = memchr(line, ' ', head);
    out->method = view_of(line, blank == NULL ? 0 : (size_t)(blank - line));
    out->target = request_target(line, (size_t)((const char *)memchr(line, '\n', head) - line));
    out->body = view_of(line + head, body);
    return 0;
}

void link_answer(struct link *l, int status, const char *location, struct view body, int timeout_ms)
{
    if (is_usable(l))
        (void)answer(l, status, location, body, wait_of(l, timeout_ms));
    link_close(l);
}

static int read_hello(struct link *l, struct socket_wait w, struct hello *hello)
{
    enum frame_type type;
    struct view payload;
    int err = read_frame(l, FRAME_GREETING_MAX, w, &type, &payload);

    if (err != 0)
        return err;
    forget_handed_out(l);
    return type == FRAME_HELLO ? hello_decode(payload, hello) : ERR_MALFORMED;
}

int link_accept(struct link *l, int fd, const char *client_url, int timeout_ms, struct hello *hello)
{
    struct socket_wait w = wait_of(l, timeout_ms);
    int err = check_free(l);

    link_close(l);
    l->fd = fd;
    l->floor = BUFFER_GREETING;
    while (l->end < 4 && err == 0)
        err = fill(l, FRAME_HEADER_SIZE, w);
    if (err != 0)
        return ended(l, err);
    if (begins_like_http(l->data))
        return client_url == NULL ? LINK_SPEAKS_HTTP : ended(l, answer_http(l, client_url, w));
    return ended(l, frame_has_magic(l->data) ? read_hello(l, w, hello) : ERR_MALFORMED);
}

int link_welcome(struct link *l, const struct welcome *w, int timeout_ms)
{
    struct bytes out;
    int err;

    if (!is_usable(l))
        return ended(l, ERR_CLOSED);
    bytes_init(&out, FRAME_GREETING_MAX);
    welcome_encode(w, &out);
    err = send_bytes(l, FRAME_WELCOME, &out, wait_of(l, timeout_ms));
    bytes_clear(&out);
    l->floor = BUFFER_MESSAGES;
    return ended(l, err);
}

void link_refuse(struct link *l, const struct refusal *r, int timeout_ms)
{
    struct bytes out;
    int err;

    if (!is_usable(l)) {
        link_close(l);
        return;
    }
    bytes_init(&out, FRAME_GREETING_MAX);
    refusal_encode(r, &out);
    err = send_bytes(l, FRAME_REFUSED, &out, wait_of(l, timeout_ms));
    bytes_clear(&out);
    if (err == 0)
        say_goodbye(l);
    link_close(l);
}
