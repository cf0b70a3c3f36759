#include "wire/integrity.h"

#include "base/codec.h"
#include "base/err.h"
#include "wire/entry.h"
#include "wire/members.h"

static void walk_ends(struct codec *c, raft_id *from, raft_id *to, raft_term *term)
{
    codec_u64(c, from);
    codec_u64(c, to);
    codec_u64(c, term);
    codec_require(c, *from > 0 && *from < MEMBER_ID_LIMIT);
    codec_require(c, *to > 0 && *to < MEMBER_ID_LIMIT);
    codec_require(c, *term < ENTRY_POSITION_LIMIT);
}

static void walk_hash(struct codec *c, struct hash_at *h)
{
    codec_u64(c, &h->index);
    codec_u64(c, &h->hash);
    codec_require(c, h->index < ENTRY_POSITION_LIMIT);
}

static void walk_report(struct codec *c, struct hash_report *r)
{
    walk_ends(c, &r->from, &r->to, &r->term);
    codec_u16(c, &r->version);
    codec_bool(c, &r->doubted);
    walk_hash(c, &r->applied);
    walk_hash(c, &r->checkpoint);
}

void hash_report_encode(const struct hash_report *r, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    struct hash_report copy = *r;

    walk_report(&c, &copy);
}

int hash_report_decode(struct view payload, struct hash_report *out)
{
    struct codec c = codec_decoder(payload);
    struct hash_report r = {0};
    int err = 0;

    walk_report(&c, &r);
    err = codec_finish(&c);
    if (err == 0)
        *out = r;
    return err;
}

static void walk_verdict(struct codec *c, struct hash_verdict *v)
{
    walk_ends(c, &v->from, &v->to, &v->term);
    walk_hash(c, &v->yours);
    codec_u64(c, &v->ours);
}

void hash_verdict_encode(const struct hash_verdict *v, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    struct hash_verdict copy = *v;

    walk_verdict(&c, &copy);
}

int hash_verdict_decode(struct view payload, struct hash_verdict *out)
{
    struct codec c = codec_decoder(payload);
    struct hash_verdict v = {0};
    int err = 0;

    walk_verdict(&c, &v);
    err = codec_finish(&c);
    if (err == 0)
        *out = v;
    return err;
}
