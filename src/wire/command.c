#include "wire/command.h"

#include "base/check.h"
#include "base/codec.h"
#include "base/err.h"

/* Of an encoded command without the bytes of key and value: op, condition, expected, two lengths. */
#define FIXED_SIZE (1 + 1 + 8 + 4 + 4)
#define VALUE_MAX  (ENTRY_PAYLOAD_MAX - FIXED_SIZE - COMMAND_KEY_MAX)

_Static_assert(COMMAND_PART_MAX <= VALUE_MAX, "a part must fit into an entry");

bool command_is_restore(const struct command *c)
{
    switch (c->op) {
    case COMMAND_SET:
    case COMMAND_DELETE:
        return false;
    case COMMAND_RESTORE_BEGIN:
    case COMMAND_RESTORE_PART:
    case COMMAND_RESTORE_END:
    case COMMAND_RESTORE_ABANDON:
        return true;
    }
    return false; /* command_decode lets no other value pass */
}

static bool has_count(uint8_t op)
{
    return op == COMMAND_RESTORE_PART || op == COMMAND_RESTORE_END;
}

static void walk_command(struct codec *c, struct command *command)
{
    uint8_t op = (uint8_t)command->op;
    uint8_t condition = (uint8_t)command->condition;

    codec_u8(c, &op);
    codec_u8(c, &condition);
    codec_u64(c, &command->expected);
    if (has_count(op))
        codec_u64(c, &command->count);
    codec_view(c, &command->key, COMMAND_KEY_MAX);
    codec_view(c, &command->value, VALUE_MAX);
    command->op = (enum command_op)op;
    command->condition = (enum command_condition)condition;

    codec_require(c, op >= COMMAND_SET && op <= COMMAND_RESTORE_ABANDON);
    codec_require(c, condition <= COMMAND_IF_NOT_INDEX);
    codec_require(c, (command->key.size == 0) == command_is_restore(command));
    codec_require(c, op == COMMAND_SET || op == COMMAND_RESTORE_PART || command->value.size == 0);
}

struct entry *command_entry(const struct command *c)
{
    CHECK(c->key.size <= COMMAND_KEY_MAX);
    CHECK(c->value.size <= VALUE_MAX);

    uint32_t size =
        FIXED_SIZE + (has_count((uint8_t)c->op) ? 8u : 0u) + (uint32_t)c->key.size + (uint32_t)c->value.size;
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

/* ---- the records of a RESTORE_PART ---- */

static void walk_record(struct codec *c, uint16_t *key_size, uint32_t *value_size)
{
    codec_u16(c, key_size);
    codec_u32(c, value_size);

    codec_require(c, *key_size >= 1 && *key_size <= COMMAND_KEY_MAX);
}

void command_part_append(struct bytes *out, struct view key, struct view value)
{
    uint16_t key_size = (uint16_t)key.size;
    uint32_t value_size = (uint32_t)value.size;
    struct codec c = codec_encoder(out);

    CHECK(key.size >= 1 && key.size <= COMMAND_KEY_MAX && value.size <= COMMAND_PART_MAX);
    walk_record(&c, &key_size, &value_size);
    bytes_append(out, key.data, key.size);
    if (value.size > 0)
        bytes_append(out, value.data, value.size);
}

int command_part_take(struct view *rest, struct view *key, struct view *value)
{
    struct codec c;
    uint16_t key_size = 0;
    uint32_t value_size = 0;
    size_t left = 0;

    if (rest->size < COMMAND_PART_OVERHEAD)
        return ERR_MALFORMED;
    c = codec_decoder(view_of(rest->data, COMMAND_PART_OVERHEAD));
    walk_record(&c, &key_size, &value_size);
    left = rest->size - COMMAND_PART_OVERHEAD;
    if (codec_finish(&c) != 0 || left < key_size || left - key_size < value_size)
        return ERR_MALFORMED;
    *key = view_of(rest->data + COMMAND_PART_OVERHEAD, key_size);
    *value = view_of(key->data + key_size, value_size);
    *rest = view_of(value->data + value_size, left - key_size - value_size);
    return 0;
}
