#include "base/clock.h"

#include <string.h>

#include "../suite.h"

START_TEST(the_clock_never_says_zero_and_never_goes_back)
{
    uint64_t before_us = clock_now_us(), before_ms = clock_now_ms();

    ck_assert_uint_gt(before_ms, 0);
    ck_assert_uint_gt(before_us, 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t us = clock_now_us(), ms = clock_now_ms();

        ck_assert_uint_ge(us, before_us);
        ck_assert_uint_ge(ms, before_ms);
        before_us = us;
        before_ms = ms;
    }
}
END_TEST

START_TEST(both_units_are_of_one_clock)
{
    uint64_t ms = clock_now_ms(), us = clock_now_us();

    ck_assert_uint_ge(us / 1000, ms);
    ck_assert_uint_lt(us / 1000, ms + 1000);
}
END_TEST

START_TEST(random_numbers_differ)
{
    uint64_t seen[64];

    for (int i = 0; i < 64; i++) {
        seen[i] = clock_random();
        for (int j = 0; j < i; j++)
            ck_assert(seen[j] != seen[i]);
    }
}
END_TEST

START_TEST(wall_time_is_written_as_rfc_3339_in_utc)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    char text[25];

    memset(text, 'x', sizeof text);
    clock_wall_text(text, sizeof text);
    ck_assert_uint_eq(strlen(text), 24);
    for (int i = 0; i < 24; i++) {
        if (shape[i] == 'd')
            ck_assert(text[i] >= '0' && text[i] <= '9');
        else
            ck_assert_int_eq(text[i], shape[i]);
    }
}
END_TEST

TEST_MAIN("clock", the_clock_never_says_zero_and_never_goes_back, both_units_are_of_one_clock, random_numbers_differ,
          wall_time_is_written_as_rfc_3339_in_utc)
