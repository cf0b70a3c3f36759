#include "wire/members.h"

#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "base/codec.h"
#include "base/err.h"

static struct members three(void)
{
    struct members m = {.count = 3};

    for (unsigned i = 0; i < m.count; i++) {
        struct member *x = &m.list[i];

        x->id = i + 1;
        x->role = i == 2 ? RAFT_LEARNER : RAFT_VOTER;
        x->stays_learner = i == 2;
        snprintf(x->name, sizeof x->name, "node-%u", i + 1);
        snprintf(x->client, sizeof x->client, "host%u.example:4001", i + 1);
        snprintf(x->peer, sizeof x->peer, "[fe80::%u]:14001", i + 1);
    }
    return m;
}

static int decode(const struct bytes *b, struct members *out)
{
    return members_decode(bytes_view(b), out);
}

/* The encoding of a list that members_encode would not write: `from` in the encoding of three() becomes `to`. */
static void encode_with(struct bytes *b, const char *from, const char *to)
{
    struct members m = three();
    uint8_t *at;

    ck_assert_uint_eq(strlen(from), strlen(to));
    bytes_init(b, MEMBERS_SIZE_MAX);
    members_encode(&m, b);
    at = memmem(b->data, b->size, from, strlen(from));
    ck_assert_ptr_nonnull(at);
    memcpy(at, to, strlen(to));
}

START_TEST(decoding_gives_back_what_was_encoded)
{
    struct members m = three();
    struct members out;
    struct bytes b;

    bytes_init(&b, MEMBERS_SIZE_MAX);
    m.list[2].replaces = 1;
    m.gone_count = 1;
    m.gone[0] = (struct member_gone){.id = 9, .name = "gone", .peer = "host9.example:14001", .removed_ns = 7};
    members_encode(&m, &b);
    memset(&out, 0xee, sizeof out);
    ck_assert_int_eq(decode(&b, &out), 0);
    ck_assert_uint_eq(out.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(out.list[i].id, m.list[i].id);
        ck_assert_int_eq(out.list[i].role, m.list[i].role);
        ck_assert_int_eq(out.list[i].stays_learner, m.list[i].stays_learner);
        ck_assert_str_eq(out.list[i].name, m.list[i].name);
        ck_assert_str_eq(out.list[i].client, m.list[i].client);
        ck_assert_str_eq(out.list[i].peer, m.list[i].peer);
        ck_assert_uint_eq(out.list[i].replaces, m.list[i].replaces);
    }
    ck_assert_uint_eq(out.gone_count, 1);
    ck_assert_uint_eq(out.gone[0].id, 9);
    ck_assert_str_eq(out.gone[0].name, "gone");
    ck_assert_str_eq(out.gone[0].peer, "host9.example:14001");
    ck_assert_uint_eq(out.gone[0].removed_ns, 7);
    bytes_clear(&b);
}
END_TEST

START_TEST(the_fullest_list_fits_and_an_empty_one_is_a_list)
{
    struct members m = {.count = RAFT_MEMBERS_MAX};
    struct members out;
    struct bytes b;

    for (unsigned i = 0; i < m.count; i++) {
        struct member *x = &m.list[i];

        x->id = (UINT64_C(1) << 53) - 1 - i;
        x->role = RAFT_VOTER;
        memset(x->name, 'a' + (int)i, sizeof x->name - 1);
        memset(x->client, 'h', 254);
        memcpy(x->client + 254, ":65535", 7);
        memcpy(x->peer, x->client, sizeof x->peer);
    }
    m.gone_count = MEMBERS_GONE_MAX;
    for (unsigned i = 0; i < m.gone_count; i++) {
        m.gone[i].id = i + 1;
        memset(m.gone[i].name, 'z', sizeof m.gone[i].name - 1);
        memcpy(m.gone[i].peer, m.list[i].peer, sizeof m.gone[i].peer);
        m.gone[i].removed_ns = UINT64_MAX;
    }
    bytes_init(&b, MEMBERS_SIZE_MAX);
    members_encode(&m, &b);
    ck_assert(!b.overflow);
    ck_assert_int_eq(decode(&b, &out), 0);
    ck_assert_uint_eq(out.count, RAFT_MEMBERS_MAX);
    ck_assert_uint_eq(out.gone_count, MEMBERS_GONE_MAX);
    bytes_reset(&b);
    m.count = 0;
    m.gone_count = 0;
    members_encode(&m, &b);
    ck_assert_int_eq(decode(&b, &out), 0);
    ck_assert_uint_eq(out.count, 0);
    bytes_clear(&b);
}
END_TEST

