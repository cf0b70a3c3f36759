#include "base/codec.h"

#include <stdint.h>
#include <string.h>

#include "../suite.h"
#include "base/err.h"

#define V(literal) view_of(literal, sizeof(literal) - 1)

/* A structure with one field of each kind, and the one walk that serves both directions. */
struct sample {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    bool yes;
    struct view view;
    char text[8];
};

static void walk(struct codec *c, struct sample *s)
{
    codec_u8(c, &s->u8);
    codec_u16(c, &s->u16);
    codec_u32(c, &s->u32);
    codec_u64(c, &s->u64);
    codec_bool(c, &s->yes);
    codec_view(c, &s->view, 16);
    codec_text(c, s->text, sizeof s->text);
}

static const struct sample full = {
    .u8 = 0x01,
    .u16 = 0x0203,
    .u32 = 0x04050607,
    .u64 = 0x08090a0b0c0d0e0f,
    .yes = true,
    .view = {.data = (const uint8_t *)"v\0w", .size = 3},
    .text = "seven77",
};

static const char full_bytes[] = "\x01"
                                 "\x03\x02"
                                 "\x07\x06\x05\x04"
                                 "\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08"
                                 "\x01"
                                 "\x03\0\0\0v\0w"
                                 "\x07\0\0\0seven77";

static int encode(struct bytes *out, const struct sample *s)
{
    struct sample copy = *s;
    struct codec c = codec_encoder(out);

    walk(&c, &copy);
    return codec_finish(&c);
}

static int decode(struct view in, struct sample *s)
{
    struct codec c = codec_decoder(in);

    memset(s, 0xee, sizeof *s);
    walk(&c, s);
    return codec_finish(&c);
}

START_TEST(integers_are_little_endian_and_of_fixed_width)
{
    struct bytes out;

    bytes_init(&out, 1000);
    ck_assert_int_eq(encode(&out, &full), 0);
    ck_assert(view_equal(bytes_view(&out), V(full_bytes)));
    bytes_clear(&out);
}
END_TEST

START_TEST(decoding_gives_back_what_was_encoded)
{
    struct sample s;

    ck_assert_int_eq(decode(V(full_bytes), &s), 0);
    ck_assert_uint_eq(s.u8, full.u8);
    ck_assert_uint_eq(s.u16, full.u16);
    ck_assert_uint_eq(s.u32, full.u32);
    ck_assert_uint_eq(s.u64, full.u64);
    ck_assert(s.yes);
    ck_assert(view_equal(s.view, full.view));
    ck_assert_str_eq(s.text, full.text);
}
END_TEST

START_TEST(a_decoded_view_points_into_the_input)
{
    struct sample s;

    ck_assert_int_eq(decode(V(full_bytes), &s), 0);
    ck_assert_ptr_eq(s.view.data, (const uint8_t *)full_bytes + 20);
}
END_TEST

START_TEST(the_largest_and_smallest_values_survive)
{
    struct sample max = {UINT8_MAX, UINT16_MAX, UINT32_MAX, UINT64_MAX, false, {NULL, 0}, ""}, s;
    struct bytes out;

    bytes_init(&out, 1000);
    ck_assert_int_eq(encode(&out, &max), 0);
    ck_assert_int_eq(decode(bytes_view(&out), &s), 0);
    ck_assert_uint_eq(s.u8, UINT8_MAX);
    ck_assert_uint_eq(s.u16, UINT16_MAX);
    ck_assert_uint_eq(s.u32, UINT32_MAX);
    ck_assert_uint_eq(s.u64, UINT64_MAX);
    ck_assert(!s.yes);
    ck_assert_uint_eq(s.view.size, 0);
    ck_assert_str_eq(s.text, "");
    bytes_clear(&out);
}
END_TEST

START_TEST(every_truncation_is_malformed_and_yields_zeros)
{
    for (size_t size = 0; size < sizeof full_bytes - 1; size++) {
        /* A copy of exactly that size, so that the sanitizer sees a read behind it. */
        uint8_t *input = malloc(size > 0 ? size : 1);
        struct sample s;

        memcpy(input, full_bytes, size);
        ck_assert_int_eq(decode(view_of(input, size), &s), ERR_MALFORMED);
        ck_assert_str_eq(s.text, "");
        if (size < 20)
            ck_assert_uint_eq(s.view.size, 0);
        if (size < 15)
            ck_assert_uint_eq(s.u64, 0);
        free(input);
    }
}
END_TEST

START_TEST(left_over_bytes_are_malformed)
{
    struct sample s;

    ck_assert_int_eq(decode(view_of(full_bytes, sizeof full_bytes), &s), ERR_MALFORMED);
}
END_TEST

START_TEST(nothing_decodes_to_nothing)
{
    struct codec c = codec_decoder(view_of(NULL, 0));
    uint64_t v = 7;

    ck_assert_int_eq(codec_finish(&c), 0);
    codec_u64(&c, &v);
    ck_assert_int_eq(codec_finish(&c), ERR_MALFORMED);
    ck_assert_uint_eq(v, 0);
}
END_TEST

START_TEST(a_bool_is_0_or_1)
{
    for (unsigned i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        struct codec c = codec_decoder(view_of(&byte, 1));
        bool v = true;

        codec_bool(&c, &v);
        ck_assert_int_eq(codec_finish(&c), i <= 1 ? 0 : ERR_MALFORMED);
        ck_assert(v == (i == 1));
    }
}
END_TEST

