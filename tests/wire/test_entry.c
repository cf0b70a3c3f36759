#include "wire/entry.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "../suite.h"
#include "base/codec.h"
#include "base/err.h"

static struct entry *an_entry(enum raft_entry_type type, const char *payload, struct raft_pos pos)
{
    size_t size = strlen(payload);
    struct entry *e = entry_new(type, (uint32_t)size);

    memcpy(entry_room(e), payload, size);
    entry_seal(e);
    entry_stamp(e, pos);
    return e;
}

static struct view whole(const struct entry *e)
{
    return view_of(e->bytes, e->size);
}

START_TEST(an_entry_carries_position_type_and_payload)
{
    struct entry *e = an_entry(RAFT_COMMAND, "hello", (struct raft_pos){.index = 7, .term = 3});

    ck_assert_uint_eq(entry_pos(e).index, 7);
    ck_assert_uint_eq(entry_pos(e).term, 3);
    ck_assert_int_eq(entry_type(e), RAFT_COMMAND);
    ck_assert(view_equal(entry_payload(e), view_of_text("hello")));
    ck_assert_uint_eq(e->size, ENTRY_HEADER_SIZE + 5);
    entry_unref(e);
}
END_TEST

START_TEST(the_bytes_are_those_of_the_header_file)
{
    struct entry *e = an_entry(RAFT_COMMAND, "hello", (struct raft_pos){.index = 0x0102030405060708, .term = 9});

    ck_assert_uint_eq(codec_get_u64(e->bytes + 8), 0x0102030405060708);
    ck_assert_uint_eq(e->bytes[8], 8);
    ck_assert_uint_eq(codec_get_u64(e->bytes + 16), 9);
    ck_assert_uint_eq(codec_get_u32(e->bytes + 24), 5);
    ck_assert_uint_eq(e->bytes[28], RAFT_COMMAND);
    ck_assert_mem_eq(e->bytes + 29, "\0\0\0hello", 8);
    entry_unref(e);
}
END_TEST

START_TEST(decoding_gives_an_equal_copy_and_moves_on)
{
    struct entry *a = an_entry(RAFT_COMMAND, "first", (struct raft_pos){1, 1});
    struct entry *b = an_entry(RAFT_NOOP, "", (struct raft_pos){2, 2});
    uint8_t both[256];
    struct view in = view_of(both + 1, a->size + b->size); /* at an odd address */
    struct entry *c = NULL;
    struct entry *d = NULL;

    memcpy(both + 1, a->bytes, a->size);
    memcpy(both + 1 + a->size, b->bytes, b->size);
    ck_assert_int_eq(entry_decode(&in, &c), 0);
    ck_assert_int_eq(entry_decode(&in, &d), 0);
    ck_assert_uint_eq(in.size, 0);
    ck_assert(view_equal(whole(a), whole(c)));
    ck_assert(view_equal(whole(b), whole(d)));
    memset(both, 0xff, sizeof both);
    ck_assert(view_equal(entry_payload(c), view_of_text("first")));
    entry_unref(a);
    entry_unref(b);
    entry_unref(c);
    entry_unref(d);
}
END_TEST

START_TEST(a_decoded_entry_may_be_stamped_again)
{
    struct entry *a = an_entry(RAFT_COMMAND, "x", (struct raft_pos){1, 1});
    struct view in = whole(a);
    struct entry *b = NULL;
    struct entry *c = NULL;

    ck_assert_int_eq(entry_decode(&in, &b), 0);
    entry_stamp(b, (struct raft_pos){2, 1});
    in = whole(b);
    ck_assert_int_eq(entry_decode(&in, &c), 0);
    ck_assert_uint_eq(entry_pos(c).index, 2);
    entry_unref(a);
    entry_unref(b);
    entry_unref(c);
}
END_TEST

START_TEST(what_is_cut_short_is_malformed_and_nothing_is_consumed)
{
    struct entry *e = an_entry(RAFT_COMMAND, "payload", (struct raft_pos){1, 1});

    for (uint32_t size = 0; size < e->size; size++) {
        struct view in = view_of(e->bytes, size);
        struct entry *out = NULL;

        ck_assert_int_eq(entry_decode(&in, &out), ERR_MALFORMED);
        ck_assert_ptr_null(out);
        ck_assert_uint_eq(in.size, size);
    }
    entry_unref(e);
}
END_TEST

