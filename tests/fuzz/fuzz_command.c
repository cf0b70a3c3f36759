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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command c;
    struct entry *again;

    if (command_decode(view_of(data, size), &c) != 0)
        return 0;
    CHECK(c.key.size >= 1);
    CHECK(c.key.size <= COMMAND_KEY_MAX);
    check_decision(&c, 0);
    check_decision(&c, 7);
    check_decision(&c, c.expected);
    again = command_entry(&c);
    CHECK(view_equal(entry_payload(again), view_of(data, size)));
    entry_unref(again);
    return 0;
}
