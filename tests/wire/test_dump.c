#include "wire/dump.h"

#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/err.h"
#include "wire/transfer.h"

#define POSITION ((struct raft_pos){90, 7})

static struct dump_header a_header(void)
{
    struct dump_header h = {.cluster = 5, .position = POSITION, .config_index = 3};

    h.members.count = 1;
    h.members.list[0].id = 1;
    h.members.list[0].role = RAFT_VOTER;
    snprintf(h.members.list[0].name, sizeof h.members.list[0].name, "n1");
    snprintf(h.members.list[0].client, sizeof h.members.list[0].client, "localhost:4001");
    snprintf(h.members.list[0].peer, sizeof h.members.list[0].peer, "localhost:14001");
    return h;
}

/* A dump of `keys` (each is its own value), whose changes have the indexes 1, 2, ... */
static struct bytes a_dump(const char *const *keys, unsigned count)
{
    struct dump_encoder *e = dump_encoder_new();
    struct dump_header h = a_header();
    struct bytes out;

    bytes_init(&out, 1 << 20);
    dump_encode_header(e, &h, &out);
    for (unsigned i = 0; i < count; i++) {
        struct dump_record r = {.key = view_of_text(keys[i]), .value = view_of_text(keys[i]), .index = i + 1};

        dump_encode_record(e, &r, &out);
    }
    dump_encode_end(e, &out);
    dump_encoder_free(e);
    return out;
}

/* Reads a dump that is fed `piece` bytes at a time: 0 and how many records it has, or the error. */
static int read_in_pieces(struct view in, size_t piece, unsigned *records)
{
    struct dump_decoder *d = dump_decoder_new();
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record r;
    bool right = true;
    int err = 0;

    *records = 0;
    while (err == 0 && step != DUMP_END) {
        err = dump_decoder_next(d, &step, &r);
        if (err == 0 && step == DUMP_RECORD) {
            right = right && view_equal(r.key, r.value) && r.index == *records + 1;
            ++*records;
        }
        if (err == 0 && step == DUMP_WANTS_MORE) {
            size_t size = in.size < piece ? in.size : piece;

            if (size == 0)
                err = ERR_CLOSED; /* it wants more than there is */
            dump_decoder_feed(d, view_of(in.data, size));
            in = view_of(in.data + size, in.size - size);
        }
    }
    if (err == 0) {
        ck_assert(right);
        ck_assert_uint_eq(dump_decoder_header(d)->position.index, POSITION.index);
        ck_assert_uint_eq(dump_decoder_header(d)->config_index, 3);
        ck_assert_str_eq(dump_decoder_header(d)->members.list[0].name, "n1");
    }
    dump_decoder_free(d);
    return err;
}

static const char *const keys[] = {"a", "aa", "b", "longer than the others", "z"};

START_TEST(decoding_gives_back_what_was_encoded_in_pieces_of_any_size)
{
    struct bytes dump = a_dump(keys, 5);
    unsigned records = 0;

    for (size_t piece = 1; piece <= dump.size; piece++) {
        ck_assert_int_eq(read_in_pieces(bytes_view(&dump), piece, &records), 0);
        ck_assert_uint_eq(records, 5);
    }
    bytes_clear(&dump);
    dump = a_dump(keys, 0);
    ck_assert_uint_ge(dump.size, DUMP_LEAST_BYTES);
    ck_assert_int_eq(read_in_pieces(bytes_view(&dump), 7, &records), 0);
    bytes_clear(&dump);
}
END_TEST

START_TEST(a_cut_dump_is_never_whole)
{
    struct bytes dump = a_dump(keys, 5);
    unsigned records = 0;

    for (size_t size = 0; size < dump.size; size++)
        ck_assert_int_eq(read_in_pieces(view_of(dump.data, size), 16, &records), ERR_CLOSED);
    bytes_clear(&dump);
}
END_TEST

