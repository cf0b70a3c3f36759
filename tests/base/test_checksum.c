#include "base/checksum.h"

#include <stdint.h>
#include <string.h>

#include "../suite.h"

/* What is on disks and in frames must not change with a version of the library: the values of XXH3's specification. */
START_TEST(the_values_are_those_of_xxh3)
{
    ck_assert_uint_eq(checksum(NULL, 0, 0), UINT64_C(0x2d06800538d394c2));
    ck_assert_uint_eq(checksum("", 0, 0), UINT64_C(0x2d06800538d394c2));
}
END_TEST

START_TEST(a_flipped_bit_and_another_seed_show)
{
    uint8_t data[300];

    memset(data, 0x5a, sizeof data);
    for (size_t size = 1; size <= sizeof data; size += 23) {
        uint64_t right = checksum(data, size, 7);

        ck_assert(checksum(data, size, 8) != right);
        ck_assert(checksum(data, size - 1, 7) != right);
        for (size_t bit = 0; bit < size * 8; bit++) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            ck_assert(checksum(data, size, 7) != right);
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}
END_TEST

START_TEST(a_stream_in_pieces_equals_the_whole)
{
    static uint8_t data[5000];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31);
    for (size_t piece = 1; piece < 700; piece += 97) {
        struct checksum_stream *s = checksum_stream_new(42);

        for (size_t at = 0; at < sizeof data; at += piece)
            checksum_stream_add(s, data + at, at + piece <= sizeof data ? piece : sizeof data - at);
        ck_assert_uint_eq(checksum_stream_value(s), checksum(data, sizeof data, 42));
        checksum_stream_free(s);
    }
}
END_TEST

START_TEST(a_stream_has_a_value_at_every_point)
{
    struct checksum_stream *s = checksum_stream_new(3);

    ck_assert_uint_eq(checksum_stream_value(s), checksum(NULL, 0, 3));
    checksum_stream_add(s, NULL, 0);
    checksum_stream_add(s, "ab", 2);
    ck_assert_uint_eq(checksum_stream_value(s), checksum("ab", 2, 3));
    checksum_stream_add(s, "c", 1);
    ck_assert_uint_eq(checksum_stream_value(s), checksum("abc", 3, 3));
    ck_assert_uint_eq(checksum_stream_value(s), checksum("abc", 3, 3));
    checksum_stream_free(s);
    checksum_stream_free(NULL);
}
END_TEST

TEST_MAIN("checksum", the_values_are_those_of_xxh3, a_flipped_bit_and_another_seed_show,
          a_stream_in_pieces_equals_the_whole, a_stream_has_a_value_at_every_point)
