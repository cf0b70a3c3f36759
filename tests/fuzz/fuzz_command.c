/* The decoder of clients' commands, and the rule that decides them. */
#include "base/check.h"
#include "fuzz.h"
#include "wire/command.h"

static void check_decision(const struct command *c, raft_index current)
{
    struct command_result r = {0};
    bool changes = command_decide(c, 1000, current, &r);

    CHECK(r.outcome >= COMMAND_CREATED);
    CHECK(r.outcome <= COMMAND_FAILED_CONDITION);
    CHECK(changes == (r.outcome <= COMMAND_DELETED));
    CHECK(r.index == (changes ? (c->op == COMMAND_SET ? 1000 : 0) : current));
}

/* The records of a part, written again, are the same bytes as far as they decode. */
static void check_part(struct view value)
{
    struct view rest = value, key, text;
    struct bytes again;

    bytes_init(&again, value.size + 1);
    while (rest.size > 0 && command_part_take(&rest, &key, &text) == 0)
        command_part_append(&again, key, text);
    CHECK(view_starts_with(value, bytes_view(&again)));
    CHECK(again.size + rest.size == value.size);
    bytes_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command c;
    struct entry *again;

    if (command_decode(view_of(data, size), &c) != 0)
        return 0;
    CHECK(c.key.size <= COMMAND_KEY_MAX);
    if (command_is_restore(&c)) {
        check_part(c.value);
    } else {
        CHECK(c.key.size >= 1);
        check_decision(&c, 0);
        check_decision(&c, 7);
        check_decision(&c, c.expected);
    }
    again = command_entry(&c);
    CHECK(view_equal(entry_payload(again), view_of(data, size)));
    entry_unref(again);
    return 0;
}
