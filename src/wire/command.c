#include "wire/command.h"

#include "base/check.h"
#include "base/codec.h"
#include "base/err.h"

/* Of an encoded command without the bytes of key and value: op, condition, expected, two lengths. */
#define FIXED_SIZE (1 + 1 + 8 + 4 + 4)
#define VALUE_MAX  (ENTRY_PAYLOAD_MAX - FIXED_SIZE - COMMAND_KEY_MAX)

static void walk_command(struct codec *c, struct command *command)
{
    uint8_t op = (uint8_t)command->op;
    uint8_t condition = (uint8_t)command->condition;

    codec_u8(c, &op);
    codec_u8(c, &condition);
    codec_u64(c, &command->expected);
    codec_view(c, &command->key, COMMAND_KEY_MAX);
    codec_view(c, &command->value, VALUE_MAX);
    command->op = (enum command_op)op;
    command->condition = (enum command_condition)condition;

    codec_require(c, op == COMMAND_SET || op == COMMAND_DELETE);
    codec_require(c, condition <= COMMAND_IF_NOT_INDEX);
    codec_require(c, command->key.size > 0);
    codec_require(c, op == COMMAND_SET || command->value.size == 0);
}

struct entry *command_entry(const struct command *c)
{
    CHECK(c->key.size <= COMMAND_KEY_MAX);
    CHECK(c->value.size <= VALUE_MAX);

    uint32_t size = FIXED_SIZE + (uint32_t)c->key.size + (uint32_t)c->value.size;
    struct entry *e = entry_new(RAFT_COMMAND, size);
    struct bytes room = {.data = entry_room(e), .capacity = size, .limit = size};
    struct codec encoder = codec_encoder(&room);
    struct command copy = *c;

    walk_command(&encoder, &copy);
    CHECK(room.data == entry_room(e));
    CHECK(room.size == size);
    entry_seal(e);
    return e;
}

int command_decode(struct view payload, struct command *out)
{
    struct codec c = codec_decoder(payload);
    struct command command = {0};

    walk_command(&c, &command);

    int err = codec_finish(&c);

    if (err == 0)
        *out = command;
    return err;
}

static bool condition_holds(const struct command *c, raft_index current)
{
    bool exists = current != 0;

    switch (c->condition) {
    case COMMAND_ALWAYS:
        return true;
    case COMMAND_IF_EXISTS:
        return exists;
    case COMMAND_IF_INDEX:
        return exists && current == c->expected;
    case COMMAND_IF_ABSENT:
        return !exists;
    case COMMAND_IF_NOT_INDEX:
        return !exists || current != c->expected;
    }
    return false; /* command_decode lets no other value pass */
}

bool command_decide(const struct command *c, raft_index index, raft_index current, struct command_result *out)
{
    bool exists = current != 0;

    /* Conditions come first, even for a DELETE of what is not there [RFC 9110 13.2.1]. */
    if (!condition_holds(c, current)) {
        *out = (struct command_result){.outcome = COMMAND_FAILED_CONDITION, .index = current};
        return false;
    }
    if (c->op == COMMAND_SET) {
        *out = (struct command_result){.outcome = exists ? COMMAND_REPLACED : COMMAND_CREATED, .index = index};
        return true;
    }
    *out = (struct command_result){.outcome = exists ? COMMAND_DELETED : COMMAND_ABSENT, .index = 0};
    return exists;
}