START_TEST(each_flipped_bit_is_found)
{
    struct entry *e = an_entry(RAFT_COMMAND, "some payload", (struct raft_pos){5, 2});
    uint8_t copy[128];

    for (uint32_t bit = 0; bit < e->size * 8; bit++) {
        struct view in = view_of(copy, e->size);
        struct entry *out = NULL;
        int err;

        memcpy(copy, e->bytes, e->size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        err = entry_decode(&in, &out);
        if (bit / 8 >= 24 && bit / 8 < 28) /* of the size: then too little is there, or the checksum is not its own */
            ck_assert(err == ERR_MALFORMED || err == ERR_CORRUPT);
        else
            ck_assert_int_eq(err, ERR_CORRUPT);
    }
    entry_unref(e);
}
END_TEST

START_TEST(a_header_does_not_verify_before_another_payload)
{
    struct entry *a = an_entry(RAFT_COMMAND, "aaaa", (struct raft_pos){1, 1});
    struct entry *b = an_entry(RAFT_COMMAND, "bbbb", (struct raft_pos){1, 1});
    struct entry *out = NULL;
    struct view in = whole(a);

    memcpy(a->bytes + ENTRY_HEADER_SIZE, b->bytes + ENTRY_HEADER_SIZE, 4);
    ck_assert_int_eq(entry_decode(&in, &out), ERR_CORRUPT);
    entry_unref(a);
    entry_unref(b);
}
END_TEST

/* With right checksums: what a foreign or newer program could write. */
START_TEST(unknown_types_spare_bytes_and_a_noop_with_payload_are_malformed)
{
    struct entry *e = an_entry(RAFT_COMMAND, "x", (struct raft_pos){1, 1});
    struct entry *out = NULL;
    struct view in;

    for (unsigned type = 0; type < 256; type++) {
        e->bytes[28] = (uint8_t)type;
        entry_stamp(e, (struct raft_pos){1, 1});
        in = whole(e);
        if (type == RAFT_COMMAND || type == RAFT_CONFIG)
            continue;
        ck_assert_int_eq(entry_decode(&in, &out), ERR_MALFORMED);
    }
    e->bytes[28] = RAFT_COMMAND;
    e->bytes[31] = 1;
    entry_stamp(e, (struct raft_pos){1, 1});
    in = whole(e);
    ck_assert_int_eq(entry_decode(&in, &out), ERR_MALFORMED);
    entry_unref(e);
}
END_TEST

START_TEST(enormous_sizes_are_malformed)
{
    static const uint32_t sizes[] = {
        6, ENTRY_PAYLOAD_MAX, ENTRY_PAYLOAD_MAX + 1, INT32_MAX, UINT32_MAX - 32, UINT32_MAX - 31, UINT32_MAX};
    struct entry *e = an_entry(RAFT_COMMAND, "hello", (struct raft_pos){1, 1});

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct view in = whole(e);
        struct entry *out = NULL;

        codec_put_u32(e->bytes + 24, sizes[i]);
        entry_stamp(e, (struct raft_pos){1, 1});
        ck_assert_int_eq(entry_decode(&in, &out), ERR_MALFORMED);
    }
    entry_unref(e);
}
END_TEST

static void *take_and_drop(void *arg)
{
    for (int i = 0; i < 20000; i++)
        entry_unref(entry_ref(arg));
    entry_unref(arg);
    return NULL;
}

START_TEST(references_are_counted_by_several_threads)
{
    struct entry *e = an_entry(RAFT_COMMAND, "shared", (struct raft_pos){1, 1});
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_drop, entry_ref(e)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&e->refs), 1);
    entry_unref(e);
    entry_unref(NULL);
}
END_TEST

TEST_MAIN("entry", an_entry_carries_position_type_and_payload, the_bytes_are_those_of_the_header_file,
          decoding_gives_an_equal_copy_and_moves_on, a_decoded_entry_may_be_stamped_again,
          what_is_cut_short_is_malformed_and_nothing_is_consumed, each_flipped_bit_is_found,
          a_header_does_not_verify_before_another_payload,
          unknown_types_spare_bytes_and_a_noop_with_payload_are_malformed, enormous_sizes_are_malformed,
          references_are_counted_by_several_threads)
