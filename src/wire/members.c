#include "wire/members.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/err.h"

_Static_assert(2 + RAFT_MEMBERS_MAX * (8 + 1 + 1 + 8 + 4 + MEMBER_NAME_MAX + 2 * (4 + ADDRESS_MAX) + 1 + 8) +
                       MEMBERS_GONE_MAX * (8 + 4 + MEMBER_NAME_MAX + 4 + ADDRESS_MAX + 8) <=
                   MEMBERS_SIZE_MAX,
               "the longest list fits");

void member_name_make_up(uint64_t chance, char out[MEMBER_NAME_MAX])
{
    snprintf(out, MEMBER_NAME_MAX, "%07llx", (unsigned long long)(0xa000000 + chance % 0x6000000));
}

bool member_name_valid(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t length = strspn(name, allowed);

    return length > 0 && length < MEMBER_NAME_MAX && name[length] == '\0';
}

static bool address_valid(const char *text)
{
    struct address parsed;

    return address_parse(text, &parsed) == 0;
}

static void walk_member(struct codec *c, struct member *m)
{
    uint8_t role = (uint8_t)m->role, profile = (uint8_t)m->profile;

    codec_u64(c, &m->id);
    codec_u8(c, &role);
    codec_bool(c, &m->stays_learner);
    codec_u64(c, &m->replaces);
    codec_text(c, m->name, sizeof m->name);
    codec_text(c, m->client, sizeof m->client);
    codec_text(c, m->peer, sizeof m->peer);
    codec_u8(c, &profile);
    codec_u64(c, &m->created_ns);
    m->role = (enum raft_member_role)role;
    m->profile = (enum profile)profile;

    codec_require(c, m->id > 0 && m->id < MEMBER_ID_LIMIT);
    codec_require(c, role == RAFT_LEARNER || role == RAFT_VOTER);
    codec_require(c, m->replaces < MEMBER_ID_LIMIT && m->replaces != m->id);
    codec_require(c, member_name_valid(m->name));
    codec_require(c, m->client[0] == '\0' || address_valid(m->client));
    codec_require(c, address_valid(m->peer));
    codec_require(c, profile < PROFILES);
}

/* What is known of the gone: at first it was id and name alone, and such lists lie on disks. */
enum gone_form { GONE_PLACED, GONE_NAMED };

static void walk_gone(struct codec *c, struct member_gone *g, enum gone_form form)
{
    codec_u64(c, &g->id);
    codec_text(c, g->name, sizeof g->name);
    if (form == GONE_PLACED) {
        codec_text(c, g->peer, sizeof g->peer);
        codec_u64(c, &g->removed_ns);
    }
    codec_require(c, g->id > 0 && g->id < MEMBER_ID_LIMIT);
    codec_require(c, member_name_valid(g->name));
    codec_require(c, g->peer[0] == '\0' || address_valid(g->peer));
}

void members_encode(const struct members *m, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    uint8_t count = (uint8_t)m->count, gone_count = (uint8_t)m->gone_count;

    codec_require(&c, m->count <= RAFT_MEMBERS_MAX);
    codec_require(&c, m->gone_count <= MEMBERS_GONE_MAX);
    codec_u8(&c, &count);
    codec_u8(&c, &gone_count);
    for (unsigned i = 0; i < m->count; i++) {
        struct member copy = m->list[i];

        walk_member(&c, &copy);
    }
    for (unsigned i = 0; i < m->gone_count; i++) {
        struct member_gone copy = m->gone[i];

        walk_gone(&c, &copy, GONE_PLACED);
    }
}

static int decode(struct view in, enum gone_form form, struct members *out)
{
    struct codec c = codec_decoder(in);
    struct members m = {0};
    uint8_t count = 0, gone_count = 0;

    codec_u8(&c, &count);
    codec_u8(&c, &gone_count);
    codec_require(&c, count <= RAFT_MEMBERS_MAX);
    codec_require(&c, gone_count <= MEMBERS_GONE_MAX);
    for (unsigned i = 0; i < count && c.err == 0; i++) {
        struct member *member = &m.list[i];

        walk_member(&c, member);
        codec_require(&c, members_by_id(&m, member->id) == NULL && members_by_name(&m, member->name) == NULL);
        m.count = i + 1;
    }
    for (unsigned i = 0; i < gone_count && c.err == 0; i++) {
        walk_gone(&c, &m.gone[i], form);
        codec_require(&c, members_by_id(&m, m.gone[i].id) == NULL);
        m.gone_count = i + 1;
    }

    int err = codec_finish(&c);

    if (err == 0)
        *out = m;
    return err;
}

int members_decode(struct view in, struct members *out)
{
    int err = decode(in, GONE_PLACED, out);

    return err == 0 ? 0 : decode(in, GONE_NAMED, out);
}

struct entry *members_entry(const struct members *m)
{
    struct bytes encoded;
    struct entry *e = NULL;

    bytes_init(&encoded, MEMBERS_SIZE_MAX);
    members_encode(m, &encoded);
    CHECK(!encoded.overflow);
    e = entry_new(RAFT_CONFIG, (uint32_t)encoded.size);
    memcpy(entry_room(e), encoded.data, encoded.size);
    entry_seal(e);
    bytes_clear(&encoded);
    return e;
}

void members_config(const struct members *m, struct raft_config *out)
{
    *out = (struct raft_config){.count = m->count};
    for (unsigned i = 0; i < m->count; i++)
        out->members[i] = (struct raft_member){.id = m->list[i].id, .role = m->list[i].role};
}

void members_remove(struct members *m, raft_id id, uint64_t now_ns)
{
    struct member *gone = members_by_id(m, id);
    size_t at = 0;

    CHECK(gone != NULL);
    at = (size_t)(gone - m->list);
    if (m->gone_count == MEMBERS_GONE_MAX) {
        m->gone_count--;
        memmove(m->gone, m->gone + 1, m->gone_count * sizeof m->gone[0]);
    }
    m->gone[m->gone_count].id = gone->id;
    memcpy(m->gone[m->gone_count].name, gone->name, sizeof gone->name);
    memcpy(m->gone[m->gone_count].peer, gone->peer, sizeof gone->peer);
    m->gone[m->gone_count].removed_ns = now_ns;
    m->gone_count++;
    m->count--;
    memmove(gone, gone + 1, (m->count - at) * sizeof *gone);
    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].replaces == id)
            m->list[i].replaces = 0;
}

const struct member_gone *members_gone(const struct members *m, const char *name, raft_id id)
{
    for (unsigned i = m->gone_count; i > 0; i--) {
        const struct member_gone *g = &m->gone[i - 1];

        if (g->id == id || strcmp(g->name, name) == 0)
            return g;
    }
    return NULL;
}

struct member *members_by_id(struct members *m, raft_id id)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].id == id)
            return &m->list[i];
    return NULL;
}

struct member *members_by_name(struct members *m, const char *name)
{
    for (unsigned i = 0; i < m->count; i++)
        if (strcmp(m->list[i].name, name) == 0)
            return &m->list[i];
    return NULL;
}
