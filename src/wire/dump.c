#include "wire/dump.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/err.h"
#include "wire/command.h"
#include "wire/content.h"
#include "wire/entry.h"

#define MAGIC          UINT64_C(0x31504d5544444652) /* "RFDDUMP1" */
#define PREFIX_SIZE    16u
#define HEADER_MAX     (40u + 4u + MEMBERS_SIZE_MAX)
#define HEAD_SIZE      14u /* of a record, and of the trailer up to its checksum */
#define HASH_SIZE      8u
#define CHECKSUM_SIZE  8u
#define BUFFER_MAX     (2 * (HEAD_SIZE + COMMAND_KEY_MAX + ENTRY_PAYLOAD_MAX) + (8u << 20))
#define SEED           0
#define GATHERED_BYTES (64u << 10) /* what was consumed is dropped from the buffer when it is this much */

/* ---- one walk for each structure ---- */

struct prefix {
    uint64_t magic;
    uint32_t format, size;
};

static void walk_prefix(struct codec *c, struct prefix *p)
{
    codec_u64(c, &p->magic);
    codec_u32(c, &p->format);
    codec_u32(c, &p->size);
}

static void walk_header(struct codec *c, struct dump_header *h, struct view *members)
{
    codec_u64(c, &h->cluster);
    codec_u64(c, &h->position.index);
    codec_u64(c, &h->position.term);
    codec_u64(c, &h->config_index);
    codec_u64(c, &h->restoring);
    codec_view(c, members, MEMBERS_SIZE_MAX);

    codec_require(c, h->position.index < ENTRY_POSITION_LIMIT && h->position.term < ENTRY_POSITION_LIMIT);
    codec_require(c, h->config_index <= h->position.index && h->restoring <= h->position.index);
}

/* What all records begin with, and the trailer: there the key size is 0 and `number` counts the records. */
struct head {
    uint16_t key_size;
    uint32_t value_size;
    uint64_t number;
};

static void walk_head(struct codec *c, struct head *h)
{
    codec_u16(c, &h->key_size);
    codec_u32(c, &h->value_size);
    codec_u64(c, &h->number);

    codec_require(c, h->key_size <= COMMAND_KEY_MAX && h->value_size <= ENTRY_PAYLOAD_MAX);
    codec_require(c, h->key_size != 0 || h->value_size == 0);
}

/* ---- making one ---- */

struct dump_encoder {
    struct checksum_stream *sum;
    uint64_t count;
    uint64_t hash; /* of the map's content so far */
    bool turned;   /* what follows is not of the map */
};

struct dump_encoder *dump_encoder_new(void)
{
    struct dump_encoder *e = xcalloc(1, sizeof *e);

    e->sum = checksum_stream_new(SEED);
    return e;
}

void dump_encoder_free(struct dump_encoder *e)
{
    if (e == NULL)
        return;
    checksum_stream_free(e->sum);
    free(e);
}

static void sum_from(struct dump_encoder *e, const struct bytes *out, size_t before)
{
    CHECK(!out->overflow); /* the caller empties it in time */
    checksum_stream_add(e->sum, out->data + before, out->size - before);
}

void dump_encode_header(struct dump_encoder *e, const struct dump_header *h, struct bytes *out)
{
    struct dump_header copy = *h;
    struct prefix prefix = {.magic = MAGIC, .format = DUMP_FORMAT};
    struct codec c = codec_encoder(out);
    size_t before = out->size;
    struct bytes members;
    struct view view;

    bytes_init(&members, MEMBERS_SIZE_MAX);
    members_encode(&h->members, &members);
    CHECK(!members.overflow);
    view = bytes_view(&members);
    walk_prefix(&c, &prefix);
    walk_header(&c, &copy, &view);
    bytes_clear(&members);
    CHECK(!out->overflow);
    codec_put_u32(out->data + before + PREFIX_SIZE - 4, (uint32_t)(out->size - before - PREFIX_SIZE));
    e->hash = content_config_hash(h->config_index, &h->members);
    sum_from(e, out, before);
}

void dump_encode_record(struct dump_encoder *e, const struct dump_record *r, struct bytes *out)
{
    struct head head = {.key_size = (uint16_t)r->key.size, .value_size = (uint32_t)r->value.size, .number = r->index};
    struct codec c = codec_encoder(out);
    size_t before = out->size;

    CHECK(r->key.size > 0);
    walk_head(&c, &head);
    bytes_append(out, r->key.data, r->key.size);
    if (r->value.size > 0)
        bytes_append(out, r->value.data, r->value.size);
    sum_from(e, out, before);
    if (!e->turned)
        e->hash += content_record_hash(r->key, r->index, r->value);
    e->count++;
}