START_TEST(the_first_error_sticks_and_nothing_is_decoded_after_it)
{
    struct codec c = codec_decoder(V("\x02\x01\x01"));
    bool no = true;
    uint8_t after = 9;

    codec_bool(&c, &no);
    codec_u8(&c, &after);
    codec_require(&c, true);
    ck_assert_uint_eq(after, 0);
    ck_assert_int_eq(codec_finish(&c), ERR_MALFORMED);
}
END_TEST

START_TEST(a_view_may_fill_its_maximum_but_not_exceed_it)
{
    struct view v = {0};
    struct codec c = codec_decoder(V("\x03\0\0\0abc"));

    codec_view(&c, &v, 3);
    ck_assert_int_eq(codec_finish(&c), 0);
    ck_assert(view_equal(v, V("abc")));

    c = codec_decoder(V("\x03\0\0\0abc"));
    codec_view(&c, &v, 2);
    ck_assert_int_eq(codec_finish(&c), ERR_MALFORMED);
    ck_assert_uint_eq(v.size, 0);
}
END_TEST

START_TEST(a_length_of_4_GiB_that_is_not_there_is_malformed)
{
    struct view v;
    struct codec c = codec_decoder(V("\xff\xff\xff\xff"
                                     "abc"));

    codec_view(&c, &v, SIZE_MAX);
    ck_assert_int_eq(codec_finish(&c), ERR_MALFORMED);
    ck_assert_uint_eq(v.size, 0);
}
END_TEST

START_TEST(encoding_a_view_over_its_maximum_is_too_long)
{
    struct view v = V("abc");
    struct bytes out;
    struct codec c;

    bytes_init(&out, 1000);
    c = codec_encoder(&out);
    codec_view(&c, &v, 2);
    ck_assert_int_eq(codec_finish(&c), ERR_TOO_LONG);
    ck_assert_uint_eq(out.size, 0);
    bytes_clear(&out);
}
END_TEST

START_TEST(an_output_that_is_full_is_too_long_wherever_it_fills_up)
{
    for (size_t limit = 0; limit < sizeof full_bytes - 1; limit++) {
        struct bytes out;

        bytes_init(&out, limit);
        ck_assert_int_eq(encode(&out, &full), ERR_TOO_LONG);
        ck_assert_uint_le(out.size, limit);
        bytes_clear(&out);
    }
}
END_TEST

START_TEST(an_encoder_appends_to_what_is_there)
{
    struct bytes out;
    struct codec c;
    uint8_t v = 'b';

    bytes_init(&out, 10);
    bytes_append_text(&out, "a");
    c = codec_encoder(&out);
    codec_u8(&c, &v);
    ck_assert_int_eq(codec_finish(&c), 0);
    ck_assert(view_equal(bytes_view(&out), V("ab")));
    bytes_clear(&out);
}
END_TEST

START_TEST(a_text_with_a_nul_within_is_malformed)
{
    char text[8] = "before";
    struct codec c = codec_decoder(V("\x03\0\0\0a\0b"));

    codec_text(&c, text, sizeof text);
    ck_assert_int_eq(codec_finish(&c), ERR_MALFORMED);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(a_text_must_leave_room_for_its_nul)
{
    char text[4] = "xxx";
    struct codec c = codec_decoder(V("\x03\0\0\0abc"));

    codec_text(&c, text, sizeof text);
    ck_assert_int_eq(codec_finish(&c), 0);
    ck_assert_str_eq(text, "abc");

    c = codec_decoder(V("\x04\0\0\0abcd"));
    codec_text(&c, text, sizeof text);
    ck_assert_int_eq(codec_finish(&c), ERR_MALFORMED);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(what_is_required_of_decoded_values_is_checked)
{
    struct codec c = codec_decoder(V("\x05"));
    uint8_t v;

    codec_u8(&c, &v);
    codec_require(&c, v < 5);
    ck_assert_int_eq(codec_finish(&c), ERR_MALFORMED);
}
END_TEST

START_TEST(single_integers_need_no_alignment)
{
    uint8_t p[9] = {0};

    codec_put_u16(p + 1, 0x0102);
    ck_assert_mem_eq(p + 1, "\x02\x01", 2);
    ck_assert_uint_eq(codec_get_u16(p + 1), 0x0102);
    codec_put_u32(p + 1, 0x01020304);
    ck_assert_mem_eq(p + 1, "\x04\x03\x02\x01", 4);
    ck_assert_uint_eq(codec_get_u32(p + 1), 0x01020304);
    codec_put_u64(p + 1, 0x0102030405060708);
    ck_assert_mem_eq(p + 1, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    ck_assert_uint_eq(codec_get_u64(p + 1), 0x0102030405060708);
    ck_assert_uint_eq(p[0], 0);
}
END_TEST

TEST_MAIN("codec", integers_are_little_endian_and_of_fixed_width, decoding_gives_back_what_was_encoded,
          a_decoded_view_points_into_the_input, the_largest_and_smallest_values_survive,
          every_truncation_is_malformed_and_yields_zeros, left_over_bytes_are_malformed, nothing_decodes_to_nothing,
          a_bool_is_0_or_1, the_first_error_sticks_and_nothing_is_decoded_after_it,
          a_view_may_fill_its_maximum_but_not_exceed_it, a_length_of_4_GiB_that_is_not_there_is_malformed,
          encoding_a_view_over_its_maximum_is_too_long, an_output_that_is_full_is_too_long_wherever_it_fills_up,
          an_encoder_appends_to_what_is_there, a_text_with_a_nul_within_is_malformed,
          a_text_must_leave_room_for_its_nul, what_is_required_of_decoded_values_is_checked,
          single_integers_need_no_alignment)
