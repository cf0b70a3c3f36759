#include "wire/frame.h"

#include <string.h>

#include "../suite.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/err.h"
#include "wire/entry.h"
#include "wire/integrity.h"

static void a_header(enum frame_type type, const char *payload, uint8_t out[FRAME_HEADER_SIZE])
{
    size_t size = strlen(payload);

    frame_header_encode(type, (uint32_t)size, checksum(payload, size, 0), out);
}

START_TEST(a_header_comes_back_and_verifies_its_payload)
{
    uint8_t header[FRAME_HEADER_SIZE];
    struct frame_header h;

    a_header(FRAME_MESSAGE, "payload", header);
    ck_assert_mem_eq(header, "RFD1\x04\0\0\0\x07\0\0\0\0\0\0\0", 16);
    ck_assert_int_eq(frame_header_decode(header, 7, &h), 0);
    ck_assert_int_eq(h.type, FRAME_MESSAGE);
    ck_assert_uint_eq(h.size, 7);
    ck_assert_int_eq(frame_verify(header, view_of_text("payload")), 0);
    ck_assert_int_eq(frame_verify(header, view_of_text("Payload")), ERR_CORRUPT);
    a_header(FRAME_HELLO, "", header);
    ck_assert_int_eq(frame_verify(header, view_of(NULL, 0)), 0);
}
END_TEST

START_TEST(each_flipped_bit_of_a_header_is_found)
{
    uint8_t header[FRAME_HEADER_SIZE];

    for (unsigned bit = 0; bit < FRAME_HEADER_SIZE * 8; bit++) {
        struct frame_header h;

        a_header(FRAME_MESSAGE, "payload", header);
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (frame_header_decode(header, FRAME_PAYLOAD_MAX, &h) == 0)
            ck_assert_int_eq(frame_verify(header, view_of_text("payload")), ERR_CORRUPT);
    }
}
END_TEST

START_TEST(magic_types_spare_bytes_and_sizes_are_checked)
{
    uint8_t header[FRAME_HEADER_SIZE];
    struct frame_header h = {.size = 77};

    for (unsigned type = 0; type < 65536; type++) {
        a_header(FRAME_MESSAGE, "", header);
        codec_put_u16(header + 4, (uint16_t)type);
        ck_assert_int_eq(frame_header_decode(header, 0, &h),
                         type >= FRAME_HELLO && type <= FRAME_VERDICT ? 0 : ERR_MALFORMED);
    }
    for (unsigned at = 0; at < 16; at++) {
        if (at == 4)
            continue;
        a_header(FRAME_MESSAGE, "", header);
        header[at]++;
        ck_assert_int_eq(frame_header_decode(header, 0, &h), ERR_MALFORMED);
    }
    a_header(FRAME_MESSAGE, "", header);
    codec_put_u32(header + 8, FRAME_PAYLOAD_MAX);
    ck_assert_int_eq(frame_header_decode(header, FRAME_PAYLOAD_MAX, &h), 0);
    ck_assert_int_eq(frame_header_decode(header, FRAME_PAYLOAD_MAX - 1, &h), ERR_MALFORMED);
    codec_put_u32(header + 8, UINT32_MAX);
    ck_assert_int_eq(frame_header_decode(header, FRAME_PAYLOAD_MAX, &h), ERR_MALFORMED);
}
END_TEST

static struct hello a_hello(void)
{
    return (struct hello){
        .version_min = 1,
        .version_max = 3,
        .cluster = UINT64_MAX,
        .from = 1,
        .to = 2,
        .config_index = 44,
        .name = "node-1",
        .client = "localhost:4001",
        .peer = "[::1]:14001",
    };
}