/* What ends the records, or those of the map where others follow. */
static void encode_count(struct dump_encoder *e, struct bytes *out)
{
    struct head head = {.number = e->count};
    struct codec c = codec_encoder(out);

    walk_head(&c, &head);
    e->count = 0;
}

void dump_encode_turn(struct dump_encoder *e, struct bytes *out)
{
    size_t before = out->size;

    encode_count(e, out);
    e->turned = true;
    sum_from(e, out, before);
}

uint64_t dump_encode_end(struct dump_encoder *e, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    size_t before = out->size;
    uint64_t sum = 0;

    encode_count(e, out);
    codec_u64(&c, &e->hash);
    sum_from(e, out, before);
    sum = checksum_stream_value(e->sum);
    codec_u64(&c, &sum);
    return sum;
}

/* ---- reading one ---- */

enum stage { STAGE_PREFIX, STAGE_HEADER, STAGE_RECORDS, STAGE_GATHERED, STAGE_HASH, STAGE_CHECKSUM, STAGE_END };

struct dump_decoder {
    struct checksum_stream *sum;
    struct bytes in;
    size_t used; /* of `in`, consumed */
    enum stage stage;
    uint32_t header_size;
    uint64_t count, hash;
    struct dump_header header;
    uint8_t last[COMMAND_KEY_MAX]; /* the key of the last record */
    size_t last_size;
    uint64_t taken; /* bytes that were consumed since the beginning */
    const char *fault;
    int err;
};

struct dump_decoder *dump_decoder_new(void)
{
    struct dump_decoder *d = xcalloc(1, sizeof *d);

    d->sum = checksum_stream_new(SEED);
    bytes_init(&d->in, BUFFER_MAX);
    return d;
}

void dump_decoder_free(struct dump_decoder *d)
{
    if (d == NULL)
        return;
    checksum_stream_free(d->sum);
    bytes_clear(&d->in);
    free(d);
}

void dump_decoder_reset(struct dump_decoder *d)
{
    checksum_stream_reset(d->sum, SEED);
    bytes_reset(&d->in);
    d->used = 0;
    d->stage = STAGE_PREFIX;
    d->count = 0;
    d->last_size = 0;
    d->taken = 0;
    d->fault = NULL;
    d->err = 0;
}

void dump_decoder_feed(struct dump_decoder *d, struct view bytes)
{
    if (d->used >= GATHERED_BYTES || d->used == d->in.size) {
        bytes_consume(&d->in, d->used);
        d->used = 0;
    }
    if (bytes.size > 0)
        bytes_append(&d->in, bytes.data, bytes.size);
    if (d->in.overflow) /* more than any record takes was fed, and not looked at */
        d->err = ERR_TOO_LONG;
}

uint64_t dump_decoder_offset(const struct dump_decoder *d)
{
    return d->taken;
}

const char *dump_decoder_fault(const struct dump_decoder *d)
{
    return d->fault != NULL ? d->fault : err_text(d->err);
}

static int wrong(struct dump_decoder *d, int err, const char *fault)
{
    d->fault = fault;
    return err;
}

const struct dump_header *dump_decoder_header(const struct dump_decoder *d)
{
    return &d->header;
}

/* The next `size` bytes, if they are there; they count as consumed and, but for the checksum itself, go into it. */
static bool consume(struct dump_decoder *d, size_t size, struct view *out)
{
    if (d->in.size - d->used < size)
        return false;
    *out = view_of(d->in.data + d->used, size);
    d->used += size;
    d->taken += size;
    if (d->stage != STAGE_CHECKSUM)
        checksum_stream_add(d->sum, out->data, out->size);
    return true;
}

static int decode_prefix(struct dump_decoder *d, struct view in)
{
    struct codec c = codec_decoder(in);
    struct prefix prefix = {0};

    walk_prefix(&c, &prefix);
    if (prefix.magic != MAGIC)
        return wrong(d, ERR_FORMAT, "it does not begin as a dump of raftd does");
    if (prefix.format != DUMP_FORMAT)
        return wrong(d, ERR_FORMAT, "its format is not the one that this version of raftd knows");
    if (prefix.size > HEADER_MAX)
        return wrong(d, ERR_CORRUPT, "the size of the header is wrong");
    d->header_size = prefix.size;
    d->stage = STAGE_HEADER;
    return 0;
}

