#include "wire/transfer.h"

#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/err.h"
#include "wire/dump.h"
#include "wire/entry.h"
#include "wire/members.h"

bool dump_id_equal(const struct dump_id *a, const struct dump_id *b)
{
    return a->pos.index == b->pos.index && a->pos.term == b->pos.term && a->size == b->size &&
           a->checksum == b->checksum;
}

static void walk_ends(struct codec *c, raft_id *from, raft_id *to)
{
    codec_u64(c, from);
    codec_u64(c, to);
    codec_require(c, *from > 0 && *from < MEMBER_ID_LIMIT);
    codec_require(c, *to > 0 && *to < MEMBER_ID_LIMIT);
}

static void walk_dump_id(struct codec *c, struct dump_id *d)
{
    codec_u64(c, &d->pos.index);
    codec_u64(c, &d->pos.term);
    codec_u64(c, &d->size);
    codec_u64(c, &d->checksum);
    codec_require(c, d->pos.index > 0 && d->pos.index < ENTRY_POSITION_LIMIT);
    codec_require(c, d->pos.term > 0 && d->pos.term < ENTRY_POSITION_LIMIT);
    codec_require(c, d->size >= DUMP_LEAST_BYTES && d->size <= DUMP_MOST_BYTES);
}

static void walk_chunk(struct codec *c, struct chunk *k)
{
    walk_ends(c, &k->from, &k->to);
    codec_u64(c, &k->term);
    walk_dump_id(c, &k->dump);
    codec_u64(c, &k->offset);
    codec_require(c, k->term > 0 && k->term < ENTRY_POSITION_LIMIT);
    codec_require(c, k->offset <= k->dump.size);
}

void chunk_encode(const struct chunk *c, struct bytes *out)
{
    struct codec codec = codec_encoder(out);
    struct chunk copy = *c;

    walk_chunk(&codec, &copy);
}

int chunk_decode(struct view payload, struct chunk *out)
{
    struct codec codec = codec_decoder(payload);
    struct chunk c = {0};

    walk_chunk(&codec, &c);
    if (codec.err != 0)
        return codec.err;
    c.bytes = codec.in; /* all that is left */
    if (c.bytes.size > CHUNK_BYTES_MAX || c.bytes.size > c.dump.size - c.offset)
        return ERR_MALFORMED;
    *out = c;
    return 0;
}

static void walk_taken(struct codec *c, struct chunk_taken *t)
{
    walk_ends(c, &t->from, &t->to);
    walk_dump_id(c, &t->dump);
    codec_u64(c, &t->offset);
    codec_require(c, t->offset <= t->dump.size);
}

void chunk_taken_encode(const struct chunk_taken *t, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    struct chunk_taken copy = *t;

    walk_taken(&c, &copy);
}

int chunk_taken_decode(struct view payload, struct chunk_taken *out)
{
    struct codec c = codec_decoder(payload);
    struct chunk_taken t = {0};
    int err = 0;

    walk_taken(&c, &t);
    err = codec_finish(&c);
    if (err == 0)
        *out = t;
    return err;
}
