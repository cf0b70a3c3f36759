#include "net/http_answer.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/text.h"

#define LENGTH_NONE UINT64_MAX

/* What the head says of the body. */
struct head {
    int status;
    bool chunked;
    uint64_t length; /* LENGTH_NONE: not given */
    struct view location;
};

/* Takes a line from the front of *in, without its CR LF (a lone LF will do). False: there is no whole line. */
static bool take_line(struct view *in, struct view *line)
{
    const uint8_t *end = in->size == 0 ? NULL : memchr(in->data, '\n', in->size);

    if (end == NULL)
        return false;

    size_t length = (size_t)(end - in->data);

    *line = view_of(in->data, length > 0 && end[-1] == '\r' ? length - 1 : length);
    *in = view_of(end + 1, in->size - length - 1);
    return true;
}

static struct view trim(struct view v)
{
    while (v.size > 0 && (v.data[0] == ' ' || v.data[0] == '\t'))
        v = view_of(v.data + 1, v.size - 1);
    while (v.size > 0 && (v.data[v.size - 1] == ' ' || v.data[v.size - 1] == '\t'))
        v.size--;
    return v;
}

static bool equals_ignoring_case(struct view v, const char *text)
{
    return v.size == strlen(text) && strncasecmp((const char *)v.data, text, v.size) == 0;
}

/* "HTTP/1.1 307 whatever"; the prefix is checked on what is there, so that no HTTP is noticed at once. */
static bool begins_like_http(struct view raw)
{
    static const char prefix[] = "HTTP/1.";
    size_t size = raw.size < sizeof prefix - 1 ? raw.size : sizeof prefix - 1;

    return size == 0 || memcmp(raw.data, prefix, size) == 0;
}

static int parse_status(struct view line, int *status)
{
    const uint8_t *d = line.data + sizeof "HTTP/1.x " - 1;

    if (line.size < sizeof "HTTP/1.x 200" - 1 || !begins_like_http(line) || d[-1] != ' ')
        return ERR_MALFORMED;
    if (line.size > sizeof "HTTP/1.x 200" - 1 && d[3] != ' ')
        return ERR_MALFORMED;
    for (int i = 0; i < 3; i++)
        if (d[i] < '0' || d[i] > '9')
            return ERR_MALFORMED;
    *status = (d[0] - '0') * 100 + (d[1] - '0') * 10 + (d[2] - '0');
    return *status >= 100 && *status < 600 ? 0 : ERR_MALFORMED;
}

static int parse_length(struct view value, uint64_t *length)
{
    char digits[24];
    uint64_t parsed;

    if (value.size == 0 || value.size >= sizeof digits || memchr(value.data, '\0', value.size) != NULL)
        return ERR_MALFORMED;
    memcpy(digits, value.data, value.size);
    digits[value.size] = '\0';
    if (text_u64(digits, HTTP_ANSWER_BODY_MAX, &parsed) != 0)
        return ERR_MALFORMED;
    if (*length != LENGTH_NONE && *length != parsed)
        return ERR_MALFORMED; /* two that differ: somebody is being fooled */
    *length = parsed;
    return 0;
}

static int parse_field(struct view line, struct head *h)
{
    const uint8_t *colon = memchr(line.data, ':', line.size);

    if (colon == NULL || colon == line.data || line.data[0] == ' ' || line.data[0] == '\t')
        return ERR_MALFORMED;

    struct view name = view_of(line.data, (size_t)(colon - line.data));
    struct view value = trim(view_of(colon + 1, line.size - name.size - 1));

    if (equals_ignoring_case(name, "content-length"))
        return parse_length(value, &h->length);
    if (equals_ignoring_case(name, "transfer-encoding")) {
        h->chunked = equals_ignoring_case(value, "chunked");
        return h->chunked ? 0 : ERR_MALFORMED;
    }
    if (equals_ignoring_case(name, "location") && h->location.size == 0)
        h->location = value;
    return 0;
}

