#include "wire/message.h"

#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "base/codec.h"
#include "base/err.h"
#include "wire/command.h"
#include "wire/members.h"

#define POSITION_MAX ((UINT64_C(1) << 62) - 1)

static struct incoming *in;
static struct bytes out;

static void begin(void)
{
    in = incoming_new();
    bytes_init(&out, 1 << 20);
}

static void end(void)
{
    incoming_free(in);
    bytes_clear(&out);
}

static void append_entry(struct entry *e, raft_index index, raft_term term)
{
    entry_stamp(e, (struct raft_pos){index, term});
    bytes_append(&out, e->bytes, e->size);
    entry_unref(e);
}

static struct entry *a_command(void)
{
    struct command c = {.op = COMMAND_SET, .key = view_of_text("k"), .value = view_of_text("v")};

    return command_entry(&c);
}

static struct entry *a_noop(void)
{
    struct entry *e = entry_new(RAFT_NOOP, 0);

    entry_seal(e);
    return e;
}

static struct entry *a_config(enum raft_member_role role)
{
    struct members m = {.count = 1, .list = {{.id = 5, .role = role, .name = "a", .client = "h:1", .peer = "h:2"}}};
    struct bytes b;
    struct entry *e;

    bytes_init(&b, MEMBERS_SIZE_MAX);
    members_encode(&m, &b);
    e = entry_new(RAFT_CONFIG, (uint32_t)b.size);
    memcpy(entry_room(e), b.data, b.size);
    entry_seal(e);
    bytes_clear(&b);
    return e;
}

static struct raft_message an_append(raft_index prev, raft_term prev_term, unsigned count)
{
    return (struct raft_message){
        .type = RAFT_APPEND,
        .from = 1,
        .to = 2,
        .term = 9,
        .append = {.prev = {prev, prev_term}, .commit = 3, .round = 4, .count = count},
    };
}

static int decode(void)
{
    return message_decode(bytes_view(&out), in);
}

/* Encodes *m, decodes it, and leaves the result in `in`. */
static const struct raft_message *there_and_back(const struct raft_message *m)
{
    bytes_reset(&out);
    message_encode(m, &out);
    ck_assert(!out.overflow);
    ck_assert_int_eq(decode(), 0);
    ck_assert_int_eq(in->message.type, m->type);
    ck_assert_uint_eq(in->message.from, m->from);
    ck_assert_uint_eq(in->message.to, m->to);
    ck_assert_uint_eq(in->message.term, m->term);
    for (size_t size = 0; size < out.size; size++)
        ck_assert_int_eq(message_decode(view_of(out.data, size), in), ERR_MALFORMED);
    bytes_append_char(&out, 0);
    ck_assert_int_eq(decode(), ERR_MALFORMED);
    out.size--;
    ck_assert_int_eq(decode(), 0);
    return &in->message;
}

START_TEST(votes_come_back_as_they_were)
{
    struct raft_message m = {.type = RAFT_VOTE, .from = 1, .to = 2, .term = POSITION_MAX};
    const struct raft_message *r;

    begin();
    m.vote.last = (struct raft_pos){POSITION_MAX, 8};
    m.vote.transfer = true;
    r = there_and_back(&m);
    ck_assert_uint_eq(r->vote.last.index, POSITION_MAX);
    ck_assert_uint_eq(r->vote.last.term, 8);
    ck_assert(!r->vote.pre);
    ck_assert(r->vote.transfer);
    m = (struct raft_message){.type = RAFT_VOTED, .from = 1, .to = 2, .term = 3};
    m.voted.pre = true;
    r = there_and_back(&m);
    ck_assert(r->voted.pre);
    ck_assert(!r->voted.granted);
    end();
}
END_TEST

START_TEST(answers_and_offers_come_back_as_they_were)
{
    struct raft_message m = {.type = RAFT_APPENDED, .from = 1, .to = 2, .term = 3};
    const struct raft_message *r;

    begin();
    m.appended.ok = true;
    m.appended.index = 11;
    m.appended.hint = 2;
    m.appended.round = UINT64_MAX;
    r = there_and_back(&m);
    ck_assert(!r->appended.full);
    m.appended.full = true;
    r = there_and_back(&m);
    ck_assert(r->appended.full);
    ck_assert(r->appended.ok);
    ck_assert_uint_eq(r->appended.index, 11);
    ck_assert_uint_eq(r->appended.hint, 2);
    ck_assert_uint_eq(r->appended.round, UINT64_MAX);
    m = (struct raft_message){.type = RAFT_SNAPSHOT, .from = 1, .to = 2, .term = 3};
    m.snapshot.pos = (struct raft_pos){6, 2};
    r = there_and_back(&m);
    ck_assert_uint_eq(r->snapshot.pos.index, 6);
    ck_assert_uint_eq(r->snapshot.pos.term, 2);
    end();
}
END_TEST

