#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/err.h"
#include "wire/members.h"

static void walk_position(struct codec *c, uint64_t *v)
{
    codec_u64(c, v);
    codec_require(c, *v < ENTRY_POSITION_LIMIT);
}

static void walk_id(struct codec *c, raft_id *id)
{
    codec_u64(c, id);
    codec_require(c, *id > 0 && *id < MEMBER_ID_LIMIT);
}

static void walk_pos(struct codec *c, struct raft_pos *pos)
{
    walk_position(c, &pos->index);
    walk_position(c, &pos->term);
}

static void walk_append(struct codec *c, struct raft_message *m)
{
    uint32_t count = m->append.count;

    walk_pos(c, &m->append.prev);
    walk_position(c, &m->append.commit);
    codec_u64(c, &m->append.round);
    codec_u32(c, &count);
    codec_require(c, count <= RAFT_APPEND_MAX);
    m->append.count = count;
}

static void walk_appended(struct codec *c, struct raft_message *m)
{
    codec_bool(c, &m->appended.ok);
    walk_position(c, &m->appended.index);
    walk_position(c, &m->appended.hint);
    codec_u64(c, &m->appended.round);
    codec_bool(c, &m->appended.full);
}

static void walk_body(struct codec *c, struct raft_message *m)
{
    switch (m->type) {
    case RAFT_VOTE:
        walk_pos(c, &m->vote.last);
        codec_bool(c, &m->vote.pre);
        codec_bool(c, &m->vote.transfer);
        return;
    case RAFT_VOTED:
        codec_bool(c, &m->voted.pre);
        codec_bool(c, &m->voted.granted);
        return;
    case RAFT_APPEND:
        walk_append(c, m);
        return;
    case RAFT_APPENDED:
        walk_appended(c, m);
        return;
    case RAFT_SNAPSHOT:
        walk_pos(c, &m->snapshot.pos);
        return;
    case RAFT_READ:
    case RAFT_READ_AT:
        codec_u64(c, &m->read.ticket);
        walk_position(c, &m->read.index);
        return;
    case RAFT_TAKE_OVER:
        return;
    }
    codec_require(c, false);
}

static void walk_message(struct codec *c, struct raft_message *m)
{
    uint8_t type = (uint8_t)m->type;

    codec_u8(c, &type);
    walk_id(c, &m->from);
    walk_id(c, &m->to);
    walk_position(c, &m->term);
    m->type = (enum raft_message_type)type;
    walk_body(c, m);
}

void message_encode(const struct raft_message *m, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    struct raft_message copy = *m;

    walk_message(&c, &copy);
}

struct incoming *incoming_new(void)
{
    return xcalloc(1, sizeof(struct incoming));
}

void incoming_clear(struct incoming *in)
{
    for (unsigned i = 0; i < in->count; i++) {
        entry_unref(in->entries[i]);
        free(in->configs[i]);
        in->entries[i] = NULL;
        in->configs[i] = NULL;
    }
    in->count = 0;
    in->message = (struct raft_message){0};
}

void incoming_free(struct incoming *in)
{
    if (in == NULL)
        return;
    incoming_clear(in);
    free(in);
}

/* The core's part of a configuration entry. One without a voter could never decide anything again: no leader makes it. */
static int decode_config(struct view payload, struct raft_config **out)
{
    struct members members;
    struct raft_config config;
    unsigned voters = 0;
    int err = members_decode(payload, &members);

    if (err != 0)
        return err;
    members_config(&members, &config);
    for (unsigned i = 0; i < config.count; i++)
        voters += config.members[i].role == RAFT_VOTER;
    if (voters == 0)
        return ERR_MALFORMED;
    *out = xmalloc(sizeof **out);
    **out = config;
    return 0;
}

/* Takes the next entry of an append from *rest. `before` is the position that it must follow. */
static int decode_entry(struct view *rest, struct raft_pos before, struct incoming *in)
{
    struct entry *e = NULL;
    int err = entry_decode(rest, &e);

    if (err != 0)
        return err;

    unsigned i = in->count++; /* from here on incoming_clear finds it */
    struct raft_pos pos = entry_pos(e);

    in->entries[i] = e;
    if (pos.index != before.index + 1 || pos.index >= ENTRY_POSITION_LIMIT)
        return ERR_MALFORMED;
    if (pos.term == 0 || pos.term < before.term || pos.term > in->message.term)
        return ERR_MALFORMED;
    if (entry_type(e) == RAFT_CONFIG)
        err = decode_config(entry_payload(e), &in->configs[i]);
    in->heads[i] = (struct raft_head){.term = pos.term, .type = entry_type(e), .config = in->configs[i]};
    return err;
}

static int decode_entries(struct view *rest, struct incoming *in)
{
    struct raft_pos before = in->message.append.prev;

    for (unsigned i = 0; i < in->message.append.count; i++) {
        int err = decode_entry(rest, before, in);

        if (err != 0)
            return err;
        before = entry_pos(in->entries[i]);
    }
    in->message.append.heads = in->heads;
    return 0;
}

int message_decode(struct view payload, struct incoming *in)
{
    struct codec c = codec_decoder(payload);
    int err;

    incoming_clear(in);
    walk_message(&c, &in->message);
    err = c.err;
    if (err == 0 && in->message.type == RAFT_APPEND)
        err = decode_entries(&c.in, in);
    if (err == 0)
        err = codec_finish(&c); /* nothing may be left over */
    if (err != 0)
        incoming_clear(in);
    return err;
}
