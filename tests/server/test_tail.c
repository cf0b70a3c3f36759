/* The tail: what it holds, what a truncation takes away, what the window keeps. */
#include "server/tail.h"

#include "../store/store_test.h"
#include "../suite.h"

static struct tail tail;

static struct entry *sized(raft_index index, raft_term term, size_t size)
{
    char *value = calloc(1, size);
    struct entry *e = set_at(index, term, "k", value, size);

    free(value);
    return e;
}

static void fill(raft_index from, raft_index to, raft_term term)
{
    for (raft_index i = from; i <= to; i++)
        tail_put(&tail, i, noop_at(i, term));
}

static unsigned borrow_terms(raft_index first, unsigned max, raft_term *terms)
{
    struct entry *entries[64];
    uint64_t bytes = 0;
    unsigned count = tail_borrow(&tail, first, max, UINT64_MAX, entries, &bytes);

    for (unsigned i = 0; i < count; i++) {
        ck_assert_uint_eq(entry_pos(entries[i]).index, first + i);
        terms[i] = entry_pos(entries[i]).term;
        entry_unref(entries[i]);
    }
    return count;
}

START_TEST(a_new_tail_holds_nothing)
{
    raft_term terms[1];

    tail_init(&tail, 41);

    ck_assert_uint_eq(tail.first, 42);
    ck_assert_uint_eq(borrow_terms(41, 1, terms), 0);
    ck_assert_uint_eq(borrow_terms(42, 1, terms), 0);
    tail_clear(&tail);
}
END_TEST

START_TEST(what_was_put_can_be_borrowed)
{
    raft_term terms[64];

    tail_init(&tail, 10);
    fill(11, 20, 3);

    ck_assert_uint_eq(borrow_terms(11, 64, terms), 10);
    ck_assert_uint_eq(borrow_terms(15, 2, terms), 2);
    ck_assert_uint_eq(borrow_terms(10, 2, terms), 0);
    ck_assert_uint_eq(borrow_terms(21, 2, terms), 0);
    tail_clear(&tail);
    ck_assert_ptr_null(tail.ring);
}
END_TEST

/* A later leader's entries replace what stood there, and all behind it. */
START_TEST(a_put_in_the_middle_truncates)
{
    raft_term terms[64];
    uint64_t bytes = 0;

    tail_init(&tail, 0);
    fill(1, 4, 1);
    bytes = tail.bytes;
    fill(5, 10, 1);

    tail_put(&tail, 5, noop_at(5, 2));

    ck_assert_uint_eq(borrow_terms(1, 64, terms), 5);
    ck_assert_uint_eq(terms[3], 1);
    ck_assert_uint_eq(terms[4], 2);
    ck_assert_uint_eq(tail.bytes, bytes + ENTRY_HEADER_SIZE);
    tail_clear(&tail);
}
END_TEST

START_TEST(a_put_before_the_window_empties_it)
{
    raft_term terms[64];

    tail_init(&tail, 10);
    fill(11, 20, 1);

    tail_put(&tail, 5, noop_at(5, 2));

    ck_assert_uint_eq(tail.first, 5);
    ck_assert_uint_eq(borrow_terms(5, 64, terms), 1);
    ck_assert_uint_eq(borrow_terms(11, 64, terms), 0);
    ck_assert_uint_eq(tail.bytes, ENTRY_HEADER_SIZE);
    tail_clear(&tail);
}
END_TEST

START_TEST(a_borrower_gets_one_entry_however_large)
{
    struct entry *entries[4];
    uint64_t bytes = 0;
    unsigned count = 0;

    tail_init(&tail, 0);
    for (raft_index i = 1; i <= 4; i++)
        tail_put(&tail, i, sized(i, 1, 1000));

    count = tail_borrow(&tail, 1, 4, 10, entries, &bytes);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(bytes, entries[0]->size);
    unref_all(entries, count);
    count = tail_borrow(&tail, 1, 4, 2500, entries, &bytes);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_le(bytes, 2500);
    unref_all(entries, count);
    tail_clear(&tail);
}
END_TEST

/* A borrowed entry outlives its place in the tail. */
START_TEST(a_reference_outlives_the_tail)
{
    struct entry *e = NULL;
    uint64_t bytes = 0;

    tail_init(&tail, 0);
    fill(1, 1, 9);
    ck_assert_uint_eq(tail_borrow(&tail, 1, 1, 1, &e, &bytes), 1);
    tail_clear(&tail);

    ck_assert_uint_eq(entry_pos(e).term, 9);
    entry_unref(e);
}
END_TEST

START_TEST(the_window_keeps_what_is_not_on_disk)
{
    tail_init(&tail, 0);
    for (raft_index i = 1; i <= 6; i++)
        tail_put(&tail, i, sized(i, 1, TAIL_WINDOW_BYTES / 2));

    tail_trim(&tail, 0);
    ck_assert_uint_eq(tail.first, 1);
    tail_trim(&tail, 3);
    ck_assert_uint_eq(tail.first, 4); /* 4 .. 6 are still more than the window, but nowhere else */
    tail_trim(&tail, 6);
    ck_assert_uint_eq(tail.first, 6);
    ck_assert_uint_le(tail.bytes, TAIL_WINDOW_BYTES);
    tail_clear(&tail);
}
END_TEST

/* What is unfinished may fill half of the ring; the window never takes more than the other half. */
START_TEST(the_ring_never_overflows)
{
    tail_init(&tail, 0);
    fill(1, TAIL_ENTRIES_MAX / 2, 1);
    tail_trim(&tail, TAIL_ENTRIES_MAX / 2);
    fill(TAIL_ENTRIES_MAX / 2 + 1, TAIL_ENTRIES_MAX, 1);

    ck_assert_uint_eq(tail.last + 1 - tail.first, TAIL_ENTRIES_MAX);
    ck_assert(!tail_has_room(&tail, TAIL_ENTRIES_MAX / 2, 100));
    tail_trim(&tail, TAIL_ENTRIES_MAX);
    ck_assert_uint_eq(tail.last + 1 - tail.first, TAIL_ENTRIES_MAX / 2);
    ck_assert(tail_has_room(&tail, TAIL_ENTRIES_MAX, 100));
    tail_clear(&tail);
}
END_TEST

START_TEST(too_many_bytes_are_refused)
{
    tail_init(&tail, 0);
    tail_put(&tail, 1, sized(1, 1, 1000));

    ck_assert(tail_has_room(&tail, 0, TAIL_UNFINISHED_BYTES - (uint32_t)tail.bytes));
    ck_assert(!tail_has_room(&tail, 0, TAIL_UNFINISHED_BYTES));
    tail_clear(&tail);
}
END_TEST

TEST_MAIN("tail", a_new_tail_holds_nothing, what_was_put_can_be_borrowed, a_put_in_the_middle_truncates,
          a_put_before_the_window_empties_it, a_borrower_gets_one_entry_however_large, a_reference_outlives_the_tail,
          the_window_keeps_what_is_not_on_disk, the_ring_never_overflows, too_many_bytes_are_refused)