START_TEST(reads_and_take_over_come_back_as_they_were)
{
    struct raft_message m = {.type = RAFT_READ, .from = 1, .to = 2, .term = 3};
    const struct raft_message *r;

    begin();
    m.read.ticket = 77;
    r = there_and_back(&m);
    ck_assert_uint_eq(r->read.ticket, 77);
    m.type = RAFT_READ_AT;
    m.read.index = 5;
    r = there_and_back(&m);
    ck_assert_uint_eq(r->read.index, 5);
    m = (struct raft_message){.type = RAFT_TAKE_OVER, .from = 1, .to = 2, .term = 3};
    there_and_back(&m);
    end();
}
END_TEST

START_TEST(an_append_brings_its_entries)
{
    struct raft_message m = an_append(10, 2, 3);

    begin();
    message_encode(&m, &out);
    append_entry(a_noop(), 11, 3);
    append_entry(a_config(RAFT_VOTER), 12, 3);
    append_entry(a_command(), 13, 9);
    ck_assert_int_eq(decode(), 0);
    ck_assert_uint_eq(in->count, 3);
    ck_assert_uint_eq(in->message.append.count, 3);
    ck_assert_uint_eq(in->message.append.prev.index, 10);
    ck_assert_uint_eq(in->message.append.commit, 3);
    ck_assert_uint_eq(in->message.append.round, 4);
    ck_assert_ptr_eq(in->message.append.heads, in->heads);
    ck_assert_int_eq(in->heads[0].type, RAFT_NOOP);
    ck_assert_ptr_null(in->heads[0].config);
    ck_assert_ptr_nonnull(in->heads[1].config);
    ck_assert_uint_eq(in->heads[1].config->count, 1);
    ck_assert_uint_eq(in->heads[1].config->members[0].id, 5);
    ck_assert_uint_eq(in->heads[2].term, 9);
    ck_assert_uint_eq(entry_pos(in->entries[2]).index, 13);
    incoming_clear(in);
    ck_assert_uint_eq(in->count, 0);
    ck_assert_ptr_null(in->entries[0]);
    incoming_clear(in);
    end();
    incoming_free(NULL);
}
END_TEST

START_TEST(an_append_may_be_empty_and_may_be_full)
{
    struct raft_message m = an_append(0, 0, 0);

    begin();
    message_encode(&m, &out);
    ck_assert_int_eq(decode(), 0);
    ck_assert_uint_eq(in->message.append.count, 0);
    bytes_reset(&out);
    m.append.count = RAFT_APPEND_MAX;
    message_encode(&m, &out);
    for (unsigned i = 1; i <= RAFT_APPEND_MAX; i++)
        append_entry(a_noop(), i, 1);
    ck_assert_int_eq(decode(), 0);
    ck_assert_uint_eq(in->count, RAFT_APPEND_MAX);
    end();
}
END_TEST

/* Decodes an append of these two entries after (10, 2) in a message of term 9; it must be left cleared if it fails. */
static int decode_two(struct entry *a, struct raft_pos at, struct entry *b, struct raft_pos bt)
{
    struct raft_message m = an_append(10, 2, 2);
    int err;

    bytes_reset(&out);
    message_encode(&m, &out);
    append_entry(a, at.index, at.term);
    append_entry(b, bt.index, bt.term);
    err = decode();
    if (err != 0) {
        ck_assert_uint_eq(in->count, 0);
        ck_assert_int_eq(in->message.type, 0);
        for (unsigned i = 0; i < RAFT_APPEND_MAX; i++)
            ck_assert(in->entries[i] == NULL && in->configs[i] == NULL);
    }
    return err;
}

START_TEST(entries_follow_each_other)
{
    struct raft_pos first = {11, 2};

    begin();
    ck_assert_int_eq(decode_two(a_noop(), first, a_noop(), (struct raft_pos){12, 2}), 0);
    ck_assert_int_eq(decode_two(a_noop(), first, a_noop(), (struct raft_pos){12, 9}), 0);
    ck_assert_int_eq(decode_two(a_noop(), first, a_noop(), (struct raft_pos){13, 2}), ERR_MALFORMED);  /* a gap */
    ck_assert_int_eq(decode_two(a_noop(), first, a_noop(), first), ERR_MALFORMED);                     /* twice */
    ck_assert_int_eq(decode_two(a_noop(), first, a_noop(), (struct raft_pos){12, 1}), ERR_MALFORMED);  /* term falls */
    ck_assert_int_eq(decode_two(a_noop(), first, a_noop(), (struct raft_pos){12, 10}), ERR_MALFORMED); /* future */
    ck_assert_int_eq(decode_two(a_noop(), (struct raft_pos){11, 1}, a_noop(), (struct raft_pos){12, 2}),
                     ERR_MALFORMED); /* before prev.term */
    ck_assert_int_eq(decode_two(a_noop(), (struct raft_pos){10, 2}, a_noop(), (struct raft_pos){11, 2}),
                     ERR_MALFORMED); /* does not follow prev */
    end();
}
END_TEST

