#include "base/bytes.h"

#include <stdint.h>
#include <string.h>

#include "../suite.h"

static const struct view nothing = {0};

/* A view of a literal with all its bytes, NULs too, but the last. */
#define V(literal) view_of(literal, sizeof(literal) - 1)

START_TEST(views_are_equal_by_their_bytes)
{
    ck_assert(view_equal(V("abc"), V("abc")));
    ck_assert(!view_equal(V("abc"), V("abd")));
    ck_assert(!view_equal(V("abc"), V("abcd")));
    ck_assert(view_equal(V("a\0b"), V("a\0b")));
    ck_assert(!view_equal(V("a\0b"), V("a\0c")));
    ck_assert(view_equal(nothing, V("")));
}
END_TEST

START_TEST(views_are_ordered_as_memcmp_orders_and_a_beginning_comes_first)
{
    ck_assert_int_eq(view_compare(V("abc"), V("abc")), 0);
    ck_assert_int_lt(view_compare(V("abc"), V("abd")), 0);
    ck_assert_int_gt(view_compare(V("b"), V("abc")), 0);
    ck_assert_int_lt(view_compare(V("ab"), V("abc")), 0);
    ck_assert_int_gt(view_compare(V("abc"), V("ab")), 0);
    ck_assert_int_lt(view_compare(V("a"), V("\xff")), 0);
    ck_assert_int_lt(view_compare(V("a"), V("a\0")), 0);
    ck_assert_int_lt(view_compare(nothing, V("\0")), 0);
    ck_assert_int_eq(view_compare(nothing, nothing), 0);
}
END_TEST

START_TEST(a_view_starts_with_its_prefixes)
{
    ck_assert(view_starts_with(V("abc"), V("ab")));
    ck_assert(view_starts_with(V("abc"), V("abc")));
    ck_assert(view_starts_with(V("abc"), nothing));
    ck_assert(view_starts_with(nothing, nothing));
    ck_assert(!view_starts_with(V("abc"), V("abcd")));
    ck_assert(!view_starts_with(V("abc"), V("b")));
    ck_assert(!view_starts_with(nothing, V("a")));
}
END_TEST

START_TEST(the_view_of_a_text_leaves_out_its_nul)
{
    ck_assert_uint_eq(view_of_text("abc").size, 3);
    ck_assert_uint_eq(view_of_text("").size, 0);
}
END_TEST

START_TEST(a_buffer_holds_what_was_appended_in_that_order)
{
    struct bytes b;

    bytes_init(&b, 100);
    bytes_append(&b, "a\0b", 3);
    bytes_append_char(&b, '-');
    bytes_append_text(&b, "text");
    bytes_append(&b, NULL, 0);
    bytes_printf(&b, "%d", 42);

    ck_assert(!b.overflow);
    ck_assert(view_equal(bytes_view(&b), V("a\0b-text42")));
    bytes_clear(&b);
}
END_TEST

START_TEST(a_new_buffer_owns_no_memory)
{
    struct bytes b;

    bytes_init(&b, 100);
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(bytes_view(&b).size, 0);
}
END_TEST

START_TEST(a_buffer_fills_to_its_limit_exactly)
{
    struct bytes b;

    bytes_init(&b, 1000);
    for (int i = 0; i < 1000; i++)
        bytes_append_char(&b, (char)i);
    ck_assert(!b.overflow);
    ck_assert_uint_eq(b.size, 1000);
    ck_assert_uint_le(b.capacity, 1000);
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(b.data[i], (uint8_t)i);

    bytes_append_char(&b, 'x');
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.size, 1000);
    bytes_clear(&b);
}
END_TEST

START_TEST(after_an_overflow_nothing_more_is_appended)
{
    struct bytes b;

    bytes_init(&b, 4);
    bytes_append_text(&b, "ab");
    bytes_append_text(&b, "long");
    bytes_append_text(&b, "c");

    ck_assert(b.overflow);
    ck_assert(view_equal(bytes_view(&b), V("ab")));
    ck_assert_ptr_null(bytes_reserve(&b, 1));
    bytes_clear(&b);
}
END_TEST

START_TEST(a_reset_buffer_is_empty_keeps_its_memory_and_forgets_the_overflow)
{
    struct bytes b;
    uint8_t *memory;

    bytes_init(&b, 4);
    bytes_append_text(&b, "abcd");
    bytes_append_text(&b, "e");
    memory = b.data;
    bytes_reset(&b);
    ck_assert(!b.overflow);
    ck_assert_uint_eq(b.size, 0);
    bytes_append_text(&b, "efgh");
    ck_assert(view_equal(bytes_view(&b), V("efgh")));
    ck_assert_ptr_eq(b.data, memory);
    bytes_clear(&b);
}
END_TEST

