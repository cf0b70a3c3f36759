#include "wire/command.h"

#include <string.h>

#include "../suite.h"
#include "base/codec.h"
#include "base/err.h"

static struct command a_set(const char *key, const char *value)
{
    return (struct command){.op = COMMAND_SET, .key = view_of_text(key), .value = view_of_text(value)};
}

static int decode_entry(const struct entry *e, struct command *out)
{
    return command_decode(entry_payload(e), out);
}

START_TEST(decoding_gives_back_what_was_encoded)
{
    struct command c = a_set("key", "value");
    struct command out;
    struct entry *e;

    c.condition = COMMAND_IF_INDEX;
    c.expected = UINT64_MAX;
    e = command_entry(&c);
    ck_assert_int_eq(entry_type(e), RAFT_COMMAND);
    ck_assert_int_eq(decode_entry(e, &out), 0);
    ck_assert_int_eq(out.op, COMMAND_SET);
    ck_assert_int_eq(out.condition, COMMAND_IF_INDEX);
    ck_assert_uint_eq(out.expected, UINT64_MAX);
    ck_assert(view_equal(out.key, c.key));
    ck_assert(view_equal(out.value, c.value));
    entry_unref(e);
}
END_TEST

START_TEST(the_entry_is_sealed)
{
    struct command c = a_set("key", "value");
    struct entry *e = command_entry(&c);
    struct entry *out = NULL;
    struct view in;

    entry_stamp(e, (struct raft_pos){1, 1});
    in = view_of(e->bytes, e->size);
    ck_assert_int_eq(entry_decode(&in, &out), 0);
    entry_unref(out);
    entry_unref(e);
}
END_TEST

START_TEST(any_byte_may_be_in_a_key_and_a_value_may_be_empty)
{
    static const uint8_t key[] = {0, 0xff, '/', '%', '\n'};
    struct command c = {.op = COMMAND_SET, .key = view_of(key, sizeof key)};
    struct command out;
    struct entry *e = command_entry(&c);

    ck_assert_int_eq(decode_entry(e, &out), 0);
    ck_assert(view_equal(out.key, c.key));
    ck_assert_uint_eq(out.value.size, 0);
    entry_unref(e);
}
END_TEST

START_TEST(a_key_of_480_bytes_fits_and_one_of_481_is_malformed)
{
    uint8_t payload[600] = {COMMAND_DELETE};
    struct command out;

    codec_put_u32(payload + 10, 480);
    ck_assert_int_eq(command_decode(view_of(payload, 14 + 480 + 4), &out), 0);
    ck_assert_uint_eq(out.key.size, 480);
    codec_put_u32(payload + 10, 481);
    ck_assert_int_eq(command_decode(view_of(payload, 14 + 481 + 4), &out), ERR_MALFORMED);
    codec_put_u32(payload + 10, 0);
    ck_assert_int_eq(command_decode(view_of(payload, 14 + 4), &out), ERR_MALFORMED);
    codec_put_u32(payload + 10, UINT32_MAX);
    ck_assert_int_eq(command_decode(view_of(payload, sizeof payload), &out), ERR_MALFORMED);
}
END_TEST

START_TEST(every_truncation_and_anything_left_over_is_malformed)
{
    struct command c = a_set("key", "value");
    struct command out = {.expected = 77};
    struct entry *e = command_entry(&c);
    struct view payload = entry_payload(e);
    uint8_t longer[64] = {0};

    for (size_t size = 0; size < payload.size; size++)
        ck_assert_int_eq(command_decode(view_of(payload.data, size), &out), ERR_MALFORMED);
    memcpy(longer, payload.data, payload.size);
    ck_assert_int_eq(command_decode(view_of(longer, payload.size + 1), &out), ERR_MALFORMED);
    ck_assert_uint_eq(out.expected, 77); /* untouched */
    entry_unref(e);
}
END_TEST

START_TEST(unknown_operations_and_conditions_and_a_delete_with_value_are_malformed)
{
    struct command c = a_set("key", "value");
    struct command out;
    struct entry *e = command_entry(&c);
    uint8_t *payload = entry_room(e);

    for (unsigned op = 0; op < 256; op++) {
        payload[0] = (uint8_t)op;
        ck_assert_int_eq(decode_entry(e, &out), op == COMMAND_SET ? 0 : ERR_MALFORMED);
    }
    payload[0] = COMMAND_SET;
    for (unsigned condition = 0; condition < 256; condition++) {
        payload[1] = (uint8_t)condition;
        ck_assert_int_eq(decode_entry(e, &out), condition <= COMMAND_IF_NOT_INDEX ? 0 : ERR_MALFORMED);
    }
    entry_unref(e);
}
END_TEST

struct decision {
    enum command_op op;
    enum command_condition condition;
    raft_index expected, current;
    bool changes;
    enum command_outcome outcome;
    raft_index index;
};