START_TEST(a_configuration_must_decode_and_have_a_voter)
{
    struct raft_pos at = {11, 2};
    struct raft_pos bt = {12, 2};
    struct entry *broken = entry_new(RAFT_CONFIG, 1);

    *entry_room(broken) = 200;
    entry_seal(broken);
    begin();
    ck_assert_int_eq(decode_two(a_config(RAFT_VOTER), at, broken, bt), ERR_MALFORMED);
    ck_assert_int_eq(decode_two(a_config(RAFT_VOTER), at, a_config(RAFT_LEARNER), bt), ERR_MALFORMED);
    ck_assert_int_eq(decode_two(a_config(RAFT_VOTER), at, a_config(RAFT_VOTER), bt), 0);
    end();
}
END_TEST

START_TEST(a_damaged_entry_is_corrupt_and_leaves_nothing)
{
    struct raft_message m = an_append(10, 2, 2);

    begin();
    message_encode(&m, &out);
    append_entry(a_config(RAFT_VOTER), 11, 2);
    append_entry(a_command(), 12, 2);
    out.data[out.size - 1] ^= 1;
    ck_assert_int_eq(decode(), ERR_CORRUPT);
    ck_assert_uint_eq(in->count, 0);
    ck_assert_ptr_null(in->configs[0]);
    end();
}
END_TEST

START_TEST(counts_that_lie_are_malformed)
{
    static const uint32_t counts[] = {0, 2, 513, 0x10000, INT32_MAX, UINT32_MAX};
    struct raft_message m = an_append(10, 2, 1);
    size_t count_at;

    begin();
    message_encode(&m, &out);
    count_at = out.size - 4;
    append_entry(a_noop(), 11, 2);
    ck_assert_int_eq(decode(), 0);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        codec_put_u32(out.data + count_at, counts[i]);
        ck_assert_int_eq(decode(), ERR_MALFORMED);
    }
    end();
}
END_TEST

/* Fixed part: type 1, from 8, to 8, term 8, prev.index 8, prev.term 8, commit 8, round 8, count 4. */
START_TEST(ids_terms_and_indexes_have_limits)
{
    static const struct {
        size_t at;
        uint64_t value;
        int err;
    } cases[] = {
        {1, 0, ERR_MALFORMED},
        {1, UINT64_C(1) << 53, ERR_MALFORMED},
        {1, (UINT64_C(1) << 53) - 1, 0},
        {9, 0, ERR_MALFORMED},
        {9, UINT64_MAX, ERR_MALFORMED},
        {17, UINT64_C(1) << 62, ERR_MALFORMED},
        {17, POSITION_MAX, 0},
        {25, UINT64_C(1) << 62, ERR_MALFORMED},
        {33, UINT64_MAX, ERR_MALFORMED},
        {41, UINT64_C(1) << 62, ERR_MALFORMED},
        {49, UINT64_MAX, 0},
    };
    struct raft_message m = an_append(10, 2, 0);

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes_reset(&out);
        message_encode(&m, &out);
        codec_put_u64(out.data + cases[i].at, cases[i].value);
        ck_assert_msg(decode() == cases[i].err, "row %zu", i);
    }
    /* An entry right at the edge. */
    bytes_reset(&out);
    m = an_append(POSITION_MAX, 2, 1);
    message_encode(&m, &out);
    append_entry(a_noop(), POSITION_MAX + 1, 2);
    ck_assert_int_eq(decode(), ERR_MALFORMED);
    end();
}
END_TEST

START_TEST(unknown_types_are_malformed)
{
    uint8_t payload[256] = {0};

    begin();
    payload[1] = 1;
    payload[9] = 2;
    for (unsigned type = 0; type < 256; type++) {
        if (type >= RAFT_VOTE && type <= RAFT_TAKE_OVER)
            continue;
        payload[0] = (uint8_t)type;
        for (size_t size = 0; size < sizeof payload; size += 5)
            ck_assert_int_eq(message_decode(view_of(payload, size), in), ERR_MALFORMED);
    }
    end();
}
END_TEST

START_TEST(a_decoded_entry_outlives_the_message_if_referenced)
{
    struct raft_message m = an_append(10, 2, 1);
    struct entry *kept;

    begin();
    message_encode(&m, &out);
    append_entry(a_command(), 11, 2);
    ck_assert_int_eq(decode(), 0);
    kept = entry_ref(in->entries[0]);
    end();
    ck_assert_uint_eq(entry_pos(kept).index, 11);
    entry_unref(kept);
}
END_TEST

TEST_MAIN("message", votes_come_back_as_they_were, answers_and_offers_come_back_as_they_were,
          reads_and_take_over_come_back_as_they_were, an_append_brings_its_entries,
          an_append_may_be_empty_and_may_be_full, entries_follow_each_other,
          a_configuration_must_decode_and_have_a_voter, a_damaged_entry_is_corrupt_and_leaves_nothing,
          counts_that_lie_are_malformed, ids_terms_and_indexes_have_limits, unknown_types_are_malformed,
          a_decoded_entry_outlives_the_message_if_referenced)