START_TEST(a_hello_comes_back_as_it_was)
{
    struct hello h = a_hello();
    struct hello back;
    struct bytes b;

    bytes_init(&b, FRAME_GREETING_MAX);
    hello_encode(&h, &b);
    ck_assert_int_eq(hello_decode(bytes_view(&b), &back), 0);
    ck_assert_uint_eq(back.version_min, 1);
    ck_assert_uint_eq(back.version_max, 3);
    ck_assert_uint_eq(back.cluster, UINT64_MAX);
    ck_assert_uint_eq(back.from, 1);
    ck_assert_uint_eq(back.to, 2);
    ck_assert_uint_eq(back.config_index, 44);
    ck_assert_str_eq(back.name, "node-1");
    ck_assert_str_eq(back.client, "localhost:4001");
    ck_assert_str_eq(back.peer, "[::1]:14001");
    for (size_t size = 0; size < b.size; size++)
        ck_assert_int_eq(hello_decode(view_of(b.data, size), &back), ERR_MALFORMED);
    bytes_append_char(&b, 0);
    ck_assert_int_eq(hello_decode(bytes_view(&b), &back), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

/* Decodes a hello with one integer put over its encoding. */
static int hello_with(size_t at, uint64_t value, size_t width)
{
    struct hello h = a_hello();
    struct bytes b;
    int err;

    bytes_init(&b, FRAME_GREETING_MAX);
    hello_encode(&h, &b);
    if (width == 2)
        codec_put_u16(b.data + at, (uint16_t)value);
    else
        codec_put_u64(b.data + at, value);
    err = hello_decode(bytes_view(&b), &h);
    bytes_clear(&b);
    return err;
}

START_TEST(a_hello_that_makes_no_sense_is_malformed)
{
    ck_assert_int_eq(hello_with(0, 0, 2), ERR_MALFORMED); /* no version 0 */
    ck_assert_int_eq(hello_with(0, 4, 2), ERR_MALFORMED); /* min above max */
    ck_assert_int_eq(hello_with(12, 0, 8), ERR_MALFORMED);
    ck_assert_int_eq(hello_with(12, UINT64_C(1) << 53, 8), ERR_MALFORMED);
    ck_assert_int_eq(hello_with(20, 0, 8), 0); /* whoever lives there */
    ck_assert_int_eq(hello_with(20, UINT64_MAX, 8), ERR_MALFORMED);
    ck_assert_int_eq(hello_with(28, UINT64_C(1) << 62, 8), ERR_MALFORMED);
    ck_assert_int_eq(hello_with(40, UINT64_C(0x2020202020202020), 8), ERR_MALFORMED); /* in the name */
}
END_TEST

START_TEST(the_longest_hello_is_within_the_limit_of_a_greeting)
{
    struct hello h = a_hello();
    struct bytes b;

    memset(h.name, 'n', sizeof h.name - 1);
    memset(h.client, 'h', 254);
    memcpy(h.client + 254, ":65535", 7);
    memcpy(h.peer, h.client, sizeof h.peer);
    bytes_init(&b, FRAME_GREETING_MAX);
    hello_encode(&h, &b);
    ck_assert(!b.overflow);
    ck_assert_int_eq(hello_decode(bytes_view(&b), &h), 0);
    bytes_clear(&b);
}
END_TEST

START_TEST(a_welcome_comes_back_as_it_was)
{
    struct welcome w = {.version = 1, .id = 7, .leader = 8, .leader_peer = "two.example:14001"};
    struct welcome back = {0};
    struct bytes b;

    bytes_init(&b, FRAME_GREETING_MAX);
    welcome_encode(&w, &b);
    for (size_t size = 0; size < b.size; size++)
        ck_assert_int_eq(welcome_decode(view_of(b.data, size), &back), ERR_MALFORMED);
    ck_assert_int_eq(welcome_decode(bytes_view(&b), &back), 0);
    ck_assert_uint_eq(back.version, 1);
    ck_assert_uint_eq(back.id, 7);
    ck_assert_uint_eq(back.leader, 8);
    ck_assert_str_eq(back.leader_peer, "two.example:14001");
    codec_put_u64(b.data + 10, 0); /* an address of nobody */
    ck_assert_int_eq(welcome_decode(bytes_view(&b), &back), ERR_MALFORMED);
    codec_put_u64(b.data + 10, 8);
    memcpy(b.data + 22, "two\n", 4);
    ck_assert_int_eq(welcome_decode(bytes_view(&b), &back), ERR_MALFORMED);
    memcpy(b.data + 22, "two.", 4);
    ck_assert_int_eq(welcome_decode(bytes_view(&b), &back), 0);
    codec_put_u64(b.data + 2, 0);
    ck_assert_int_eq(welcome_decode(bytes_view(&b), &back), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

START_TEST(a_refusal_comes_back_and_cannot_forge_log_lines)
{
    struct refusal r = {.reason = REFUSAL_NOT_A_MEMBER, .config_index = 12, .text = "you\nare \x1b[31mout\x7f"};
    struct refusal back = {0};
    struct bytes b;

    bytes_init(&b, FRAME_GREETING_MAX);
    refusal_encode(&r, &b);
    for (size_t size = 0; size < b.size; size++)
        ck_assert_int_eq(refusal_decode(view_of(b.data, size), &back), ERR_MALFORMED);
    ck_assert_int_eq(refusal_decode(bytes_view(&b), &back), 0);
    ck_assert_int_eq(back.reason, REFUSAL_NOT_A_MEMBER);
    ck_assert_uint_eq(back.config_index, 12);
    ck_assert_str_eq(back.text, "you?are ?[31mout?");
    for (unsigned reason = 0; reason < 256; reason++) {
        b.data[0] = (uint8_t)reason;
        ck_assert_int_eq(refusal_decode(bytes_view(&b), &back),
                         reason >= REFUSAL_VERSION && reason <= REFUSAL_TWIN ? 0 : ERR_MALFORMED);
    }
    bytes_clear(&b);
}
END_TEST

START_TEST(hashes_come_back_as_they_were)
{
    const struct hash_report r = {.from = 3,
                                  .to = 1,
                                  .term = 7,
                                  .version = INTEGRITY_VERSION,
                                  .doubted = true,
                                  .applied = {130, UINT64_C(0xfedcba9876543210)},
                                  .checkpoint = {128, 5}};
    const struct hash_verdict v = {.from = 1, .to = 3, .term = 7, .yours = {130, 4}, .ours = UINT64_MAX};
    struct hash_report report;
    struct hash_verdict verdict;
    struct bytes b;

    bytes_init(&b, 256);
    hash_report_encode(&r, &b);
    for (size_t size = 0; size < b.size; size++)
        ck_assert_int_eq(hash_report_decode(view_of(b.data, size), &report), ERR_MALFORMED);
    ck_assert_int_eq(hash_report_decode(bytes_view(&b), &report), 0);
    ck_assert_uint_eq(report.from, 3);
    ck_assert(report.doubted);
    ck_assert_uint_eq(report.applied.hash, r.applied.hash);
    ck_assert_uint_eq(report.checkpoint.index, 128);
    codec_put_u64(b.data, 0); /* from nobody */
    ck_assert_int_eq(hash_report_decode(bytes_view(&b), &report), ERR_MALFORMED);
    bytes_reset(&b);
    hash_verdict_encode(&v, &b);
    for (size_t size = 0; size < b.size; size++)
        ck_assert_int_eq(hash_verdict_decode(view_of(b.data, size), &verdict), ERR_MALFORMED);
    ck_assert_int_eq(hash_verdict_decode(bytes_view(&b), &verdict), 0);
    ck_assert_uint_eq(verdict.yours.hash, 4);
    ck_assert_uint_eq(verdict.ours, UINT64_MAX);
    codec_put_u64(b.data + 24, ENTRY_POSITION_LIMIT); /* an index that cannot be */
    ck_assert_int_eq(hash_verdict_decode(bytes_view(&b), &verdict), ERR_MALFORMED);
    bytes_clear(&b);
}
END_TEST

TEST_MAIN("frame", hashes_come_back_as_they_were, a_header_comes_back_and_verifies_its_payload,
          each_flipped_bit_of_a_header_is_found, magic_types_spare_bytes_and_sizes_are_checked,
          a_hello_comes_back_as_it_was, a_hello_that_makes_no_sense_is_malformed,
          the_longest_hello_is_within_the_limit_of_a_greeting, a_welcome_comes_back_as_it_was,
          a_refusal_comes_back_and_cannot_forge_log_lines)