/* What RFC 9110 13.1 says of If-Match and If-None-Match, and PRODUCT's answers, for entry 9. */
START_TEST(a_command_is_decided_by_the_index_of_the_last_change)
{
    static const struct decision table[] = {
        {COMMAND_SET, COMMAND_ALWAYS, 0, 0, true, COMMAND_CREATED, 9},
        {COMMAND_SET, COMMAND_ALWAYS, 0, 5, true, COMMAND_REPLACED, 9},
        {COMMAND_DELETE, COMMAND_ALWAYS, 0, 5, true, COMMAND_DELETED, 0},
        {COMMAND_DELETE, COMMAND_ALWAYS, 0, 0, false, COMMAND_ABSENT, 0},
        {COMMAND_SET, COMMAND_IF_EXISTS, 0, 0, false, COMMAND_FAILED_CONDITION, 0},
        {COMMAND_SET, COMMAND_IF_EXISTS, 0, 5, true, COMMAND_REPLACED, 9},
        {COMMAND_SET, COMMAND_IF_INDEX, 5, 5, true, COMMAND_REPLACED, 9},
        {COMMAND_SET, COMMAND_IF_INDEX, 4, 5, false, COMMAND_FAILED_CONDITION, 5},
        {COMMAND_SET, COMMAND_IF_INDEX, 0, 0, false, COMMAND_FAILED_CONDITION, 0},
        {COMMAND_SET, COMMAND_IF_ABSENT, 0, 0, true, COMMAND_CREATED, 9},
        {COMMAND_SET, COMMAND_IF_ABSENT, 0, 5, false, COMMAND_FAILED_CONDITION, 5},
        {COMMAND_SET, COMMAND_IF_NOT_INDEX, 5, 5, false, COMMAND_FAILED_CONDITION, 5},
        {COMMAND_SET, COMMAND_IF_NOT_INDEX, 4, 5, true, COMMAND_REPLACED, 9},
        {COMMAND_SET, COMMAND_IF_NOT_INDEX, 4, 0, true, COMMAND_CREATED, 9},
        {COMMAND_DELETE, COMMAND_IF_EXISTS, 0, 0, false, COMMAND_FAILED_CONDITION, 0},
        {COMMAND_DELETE, COMMAND_IF_INDEX, 5, 5, true, COMMAND_DELETED, 0},
        {COMMAND_DELETE, COMMAND_IF_INDEX, 4, 5, false, COMMAND_FAILED_CONDITION, 5},
        {COMMAND_DELETE, COMMAND_IF_ABSENT, 0, 0, false, COMMAND_ABSENT, 0},
        {COMMAND_DELETE, COMMAND_IF_NOT_INDEX, 4, 5, true, COMMAND_DELETED, 0},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct decision *d = &table[i];
        struct command c = {.op = d->op, .condition = d->condition, .expected = d->expected};
        struct command_result result = {0};

        ck_assert_msg(command_decide(&c, 9, d->current, &result) == d->changes, "row %zu", i);
        ck_assert_msg(result.outcome == d->outcome, "row %zu: outcome %d", i, (int)result.outcome);
        ck_assert_msg(result.index == d->index, "row %zu: index %d", i, (int)result.index);
    }
}
END_TEST

START_TEST(a_restore_is_carried_by_four_commands)
{
    static const struct command commands[] = {
        {.op = COMMAND_RESTORE_BEGIN},
        {.op = COMMAND_RESTORE_PART, .expected = 7, .count = 12},
        {.op = COMMAND_RESTORE_END, .expected = 7, .count = UINT64_MAX},
        {.op = COMMAND_RESTORE_ABANDON, .expected = 7},
    };
    struct bytes part;

    bytes_init(&part, 1000);
    command_part_append(&part, view_of_text("a"), view_of_text("1"));
    command_part_append(&part, view_of_text("bb"), view_of_text(""));
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct command c = commands[i], out;
        struct entry *e = NULL;

        if (c.op == COMMAND_RESTORE_PART)
            c.value = bytes_view(&part);
        e = command_entry(&c);
        ck_assert_int_eq(decode_entry(e, &out), 0);
        ck_assert(command_is_restore(&out));
        ck_assert_int_eq(out.op, c.op);
        ck_assert_uint_eq(out.expected, c.expected);
        ck_assert_uint_eq(out.count, c.count);
        ck_assert(view_equal(out.value, c.value));
        entry_unref(e);
    }
    bytes_clear(&part);
}
END_TEST

START_TEST(the_records_of_a_part_come_one_after_the_other)
{
    struct bytes part;
    struct view rest, key, value;

    bytes_init(&part, 1000);
    command_part_append(&part, view_of_text("a"), view_of_text("1"));
    command_part_append(&part, view_of_text("bb"), view_of_text(""));
    rest = bytes_view(&part);
    ck_assert_int_eq(command_part_take(&rest, &key, &value), 0);
    ck_assert(view_equal(key, view_of_text("a")) && view_equal(value, view_of_text("1")));
    ck_assert_int_eq(command_part_take(&rest, &key, &value), 0);
    ck_assert(view_equal(key, view_of_text("bb")) && value.size == 0);
    ck_assert_uint_eq(rest.size, 0);
    for (size_t size = 0; size < part.size; size++) { /* cut anywhere, it is no whole part */
        rest = view_of(part.data, size);
        while (rest.size > 0 && command_part_take(&rest, &key, &value) == 0)
            continue;
        ck_assert(size == 0 || size == COMMAND_PART_OVERHEAD + 2 || rest.size > 0);
    }
    bytes_clear(&part);
}
END_TEST

TEST_MAIN("command", a_restore_is_carried_by_four_commands, the_records_of_a_part_come_one_after_the_other,
          decoding_gives_back_what_was_encoded, the_entry_is_sealed, any_byte_may_be_in_a_key_and_a_value_may_be_empty,
          a_key_of_480_bytes_fits_and_one_of_481_is_malformed, every_truncation_and_anything_left_over_is_malformed,
          unknown_operations_and_conditions_and_a_delete_with_value_are_malformed,
          a_command_is_decided_by_the_index_of_the_last_change)