START_TEST(every_truncation_and_anything_left_over_is_malformed)
{
    struct members m = three();
    struct members out = {.count = 77};
    struct bytes b;

    bytes_init(&b, MEMBERS_SIZE_MAX);
    members_encode(&m, &b);
    for (size_t size = 0; size < b.size; size++)
        ck_assert_int_eq(members_decode(view_of(b.data, size), &out), ERR_MALFORMED);
    bytes_append_char(&b, '\0');
    ck_assert_int_eq(decode(&b, &out), ERR_MALFORMED);
    ck_assert_uint_eq(out.count, 77); /* untouched */
    bytes_clear(&b);
}
END_TEST

START_TEST(names_and_ids_are_there_once)
{
    struct members out;
    struct bytes b;

    encode_with(&b, "node-3", "node-1");
    ck_assert_int_eq(decode(&b, &out), ERR_MALFORMED);
    bytes_clear(&b);
    encode_with(&b, "node-3", "node-3");
    ck_assert_int_eq(decode(&b, &out), 0);
    codec_put_u64(b.data + 2, 3); /* the first member's id becomes the last one's */
    ck_assert_int_eq(decode(&b, &out), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

START_TEST(an_id_is_above_0_and_below_2_to_the_53)
{
    static const uint64_t bad[] = {0, UINT64_C(1) << 53, UINT64_MAX};
    struct members out;
    struct bytes b;

    encode_with(&b, "node", "node");
    for (size_t i = 0; i < 3; i++) {
        codec_put_u64(b.data + 2, bad[i]);
        ck_assert_int_eq(decode(&b, &out), ERR_MALFORMED);
    }
    codec_put_u64(b.data + 2, (UINT64_C(1) << 53) - 1);
    ck_assert_int_eq(decode(&b, &out), 0);
    bytes_clear(&b);
}
END_TEST

START_TEST(roles_flags_and_counts_outside_their_range_are_malformed)
{
    struct members out;
    struct bytes b;

    encode_with(&b, "node", "node");
    for (unsigned role = 0; role < 256; role++) {
        b.data[10] = (uint8_t)role;
        ck_assert_int_eq(decode(&b, &out), role == RAFT_LEARNER || role == RAFT_VOTER ? 0 : ERR_MALFORMED);
    }
    b.data[10] = RAFT_VOTER;
    b.data[11] = 2;
    ck_assert_int_eq(decode(&b, &out), ERR_MALFORMED);
    b.data[11] = 0;
    for (unsigned count = 0; count < 256; count++) {
        b.data[0] = (uint8_t)count;
        ck_assert_int_eq(decode(&b, &out), count == 3 ? 0 : ERR_MALFORMED);
    }
    bytes_clear(&b);
}
END_TEST

START_TEST(names_and_addresses_are_what_can_be_printed)
{
    static const char *const bad[][2] = {{"node-1", "node\n1"},
                                         {"node-1", "node 1"},
                                         {"node-1", "node\x80"
                                                    "1"},
                                         {"host1.example:4001", "host1.example 4001"},
                                         {"host1.example:4001", "host1\r\nxample:4001"},
                                         {"host1.example:4001", "host1.exampl:70000"},
                                         {"host1.example:4001", "host1.example:0000"}};
    struct members out;
    struct bytes b;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        encode_with(&b, bad[i][0], bad[i][1]);
        ck_assert_msg(decode(&b, &out) == ERR_MALFORMED, "%s", bad[i][1]);
        bytes_clear(&b);
    }
}
END_TEST

/* Who goes is remembered, the last sixteen, and nobody is there and gone at once. */
START_TEST(the_last_that_were_removed_are_remembered)
{
    struct members m = {.count = 0};
    struct members out;
    struct bytes b;

    for (unsigned i = 1; i <= 20; i++) {
        struct members next = three();

        m.list[0] = next.list[0];
        m.list[0].id = 100 + i;
        snprintf(m.list[0].name, sizeof m.list[0].name, "m%u", i);
        m.list[1] = next.list[1];
        m.list[1].replaces = 100 + i;
        m.count = 2;
        members_remove(&m, 100 + i, 1000 + i);
        ck_assert_uint_eq(m.count, 1);
        ck_assert_str_eq(m.list[0].name, "node-2");
        ck_assert_uint_eq(m.list[0].replaces, 0); /* done */
    }
    ck_assert_uint_eq(m.gone_count, MEMBERS_GONE_MAX);
    ck_assert_ptr_null(members_gone(&m, "m4", 0));
    ck_assert_uint_eq(members_gone(&m, "m5", 0)->id, 105);
    ck_assert_str_eq(members_gone(&m, "", 120)->name, "m20");
    ck_assert_str_eq(members_gone(&m, "", 120)->peer, "[fe80::1]:14001");
    ck_assert_uint_eq(members_gone(&m, "", 120)->removed_ns, 1020);
    ck_assert_ptr_null(members_gone(&m, "node-2", 2));
    bytes_init(&b, MEMBERS_SIZE_MAX);
    members_encode(&m, &b);
    ck_assert_int_eq(decode(&b, &out), 0);
    codec_put_u64(b.data + 2, 110);
    ck_assert_int_eq(decode(&b, &out), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

/* A list that an older version wrote has no more of the gone than id and name. */
START_TEST(an_older_list_is_read)
{
    struct members m = three();
    struct members out;
    struct bytes b;

    bytes_init(&b, MEMBERS_SIZE_MAX);
    m.gone_count = 1;
    m.gone[0] = (struct member_gone){.id = 9, .name = "gone"};
    members_encode(&m, &b);
    ck_assert_int_eq(members_decode(view_of(b.data, b.size - 12), &out), 0); /* without an empty text and a time */
    ck_assert_uint_eq(out.gone[0].id, 9);
    ck_assert_str_eq(out.gone[0].name, "gone");
    ck_assert_str_eq(out.gone[0].peer, "");
    bytes_clear(&b);
}
END_TEST

START_TEST(a_name_is_letters_digits_and_three_signs)
{
    char longest[MEMBER_NAME_MAX + 1] = {0};

    ck_assert(member_name_valid("a"));
    ck_assert(member_name_valid("Node-1_b.example"));
    ck_assert(!member_name_valid(""));
    ck_assert(!member_name_valid("a b"));
    ck_assert(!member_name_valid("a/b"));
    ck_assert(!member_name_valid("\xc3\xa4"));
    memset(longest, 'x', MEMBER_NAME_MAX);
    ck_assert(!member_name_valid(longest));
    longest[MEMBER_NAME_MAX - 1] = '\0';
    ck_assert(member_name_valid(longest));
}
END_TEST

START_TEST(members_are_found_and_the_core_sees_ids_and_roles)
{
    struct members m = three();
    struct raft_config config;

    ck_assert_ptr_eq(members_by_id(&m, 2), &m.list[1]);
    ck_assert_ptr_null(members_by_id(&m, 4));
    ck_assert_ptr_eq(members_by_name(&m, "node-3"), &m.list[2]);
    ck_assert_ptr_null(members_by_name(&m, "node-"));
    members_config(&m, &config);
    ck_assert_uint_eq(config.count, 3);
    ck_assert_uint_eq(config.members[2].id, 3);
    ck_assert_int_eq(config.members[1].role, RAFT_VOTER);
    ck_assert_int_eq(config.members[2].role, RAFT_LEARNER);
}
END_TEST

TEST_MAIN("members", an_older_list_is_read, decoding_gives_back_what_was_encoded,
          the_fullest_list_fits_and_an_empty_one_is_a_list, every_truncation_and_anything_left_over_is_malformed,
          names_and_ids_are_there_once, an_id_is_above_0_and_below_2_to_the_53,
          roles_flags_and_counts_outside_their_range_are_malformed, names_and_addresses_are_what_can_be_printed,
          a_name_is_letters_digits_and_three_signs, the_last_that_were_removed_are_remembered,
          members_are_found_and_the_core_sees_ids_and_roles)
