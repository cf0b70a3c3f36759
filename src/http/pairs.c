#include "http/pairs.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/err.h"
#include "base/text.h"
#include "http/http_parse.h"

#define LINE_MAX_BYTES (256u << 20) /* the largest value that a server takes, each byte of it escaped */
#define DEPTH_MAX      2            /* an object of numbers and texts */

/* ---- making ---- */

static void append_base64(struct bytes *out, struct view in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < in.size; i += 3) {
        unsigned left = in.size - i < 3 ? (unsigned)(in.size - i) : 3;
        uint32_t v = (uint32_t)in.data[i] << 16;
        char four[4];

        if (left > 1)
            v |= (uint32_t)in.data[i + 1] << 8;
        if (left > 2)
            v |= in.data[i + 2];
        for (unsigned k = 0; k < 4; k++)
            four[k] = k <= left ? digits[v >> (18 - 6 * k) & 63] : '=';
        bytes_append(out, four, sizeof four);
    }
}

void pairs_append(struct bytes *out, struct view key, struct view value, uint64_t etag)
{
    bytes_append_text(out, "{\"key\":\"");
    text_percent_encode(out, key);
    bytes_printf(out, "\",\"etag\":%" PRIu64, etag);
    if (parse_is_utf8(value)) {
        bytes_append_text(out, ",\"value\":\"");
        text_json_escape(out, value);
    } else {
        bytes_append_text(out, ",\"value_base64\":\"");
        append_base64(out, value);
    }
    bytes_append_text(out, "\"}\n");
}

void pairs_append_header(struct bytes *out, uint64_t cluster, uint64_t index, uint64_t term)
{
    bytes_printf(out, "{\"raftd_backup\":%d,\"cluster\":%" PRIu64 ",\"index\":%" PRIu64 ",\"term\":%" PRIu64 "}\n",
                 PAIRS_FORMAT, cluster, index, term);
}

void pairs_append_trailer(struct bytes *out, uint64_t count, uint64_t checksum)
{
    bytes_printf(out, "{\"count\":%" PRIu64 ",\"xxh3\":\"%016" PRIx64 "\"}\n", count, checksum);
}

/* ---- reading ---- */

enum stage { STAGE_HEADER, STAGE_PAIRS, STAGE_END };

struct pairs_reader {
    struct bytes in;
    size_t used;     /* of `in`, taken */
    size_t searched; /* of `in`: no newline before */
    struct checksum_stream *sum;
    enum stage stage;
    uint64_t line, count;
    json_t *object; /* what the last item points into */
    uint8_t key[SERVICE_KEY_MAX], last[SERVICE_KEY_MAX];
    size_t last_size;
    struct bytes decoded; /* a value that came in base64 */
    char fault[160];
};

struct pairs_reader *pairs_reader_new(void)
{
    struct pairs_reader *r = xcalloc(1, sizeof *r);

    bytes_init(&r->in, LINE_MAX_BYTES);
    bytes_init(&r->decoded, LINE_MAX_BYTES);
    r->sum = checksum_stream_new(0);
    return r;
}

void pairs_reader_free(struct pairs_reader *r)
{
    if (r == NULL)
        return;
    json_decref(r->object);
    bytes_clear(&r->in);
    bytes_clear(&r->decoded);
    checksum_stream_free(r->sum);
    free(r);
}

const char *pairs_reader_fault(const struct pairs_reader *r)
{
    return r->fault;
}

static int wrong(struct pairs_reader *r, const char *what)
{
    if (r->fault[0] == '\0')
        snprintf(r->fault, sizeof r->fault, "line %" PRIu64 ": %s", r->line, what);
    return ERR_MALFORMED;
}

void pairs_reader_feed(struct pairs_reader *r, struct view bytes)
{
    bytes_consume(&r->in, r->used);
    r->searched -= r->used;
    r->used = 0;
    if (bytes.size > 0)
        bytes_append(&r->in, bytes.data, bytes.size);
}

/* The next line without its newline, if it is there as a whole. */
static bool take_line(struct pairs_reader *r, struct view *line)
{
    const uint8_t *end = NULL;

    if (r->searched < r->in.size)
        end = memchr(r->in.data + r->searched, '\n', r->in.size - r->searched);
    if (end == NULL) {
        r->searched = r->in.size;
        return false;
    }
    *line = view_of(r->in.data + r->used, (size_t)(end - (r->in.data + r->used)));
    r->used += line->size + 1;
    r->searched = r->used;
    r->line++;
    return true;
}

/* 0 and *out, which stays as it is where the field is not there. */
static int take_number(struct pairs_reader *r, const char *name, uint64_t *out)
{
    const json_t *field = json_object_get(r->object, name);

    if (field == NULL)
        return 0;
    if (!json_is_integer(field) || json_integer_value(field) < 0)
        return wrong(r, "a number is wanted where there is none");
    *out = (uint64_t)json_integer_value(field);
    return 0;
}