/* Takes one head, up to and with its empty line. */
static int take_head(struct view *in, struct head *h)
{
    struct view rest = *in;
    struct view line;
    int err;

    *h = (struct head){.length = LENGTH_NONE};
    if (!begins_like_http(rest))
        return ERR_MALFORMED;
    if (!take_line(&rest, &line))
        return HTTP_ANSWER_MORE;
    err = parse_status(line, &h->status);
    while (err == 0) {
        if (!take_line(&rest, &line))
            return HTTP_ANSWER_MORE;
        if (line.size == 0)
            break;
        err = parse_field(line, h);
    }
    if (err == 0 && in->size - rest.size > HTTP_ANSWER_HEAD_MAX)
        return ERR_MALFORMED; /* also when it comes in one piece */
    if (err == 0)
        *in = rest;
    return err;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "1a" or "1a;extension". */
static int parse_chunk_size(struct view line, size_t *size)
{
    size_t i = 0;

    *size = 0;
    for (; i < line.size && hex_value(line.data[i]) >= 0; i++) {
        *size = *size * 16 + (size_t)hex_value(line.data[i]);
        if (*size > HTTP_ANSWER_BODY_MAX)
            return ERR_MALFORMED;
    }
    if (i == 0)
        return ERR_MALFORMED;
    return i == line.size || line.data[i] == ';' || line.data[i] == ' ' ? 0 : ERR_MALFORMED;
}

/* After the last chunk: trailer fields, which tell us nothing, and an empty line. */
static int skip_trailer(struct view in)
{
    struct view line;

    while (take_line(&in, &line))
        if (line.size == 0)
            return 0;
    return HTTP_ANSWER_MORE;
}

static int take_chunks(struct view in, struct bytes *body)
{
    for (;;) {
        struct view line;
        size_t size;
        int err;

        if (!take_line(&in, &line))
            return HTTP_ANSWER_MORE;
        err = parse_chunk_size(line, &size);
        if (err != 0)
            return err;
        if (size == 0)
            return skip_trailer(in);
        if (size > HTTP_ANSWER_BODY_MAX - body->size)
            return ERR_MALFORMED;
        if (in.size < size)
            return HTTP_ANSWER_MORE;
        bytes_append(body, in.data, size);
        in = view_of(in.data + size, in.size - size);
        if (!take_line(&in, &line))
            return HTTP_ANSWER_MORE;
        if (line.size != 0)
            return ERR_MALFORMED;
    }
}

static int take_body(struct view in, bool ended, const struct head *h, struct bytes *body)
{
    if (h->status == 204 || h->status == 304)
        return 0;
    if (h->chunked)
        return take_chunks(in, body);
    if (h->length == LENGTH_NONE && in.size > HTTP_ANSWER_BODY_MAX)
        return ERR_MALFORMED;
    if (h->length == LENGTH_NONE ? !ended : in.size < h->length)
        return HTTP_ANSWER_MORE;
    bytes_append(body, in.data, h->length == LENGTH_NONE ? in.size : h->length);
    return 0;
}

int http_answer_parse(struct view raw, bool ended, struct http_answer *out, struct bytes *body)
{
    struct view in = raw;
    struct head h;
    int err;

    bytes_reset(body);
    do
        err = take_head(&in, &h);
    while (err == 0 && h.status < 200 && h.status != 101);
    if (err == HTTP_ANSWER_MORE)
        return in.size > HTTP_ANSWER_HEAD_MAX ? ERR_MALFORMED : HTTP_ANSWER_MORE;
    if (err != 0 || h.status == 101) /* nobody asked to switch protocols */
        return ERR_MALFORMED;
    err = take_body(in, ended, &h, body);
    if (err != 0)
        return err;
    if (body->overflow)
        return ERR_MALFORMED;
    *out = (struct http_answer){.status = h.status, .location = h.location};
    return 0;
}