START_TEST(a_cleared_buffer_is_usable_with_the_same_limit)
{
    struct bytes b;

    bytes_init(&b, 3);
    bytes_append_text(&b, "abc");
    bytes_clear(&b);
    ck_assert_ptr_null(b.data);
    bytes_append_text(&b, "def");
    ck_assert(view_equal(bytes_view(&b), V("def")));
    bytes_append_text(&b, "g");
    ck_assert(b.overflow);
    bytes_clear(&b);
}
END_TEST

START_TEST(a_limit_of_nothing_takes_nothing)
{
    struct bytes b;

    bytes_init(&b, 0);
    bytes_append(&b, "", 0);
    bytes_append_text(&b, "");
    ck_assert(!b.overflow);
    bytes_append_char(&b, 'a');
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.size, 0);
    bytes_clear(&b);
}
END_TEST

START_TEST(a_size_near_the_end_of_the_numbers_overflows)
{
    struct bytes b;

    bytes_init(&b, SIZE_MAX);
    bytes_append_text(&b, "a");
    ck_assert_ptr_null(bytes_reserve(&b, SIZE_MAX));
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.size, 1);
    bytes_clear(&b);
}
END_TEST

START_TEST(reserved_room_counts_once_it_is_added_to_the_size)
{
    struct bytes b;
    uint8_t *room;

    bytes_init(&b, 200);
    bytes_append_text(&b, "ab");
    room = bytes_reserve(&b, 198);
    ck_assert_ptr_nonnull(room);
    ck_assert_uint_eq(b.size, 2);
    memset(room, 'c', 198);
    b.size += 198;
    ck_assert_uint_eq(bytes_view(&b).data[199], 'c');
    ck_assert_ptr_null(bytes_reserve(&b, 1));
    bytes_clear(&b);
}
END_TEST

START_TEST(a_long_text_is_printed_whole)
{
    struct bytes b;
    char text[600];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    bytes_init(&b, sizeof text + 1);
    bytes_printf(&b, "<%s>", text);
    ck_assert(!b.overflow);
    ck_assert_uint_eq(b.size, sizeof text + 1);
    ck_assert_uint_eq(b.data[0], '<');
    ck_assert_uint_eq(b.data[1], 'x');
    ck_assert_uint_eq(b.data[b.size - 1], '>');
    bytes_clear(&b);
}
END_TEST

START_TEST(a_printed_text_around_the_size_of_the_stack_buffer_is_whole)
{
    for (int length = 250; length <= 260; length++) {
        struct bytes b;

        bytes_init(&b, 260);
        bytes_printf(&b, "%*d", length, 7);
        ck_assert(!b.overflow);
        ck_assert_uint_eq(b.size, (size_t)length);
        ck_assert_uint_eq(b.data[length - 1], '7');
        bytes_clear(&b);
    }
}
END_TEST

START_TEST(a_printed_text_over_the_limit_overflows_and_adds_nothing)
{
    struct bytes b;

    bytes_init(&b, 10);
    bytes_printf(&b, "%s", "eleven char");
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.size, 0);
    bytes_reset(&b);
    bytes_printf(&b, "%0500d", 1);
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.size, 0);
    bytes_clear(&b);
}
END_TEST

START_TEST(consuming_drops_from_the_front)
{
    struct bytes b;

    bytes_init(&b, 100);
    bytes_consume(&b, 0);
    bytes_append_text(&b, "abcdef");
    bytes_consume(&b, 0);
    ck_assert(view_equal(bytes_view(&b), V("abcdef")));
    bytes_consume(&b, 2);
    ck_assert(view_equal(bytes_view(&b), V("cdef")));
    bytes_append_text(&b, "g");
    ck_assert(view_equal(bytes_view(&b), V("cdefg")));
    bytes_consume(&b, 5);
    ck_assert_uint_eq(b.size, 0);
    bytes_clear(&b);
}
END_TEST

TEST_MAIN("bytes", views_are_equal_by_their_bytes, views_are_ordered_as_memcmp_orders_and_a_beginning_comes_first,
          a_view_starts_with_its_prefixes, the_view_of_a_text_leaves_out_its_nul,
          a_buffer_holds_what_was_appended_in_that_order, a_new_buffer_owns_no_memory,
          a_buffer_fills_to_its_limit_exactly, after_an_overflow_nothing_more_is_appended,
          a_reset_buffer_is_empty_keeps_its_memory_and_forgets_the_overflow,
          a_cleared_buffer_is_usable_with_the_same_limit, a_limit_of_nothing_takes_nothing,
          a_size_near_the_end_of_the_numbers_overflows, reserved_room_counts_once_it_is_added_to_the_size,
          a_long_text_is_printed_whole, a_printed_text_around_the_size_of_the_stack_buffer_is_whole,
          a_printed_text_over_the_limit_overflows_and_adds_nothing, consuming_drops_from_the_front)