static int take_header(struct pairs_reader *r, struct pairs_item *item)
{
    uint64_t format = 0;

    if (take_number(r, "raftd_backup", &format) != 0)
        return ERR_MALFORMED;
    if (format != PAIRS_FORMAT)
        return wrong(r, format == 0 ? "it does not begin with {\"raftd_backup\":1, as a backup does"
                                    : "its format is not the one that this version of raftd knows");
    if (take_number(r, "cluster", &item->cluster) != 0 || take_number(r, "index", &item->index) != 0 ||
        take_number(r, "term", &item->term) != 0)
        return ERR_MALFORMED;
    r->stage = STAGE_PAIRS;
    return 0;
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict: whole groups of four, and nothing but zeros in the bits that do not count. */
static bool decode_base64(struct view in, struct bytes *out)
{
    bytes_reset(out);
    if (in.size % 4 != 0)
        return false;
    for (size_t i = 0; i < in.size; i += 4) {
        bool last = i + 4 == in.size;
        unsigned pads = !last ? 0 : in.data[i + 2] == '=' && in.data[i + 3] == '=' ? 2 : in.data[i + 3] == '=' ? 1 : 0;
        uint32_t v = 0;
        uint8_t three[3];

        for (unsigned k = 0; k < 4; k++) {
            int digit = k >= 4 - pads ? 0 : digit_of((char)in.data[i + k]);

            if (digit < 0)
                return false;
            v = v << 6 | (uint32_t)digit;
        }
        three[0] = (uint8_t)(v >> 16);
        three[1] = (uint8_t)(v >> 8);
        three[2] = (uint8_t)v;
        if ((pads > 0 && three[2] != 0) || (pads > 1 && three[1] != 0))
            return false;
        bytes_append(out, three, 3 - pads);
    }
    return !out->overflow;
}

static struct view text_of(const json_t *string)
{
    return view_of(json_string_value(string), json_string_length(string));
}

static int take_value(struct pairs_reader *r, struct view *value)
{
    const json_t *plain = json_object_get(r->object, "value"), *coded = json_object_get(r->object, "value_base64");

    if (json_is_string(plain) == json_is_string(coded))
        return wrong(r, "a pair has one of \"value\" and \"value_base64\", a text");
    if (json_is_string(plain)) {
        *value = text_of(plain);
        return 0;
    }
    if (!decode_base64(text_of(coded), &r->decoded))
        return wrong(r, "\"value_base64\" is no base64");
    *value = bytes_view(&r->decoded);
    return 0;
}

static int take_pair(struct pairs_reader *r, struct pairs_item *item)
{
    const json_t *key = json_object_get(r->object, "key");

    if (!json_is_string(key) || parse_key(text_of(key), r->key, &item->key) != 0 || item->key.size == 0)
        return wrong(r, "\"key\" is no percent-encoded key of 1 to 480 bytes");
    if (r->last_size > 0 && view_compare(view_of(r->last, r->last_size), item->key) >= 0)
        return wrong(r, "the key is not greater than the one before it: keys ascend in the order of their bytes");
    memcpy(r->last, item->key.data, item->key.size);
    r->last_size = item->key.size;
    r->count++;
    if (take_number(r, "etag", &item->etag) != 0)
        return ERR_MALFORMED;
    return take_value(r, &item->value);
}

static int take_trailer(struct pairs_reader *r)
{
    const json_t *sum = json_object_get(r->object, "xxh3");
    uint64_t count = 0;
    char expected[17];

    if (take_number(r, "count", &count) != 0)
        return ERR_MALFORMED;
    if (count != r->count)
        return wrong(r, "\"count\" is not the number of pairs before it");
    snprintf(expected, sizeof expected, "%016" PRIx64, checksum_stream_value(r->sum));
    if (sum != NULL && (!json_is_string(sum) || strcmp(json_string_value(sum), expected) != 0))
        return wrong(r, "\"xxh3\" is not the checksum of the lines before it");
    r->stage = STAGE_END;
    return 0;
}

static int take_object(struct pairs_reader *r, struct view line)
{
    json_decref(r->object);
    r->object = NULL;
    if (parse_json_depth(line) <= DEPTH_MAX)
        r->object = json_loadb((const char *)line.data, line.size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    return json_is_object(r->object) ? 0 : wrong(r, "it is no JSON object");
}

static int take(struct pairs_reader *r, struct view line, enum pairs_step *step, struct pairs_item *item)
{
    int err = take_object(r, line);

    if (err != 0)
        return err;
    if (r->stage == STAGE_HEADER) {
        *step = PAIRS_HEADER;
        err = take_header(r, item);
    } else if (json_object_get(r->object, "count") != NULL) {
        *step = PAIRS_END;
        return take_trailer(r);
    } else {
        *step = PAIRS_PAIR;
        err = take_pair(r, item);
    }
    checksum_stream_add(r->sum, line.data, line.size + 1);
    return err;
}

int pairs_reader_next(struct pairs_reader *r, enum pairs_step *step, struct pairs_item *item)
{
    struct view line;

    *step = PAIRS_WANTS_MORE;
    memset(item, 0, sizeof *item);
    if (r->fault[0] != '\0')
        return ERR_MALFORMED;
    if (r->in.overflow)
        return wrong(r, "the next line is too long");
    if (r->stage == STAGE_END) {
        r->line += r->used < r->in.size;
        return r->used < r->in.size ? wrong(r, "there is something behind the last line of a backup") : 0;
    }
    return take_line(r, &line) ? take(r, line, step, item) : 0;
}