START_TEST(every_flipped_bit_is_found)
{
    struct bytes dump = a_dump(keys, 5);
    unsigned records = 0;

    for (size_t bit = 0; bit < 8 * dump.size; bit++) {
        dump.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(read_in_pieces(bytes_view(&dump), 64, &records), 0);
        dump.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_int_eq(read_in_pieces(bytes_view(&dump), 64, &records), 0);
    bytes_clear(&dump);
}
END_TEST

START_TEST(order_and_limits_are_checked)
{
    static const char *const unordered[] = {"b", "a"};
    static const char *const twice[] = {"b", "b"};
    unsigned records = 0;
    struct bytes dump = a_dump(unordered, 2);

    ck_assert_int_eq(read_in_pieces(bytes_view(&dump), 64, &records), ERR_CORRUPT);
    bytes_clear(&dump);
    dump = a_dump(twice, 2);
    ck_assert_int_eq(read_in_pieces(bytes_view(&dump), 64, &records), ERR_CORRUPT);
    bytes_append(&dump, "x", 1);
    bytes_clear(&dump);
    dump = a_dump(keys, 2);
    bytes_append(&dump, "x", 1); /* behind the end */
    ck_assert_int_eq(read_in_pieces(bytes_view(&dump), dump.size, &records), ERR_CORRUPT);
    bytes_clear(&dump);
}
END_TEST

/* A dump of two records and, beside them, three that a restore has gathered. */
static struct bytes a_dump_amid_a_restore(void)
{
    struct dump_encoder *e = dump_encoder_new();
    struct dump_header h = a_header();
    struct bytes out;

    h.restoring = 50;
    bytes_init(&out, 1 << 20);
    dump_encode_header(e, &h, &out);
    for (unsigned i = 0; i < 5; i++) {
        struct dump_record r = {.key = view_of_text(keys[i % 3]), .value = view_of_text("x"), .index = i + 1};

        if (i == 2)
            dump_encode_turn(e, &out);
        if (i != 2)
            dump_encode_record(e, &r, &out);
    }
    dump_encode_end(e, &out);
    dump_encoder_free(e);
    return out;
}

START_TEST(what_a_restore_has_gathered_follows_in_an_order_of_its_own)
{
    struct bytes dump = a_dump_amid_a_restore();
    struct dump_decoder *d = dump_decoder_new();
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record r;
    unsigned records[2] = {0, 0}, unused = 0;

    dump_decoder_feed(d, bytes_view(&dump));
    while (step != DUMP_END) {
        ck_assert_int_eq(dump_decoder_next(d, &step, &r), 0);
        if (step == DUMP_RECORD)
            records[r.gathered]++;
    }
    ck_assert_uint_eq(records[0], 2);
    ck_assert_uint_eq(records[1], 2);
    ck_assert_uint_eq(dump_decoder_header(d)->restoring, 50);
    dump_decoder_free(d);
    for (size_t size = 0; size < dump.size; size++)
        ck_assert_int_ne(read_in_pieces(view_of(dump.data, size), 16, &unused), 0);
    for (size_t bit = 0; bit < 8 * dump.size; bit++) {
        dump.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(read_in_pieces(bytes_view(&dump), 64, &unused), 0);
        dump.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bytes_clear(&dump);
}
END_TEST

START_TEST(what_is_wrong_is_said_with_its_place)
{
    struct bytes dump = a_dump(keys, 5);
    struct dump_decoder *d = dump_decoder_new();
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record r;

    dump.data[dump.size - 1] ^= 1;
    dump_decoder_feed(d, bytes_view(&dump));
    while (dump_decoder_next(d, &step, &r) == 0)
        ck_assert_int_ne(step, DUMP_END);
    ck_assert_uint_eq(dump_decoder_offset(d), dump.size);
    ck_assert_str_eq(dump_decoder_fault(d), "the checksum of the trailer is not that of what is before it");
    dump_decoder_free(d);
    bytes_clear(&dump);
}
END_TEST

START_TEST(another_format_is_told_from_damage)
{
    struct bytes dump = a_dump(keys, 1);
    unsigned records = 0;

    codec_put_u32(dump.data + 8, DUMP_FORMAT + 1);
    ck_assert_int_eq(read_in_pieces(bytes_view(&dump), 64, &records), ERR_FORMAT);
    bytes_clear(&dump);
    ck_assert_int_eq(read_in_pieces(view_of_text("this is not a dump at all"), 64, &records), ERR_FORMAT);
}
END_TEST

/* ---- the frames that carry it ---- */

static struct chunk a_chunk(void)
{
    return (struct chunk){.from = 1,
                          .to = 2,
                          .term = 9,
                          .dump = {.pos = POSITION, .size = 1000, .checksum = 77},
                          .offset = 500,
                          .bytes = view_of_text("some bytes")};
}

static int chunk_through(struct chunk in, struct chunk *out, struct bytes *b)
{
    bytes_init(b, 1 << 20);
    chunk_encode(&in, b);
    bytes_append(b, in.bytes.data, in.bytes.size);
    return chunk_decode(bytes_view(b), out);
}

START_TEST(a_chunk_arrives_as_it_was_sent)
{
    struct chunk in = a_chunk(), out;
    struct bytes b;

    ck_assert_int_eq(chunk_through(in, &out, &b), 0);
    ck_assert_uint_eq(out.from, 1);
    ck_assert_uint_eq(out.to, 2);
    ck_assert_uint_eq(out.term, 9);
    ck_assert(dump_id_equal(&out.dump, &in.dump));
    ck_assert_uint_eq(out.offset, 500);
    ck_assert(view_equal(out.bytes, in.bytes));
    for (size_t size = 0; size < b.size - in.bytes.size; size++)
        ck_assert_int_eq(chunk_decode(view_of(b.data, size), &out), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

START_TEST(a_chunk_does_not_reach_beyond_its_dump)
{
    struct chunk in = a_chunk(), out;
    struct bytes b;

    in.offset = 1000 - in.bytes.size;
    ck_assert_int_eq(chunk_through(in, &out, &b), 0);
    bytes_clear(&b);
    in.offset++;
    ck_assert_int_eq(chunk_through(in, &out, &b), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

START_TEST(an_answer_to_a_chunk_arrives_as_it_was_sent)
{
    struct chunk_taken in = {.from = 2, .to = 1, .dump = a_chunk().dump, .offset = 510}, out;
    struct bytes b;

    bytes_init(&b, 200);
    chunk_taken_encode(&in, &b);
    ck_assert_int_eq(chunk_taken_decode(bytes_view(&b), &out), 0);
    ck_assert_uint_eq(out.from, 2);
    ck_assert_uint_eq(out.offset, 510);
    ck_assert(dump_id_equal(&out.dump, &in.dump));
    bytes_append_char(&b, 'x');
    ck_assert_int_eq(chunk_taken_decode(bytes_view(&b), &out), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

TEST_MAIN("dump", decoding_gives_back_what_was_encoded_in_pieces_of_any_size, a_cut_dump_is_never_whole,
          every_flipped_bit_is_found, order_and_limits_are_checked,
          what_a_restore_has_gathered_follows_in_an_order_of_its_own, what_is_wrong_is_said_with_its_place,
          another_format_is_told_from_damage, a_chunk_arrives_as_it_was_sent, a_chunk_does_not_reach_beyond_its_dump,
          an_answer_to_a_chunk_arrives_as_it_was_sent)