static int decode_header(struct dump_decoder *d, struct view in)
{
    struct codec c = codec_decoder(in);
    struct view members = {NULL, 0};

    walk_header(&c, &d->header, &members);
    if (codec_finish(&c) != 0 || members_decode(members, &d->header.members) != 0)
        return wrong(d, ERR_CORRUPT, "the header does not decode");
    d->hash = content_config_hash(d->header.config_index, &d->header.members);
    d->stage = STAGE_RECORDS;
    return 0;
}

static bool in_order(struct dump_decoder *d, struct view key)
{
    if (d->last_size > 0 && view_compare(view_of(d->last, d->last_size), key) >= 0)
        return false;
    memcpy(d->last, key.data, key.size);
    d->last_size = key.size;
    return true;
}

static int end_records(struct dump_decoder *d, uint64_t count)
{
    if (count != d->count)
        return wrong(d, ERR_CORRUPT, "other records are counted than there are");
    d->stage = d->stage == STAGE_RECORDS && d->header.restoring != 0 ? STAGE_GATHERED : STAGE_HASH;
    d->count = 0;
    d->last_size = 0;
    return 0;
}

/* A record, or what ends the records: nothing is consumed before it is there as a whole. */
static int decode_record(struct dump_decoder *d, enum dump_step *step, struct dump_record *record)
{
    struct codec c;
    struct head head = {0};
    struct view whole;

    if (d->in.size - d->used < HEAD_SIZE)
        return 0;
    c = codec_decoder(view_of(d->in.data + d->used, HEAD_SIZE));
    walk_head(&c, &head);
    if (codec_finish(&c) != 0)
        return wrong(d, ERR_CORRUPT, "the sizes of a record are over their limits");
    if (!consume(d, HEAD_SIZE + head.key_size + head.value_size, &whole))
        return 0;
    if (head.key_size == 0)
        return end_records(d, head.number);
    record->key = view_of(whole.data + HEAD_SIZE, head.key_size);
    record->value = view_of(whole.data + HEAD_SIZE + head.key_size, head.value_size);
    record->index = head.number;
    record->gathered = d->stage == STAGE_GATHERED;
    if (record->index == 0 || record->index > d->header.position.index)
        return wrong(d, ERR_CORRUPT, "the index of a record is not one up to that of the dump");
    if (!in_order(d, record->key))
        return wrong(d, ERR_CORRUPT, "a key is not greater than the one before it");
    if (!record->gathered)
        d->hash += content_record_hash(record->key, record->index, record->value);
    d->count++;
    *step = DUMP_RECORD;
    return 0;
}

static int decode_checksum(struct dump_decoder *d, enum dump_step *step, struct view in)
{
    if (codec_get_u64(in.data) != checksum_stream_value(d->sum))
        return wrong(d, ERR_CORRUPT, "the checksum of the trailer is not that of what is before it");
    d->stage = STAGE_END;
    *step = DUMP_END;
    return 0;
}

static int decode_next(struct dump_decoder *d, enum dump_step *step, struct dump_record *record)
{
    struct view in;
    int err = 0;

    if (d->stage == STAGE_PREFIX) {
        if (!consume(d, PREFIX_SIZE, &in))
            return 0;
        err = decode_prefix(d, in);
        if (err != 0)
            return err;
    }
    if (d->stage == STAGE_HEADER) {
        if (!consume(d, d->header_size, &in))
            return 0;
        *step = DUMP_HEADER;
        return decode_header(d, in);
    }
    while (d->stage == STAGE_RECORDS || d->stage == STAGE_GATHERED) {
        enum stage before = d->stage;

        err = decode_record(d, step, record);
        if (err != 0 || d->stage == before)
            return err;
    }
    if (d->stage == STAGE_HASH) {
        if (!consume(d, HASH_SIZE, &in))
            return 0;
        if (codec_get_u64(in.data) != d->hash)
            return wrong(d, ERR_CORRUPT, "the hash of its content is not the one in its trailer");
        d->stage = STAGE_CHECKSUM;
    }
    if (d->stage == STAGE_CHECKSUM) {
        if (!consume(d, CHECKSUM_SIZE, &in))
            return 0;
        err = decode_checksum(d, step, in);
        if (err != 0)
            return err;
    }
    return d->used < d->in.size ? wrong(d, ERR_CORRUPT, "there are bytes behind the trailer") : 0;
}

int dump_decoder_next(struct dump_decoder *d, enum dump_step *step, struct dump_record *record)
{
    *step = DUMP_WANTS_MORE;
    if (d->err == 0)
        d->err = decode_next(d, step, record);
    return d->err;
}
